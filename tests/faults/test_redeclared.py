"""A queue is declared with other arguments by somebody else: told, left alone, and waited for."""

from __future__ import annotations

import re

import pytest
from pika.exceptions import ChannelClosedByBroker

from tests.support.rabbitmq import RabbitmqNode
from tests.support.raw_amqp import raw_channel, ready_count, send
from tests.support.waiting import wait_until

from .figures import figures_of
from .project import BROKER_SETTINGS, PATIENCE_SECONDS, Process, Shop
from .recovery import Fault, noted

pytestmark = pytest.mark.fault(row=15)

QUEUE = "reserve"
NOTICED_SECONDS = 2.0
ATTEMPTS = 5
PLANNED = re.compile(rf"{QUEUE}: again in ([0-9.]+) s: .*inequivalent arg")


def redeclare(url: str) -> None:
    """In the place of the handler's queue, one that is not its."""

    def is_redeclared() -> bool:
        with raw_channel(url) as channel:
            channel.queue_delete(QUEUE)
            try:
                channel.queue_declare(QUEUE, durable=True, arguments={"x-max-length": 7})
            except ChannelClosedByBroker:  # the subscriber was faster
                return False
            return True

    wait_until(is_redeclared, PATIENCE_SECONDS)


def test_at_the_start(rabbitmq_shop: Shop, broker_url: str) -> None:
    shop = rabbitmq_shop
    redeclare(broker_url)
    send(broker_url, "", QUEUE, b"somebody else's")
    process = shop.begin("run_subscriber")
    assert process.wait() == 1
    assert re.search(r"inequivalent arg .*never changed or deleted from here", process.output)
    assert ready_count(broker_url, QUEUE) == 1


def test_under_a_subscriber(
    rabbitmq_shop: Shop, rabbitmq: RabbitmqNode, broker_url: str, broker_vhost: str
) -> None:
    """The other handlers go on, and so does this one once the queue is removed."""
    shop = rabbitmq_shop
    subscriber = shop.begin("run_subscriber", "-v", "2")
    subscriber.wait_for("Ready:")
    shop.do("place_backlog", "10", "--key", "order.two", "--until-sent")
    wait_until(lambda: not shop.verdict().lost, PATIENCE_SECONDS, shop.story)

    redeclare(broker_url)
    with noted(Fault(15, "queue declared anew by others: told", NOTICED_SECONDS)):
        subscriber.wait_for("inequivalent arg")
    see_patience(subscriber, shop)
    shop.do("place_backlog", "10", "--key", "order.two", "--until-sent")
    wait_until(lambda: {name for name, _ in shop.verdict().lost} == {QUEUE}, PATIENCE_SECONDS)
    assert rabbitmq.declared_queue(broker_vhost, QUEUE)["arguments"]["x-max-length"] == 7

    lost = shop.verdict().lost
    rabbitmq.management.delete("queues", broker_vhost, QUEUE)
    wait_until(lambda: is_ours(rabbitmq, broker_vhost), PATIENCE_SECONDS, shop.story)
    subscriber.wait_for(f"{QUEUE}: goes on.")
    shop.do("place_backlog", "10", "--key", "order.two", "--until-sent")
    wait_until(lambda: shop.verdict().lost == lost, PATIENCE_SECONDS, shop.story)
    subscriber.stop()
    verdict = shop.settle(is_loss_expected=True)
    assert verdict.wrong == {"LOST"}
    print(f"declared anew by others: {figures_of(shop)}")


def is_ours(node: RabbitmqNode, vhost: str) -> bool:
    queue = node.queue(vhost, QUEUE)
    return queue is not None and queue["arguments"].get("x-queue-type") == "quorum"


def see_patience(subscriber: Process, shop: Shop) -> None:
    """Wait for some attempts, and see that their pauses grow, up to the longest."""

    def planned() -> list[float]:
        return [float(each) for each in PLANNED.findall(subscriber.output)]

    wait_until(lambda: len(planned()) >= ATTEMPTS, PATIENCE_SECONDS, shop.story)
    base, longest = BROKER_SETTINGS["RECONNECT_DELAY"], BROKER_SETTINGS["MAX_RECONNECT_DELAY"]
    for number, seconds in enumerate(planned()[:ATTEMPTS]):
        # Up to a half is left off at random; the line tells tenths.
        assert seconds >= min(base * 2**number, longest) / 2 - 0.06
