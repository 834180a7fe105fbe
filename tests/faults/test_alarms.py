"""The broker runs out of memory or disk: it takes nothing in, and goes on giving out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from tests.conftest import vhost_of
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

from .brokers import Rabbitmq
from .conftest import MakeShop
from .databases import Postgresql
from .figures import figures_of
from .project import PATIENCE_SECONDS, Shop
from .recovery import Fault, noted
from .site import CREATED, Site

pytestmark = pytest.mark.fault(row=12)

BACKLOG = 60
REQUESTS = 20
RECOVERY_SECONDS = 5.0


class Alarm(NamedTuple):
    """What raises it, what clears it, and how the node tells of it."""

    name: str
    raised_by: tuple[str, ...]
    cleared_by: tuple[str, ...]
    told_as: str

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def raised(self, node: RabbitmqNode) -> Iterator[None]:
        node.rabbitmqctl(*self.raised_by)
        wait_until(lambda: self.is_raised(node), PATIENCE_SECONDS)
        yield
        node.rabbitmqctl(*self.cleared_by)

    def is_raised(self, node: RabbitmqNode) -> bool:
        return any(row[self.told_as] for row in node.management.get("nodes"))


ALARMS = [
    Alarm(
        "memory",
        ("set_vm_memory_high_watermark", "absolute", "1MB"),
        ("set_vm_memory_high_watermark", "0.6"),
        "mem_alarm",
    ),
    Alarm(
        "disk",
        ("set_disk_free_limit", "900000GB"),
        ("set_disk_free_limit", "50MB"),
        "disk_free_alarm",
    ),
]


@pytest.fixture
def shop(make_shop: MakeShop, restartable_rabbitmq: RabbitmqNode, postgresql_url: str) -> Shop:
    """On a node of its own."""
    broker = Rabbitmq(restartable_rabbitmq.new_vhost())
    shop = make_shop(Postgresql(postgresql_url), broker)
    shop.do("prepare")
    return shop


@pytest.mark.parametrize("alarm", ALARMS, ids=str)
def test_requests_succeed_and_consumers_go_on(
    shop: Shop, restartable_rabbitmq: RabbitmqNode, alarm: Alarm
) -> None:
    site = Site(shop)
    assert site.order() == CREATED  # its connection is there when the alarm begins
    shop.do("place_backlog", str(BACKLOG), "--key", "order.three", "--until-sent")
    with alarm.raised(restartable_rabbitmq):
        assert {site.order() for _ in range(REQUESTS)} == {CREATED}
        with shop.subscriber():
            wait_until(lambda: has_only_unsent(shop), PATIENCE_SECONDS, shop.story)
        # What was not acknowledged would be there again.
        assert shop.broker.waiting() == 0
        assert shop.outbox_count() == REQUESTS, shop.story()
        assert "blocks publishers (low on" in site.process.output
    with noted(Fault(12, f"{alarm} alarm over: outbox empty", RECOVERY_SECONDS)):
        wait_until(lambda: not shop.outbox_count(), PATIENCE_SECONDS, shop.story)
    shop.settle()
    shop.see_exactly_once()
    print(f"{alarm} alarm: {figures_of(shop)}")


def has_only_unsent(shop: Shop) -> bool:
    """Whether all but what cannot be sent now had its effects."""
    lost = {event for _, event in shop.verdict().lost}
    return len(lost) == REQUESTS


@pytest.mark.parametrize("alarm", ALARMS, ids=str)
def test_retries_are_held_and_their_events_not_acknowledged(
    shop: Shop, restartable_rabbitmq: RabbitmqNode, alarm: Alarm
) -> None:
    shop.set(RETRIES=1)
    shop.do("prepare")
    shop.do("place_backlog", str(BACKLOG), "--key", "order.three", "--until-sent")
    with alarm.raised(restartable_rabbitmq):
        dying = shop.begin("run_subscriber")
        wait_until(lambda: len(shop.ledgers.starts.read()) > 0, PATIENCE_SECONDS, shop.story)
        wait_until(lambda: is_any_held(restartable_rabbitmq, shop), PATIENCE_SECONDS, shop.story)
        dying.kill()
        assert dying.exit_status == -signal.SIGKILL
        # All are there: none was acknowledged before its retry was stored.
        wait_until(lambda: shop.broker.waiting() == 3 * BACKLOG, PATIENCE_SECONDS, shop.story)
        survivor = shop.begin("run_subscriber")
        survivor.wait_for("Ready:")
        wait_until(lambda: is_any_held(restartable_rabbitmq, shop), PATIENCE_SECONDS, shop.story)
        assert not shop.effects()
    with noted(Fault(12, f"{alarm} alarm over: first retry handled", RECOVERY_SECONDS)):
        wait_until(shop.effects, PATIENCE_SECONDS, shop.story)
    wait_until(lambda: not shop.verdict().lost, PATIENCE_SECONDS, shop.story)
    survivor.stop()
    shop.settle()
    shop.see_exactly_once()
    print(f"{alarm} alarm, retries: {figures_of(shop)}")


def is_any_held(node: RabbitmqNode, shop: Shop) -> bool:
    queue = node.queue(vhost_of(shop.broker.url), "reserve")
    return queue is not None and queue.get("messages_unacknowledged", 0) > 0
