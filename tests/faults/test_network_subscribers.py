"""The connection of a subscriber to RabbitMQ breaks: each event takes effect once.

At each moment of a delivery's way, in each manner.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.conftest import vhost_of
from tests.support.proxy import TO_CLIENT, TO_SERVER
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

from .behind_proxy import SubscriberBehindProxy, subscriber_behind_proxy
from .leaks import holdings_of, see_no_leak
from .networks import BREAKS, SILENCE_SECONDS, SUBSCRIBER, Break, Held, see_held
from .plans import HANDLERS
from .project import PATIENCE_SECONDS, Shop
from .recovery import Fault, noted

pytestmark = pytest.mark.fault(row=8)

RECONNECT_SECONDS = 5.0
#: So many bytes are in the middle of a delivery.
MID_DELIVERY = 200


def idle(subscriber: SubscriberBehindProxy, break_it: Break) -> None:
    break_it(subscriber.link)


def in_the_middle_of_a_delivery(subscriber: SubscriberBehindProxy, break_it: Break) -> None:
    link = subscriber.link
    link.after(MID_DELIVERY, TO_CLIENT, partial(break_it, link))
    subscriber.order()
    wait_until(lambda: not link.is_whole, PATIENCE_SECONDS)


def at_the_ack(subscriber: SubscriberBehindProxy, break_it: Break) -> None:
    """The handler has committed, and the broker never hears of it."""
    link = subscriber.link
    link.hold(TO_SERVER)
    delivery = subscriber.order_handled()
    break_it(link)
    subscriber.wait_for_copy(delivery)


Moment = Callable[[SubscriberBehindProxy, Break], None]
MOMENTS: list[Moment] = [idle, in_the_middle_of_a_delivery, at_the_ack]


@pytest.mark.parametrize(
    ("how", "moments", "bound_seconds"),
    [
        ("reset", MOMENTS, RECONNECT_SECONDS),
        ("closed", MOMENTS, RECONNECT_SECONDS),
        # It takes as long each time, until the heartbeats are missed.
        ("silent", [at_the_ack], SILENCE_SECONDS + RECONNECT_SECONDS),
    ],
)
def test_each_event_takes_effect_once(
    rabbitmq_shop: Shop,
    rabbitmq: RabbitmqNode,
    broker_url: str,
    how: str,
    moments: list[Moment],
    bound_seconds: float,
) -> None:
    with subscriber_behind_proxy(rabbitmq_shop) as subscriber:
        subscriber.order_handled()
        before = holdings_of(subscriber.pid)
        for moment in moments:
            name = moment.__name__.replace("_", " ")
            with noted(Fault(8, f"subscriber {name}, {how}", bound_seconds)):
                moment(subscriber, BREAKS[how])
                subscriber.order_handled()

        held = Held(connections=1, channels=len(HANDLERS))
        see_held(rabbitmq, vhost_of(broker_url), SUBSCRIBER, subscriber.pid, held)
        see_no_leak(subscriber.pid, before)
    rabbitmq_shop.see_exactly_once()
