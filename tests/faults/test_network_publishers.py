"""The connection of a busy site to RabbitMQ breaks: each event takes effect once.

At each moment of an event's way, in each manner.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.conftest import vhost_of
from tests.support.proxy import TO_CLIENT, TO_SERVER, Link
from tests.support.rabbitmq import RabbitmqNode

from .behind_proxy import SiteBehindProxy, site_behind_proxy
from .leaks import holdings_of, see_no_leak
from .networks import BREAKS, PUBLISHER, Break, Held, see_held
from .project import Shop
from .recovery import Fault, noted

pytestmark = pytest.mark.fault(row=8)

PUBLISH_SECONDS = 1.0
#: Until a publish is given up, and until the row is sent again, by whoever does so.
BOUND_SECONDS = PUBLISH_SECONDS + 4.0
#: So many bytes are in the middle of an event, and of a confirm.
MID_EVENT, MID_CONFIRM = 200, 10


def idle(site: SiteBehindProxy, link: Link, break_it: Break) -> None:
    break_it(link)
    site.order()


def in_the_middle_of_an_event(site: SiteBehindProxy, link: Link, break_it: Break) -> None:
    link.after(MID_EVENT, TO_SERVER, partial(break_it, link))
    site.order()


def awaiting_its_confirm(site: SiteBehindProxy, link: Link, break_it: Break) -> None:
    link.hold(TO_CLIENT)
    delivery = site.order_handled()
    break_it(link)
    site.wait_for_copy(delivery)


def in_the_middle_of_a_confirm(site: SiteBehindProxy, link: Link, break_it: Break) -> None:
    link.hold(TO_CLIENT)
    delivery = site.order_handled()
    link.after(MID_CONFIRM, TO_CLIENT, partial(break_it, link))
    link.forward(TO_CLIENT)
    site.wait_for_copy(delivery)


MOMENTS: list[Callable[[SiteBehindProxy, Link, Break], None]] = [
    idle,
    in_the_middle_of_an_event,
    awaiting_its_confirm,
    in_the_middle_of_a_confirm,
]


@pytest.mark.parametrize("how", BREAKS)
def test_each_event_takes_effect_once(
    rabbitmq_shop: Shop, rabbitmq: RabbitmqNode, broker_url: str, how: str
) -> None:
    with site_behind_proxy(rabbitmq_shop, PUBLISH_TIMEOUT=PUBLISH_SECONDS) as site:
        site.connected()
        before = holdings_of(site.pid)
        # One thread more keeps leases from when the site has first relayed, if it comes to that.
        before = before._replace(threads=before.threads + 1)
        for moment in MOMENTS:
            link = site.connected()
            name = moment.__name__.replace("_", " ")
            with noted(Fault(8, f"publisher {name}, {how}", BOUND_SECONDS)):
                moment(site, link, BREAKS[how])
                site.wait_until_sent()
            site.wait_until_handled()
            assert not link.is_whole

        site.connected()
        see_held(rabbitmq, vhost_of(broker_url), PUBLISHER, site.pid, Held(1, 1))
        see_no_leak(site.pid, before)
    rabbitmq_shop.see_exactly_once()
