"""A handler takes longer than the broker's consumer_timeout: its effect is one, and all goes on."""

from __future__ import annotations

import pytest

from tests.conftest import PrivateRabbitmq
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

from .brokers import Rabbitmq
from .conftest import MakeShop
from .databases import Postgresql
from .figures import figures_of
from .project import PATIENCE_SECONDS, Shop
from .recovery import Fault, noted

pytestmark = pytest.mark.fault(row=16)

TIMEOUT_MS = 3_000
#: Several times the timeout: each time it is over, what waits would count a crash more.
HANDLING_SECONDS = 14
CRASH_ATTEMPTS = 3
SLOW = "ship"
EVENTS = 6
RECOVERY_SECONDS = 5.0


@pytest.fixture
def node(private_rabbitmq: PrivateRabbitmq) -> RabbitmqNode:
    return private_rabbitmq(
        config={"consumer_timeout": str(TIMEOUT_MS)},
        rabbit_settings={"channel_tick_interval": "1000"},
    )


def test_a_handler_that_takes_longer(
    make_shop: MakeShop, node: RabbitmqNode, postgresql_url: str
) -> None:
    """Its neighbours wait as long behind it, and are no poisons for that."""
    shop = make_shop(Postgresql(postgresql_url), Rabbitmq(node.new_vhost()))
    shop.set_broker(CRASH_ATTEMPTS=CRASH_ATTEMPTS)
    shop.set(HANDLING_SECONDS={SLOW: HANDLING_SECONDS})
    shop.do("prepare")
    shop.do("place_backlog", str(EVENTS), "--key", "order.three", "--until-sent")
    with shop.subscriber() as subscriber:
        wait_until(lambda: count_effects(shop, SLOW) == 1, PATIENCE_SECONDS, shop.story)
        with noted(Fault(16, "slow handler over: the next one handled", RECOVERY_SECONDS)):
            wait_until(lambda: count_effects(shop, SLOW) > 1, PATIENCE_SECONDS, shop.story)
        wait_until(lambda: not shop.verdict().lost, PATIENCE_SECONDS, shop.story)
        assert "consumer_timeout" in subscriber.output
    shop.settle()
    shop.see_exactly_once()
    assert not shop.dead_letters(), shop.story()
    print(f"consumer timeout: {figures_of(shop)}")


def count_effects(shop: Shop, handler: str) -> int:
    return sum(name == handler for name, _ in shop.effects())
