"""What kills its handler's process, and what is no event, ends in the table of dead letters.

The others do not. A supervisor starts the subscriber anew each time, as in production.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from itertools import cycle
from random import Random

import pika
import pytest

from tests.amqp.support import send_raw
from tests.amqp.test_bad_input import BODIES
from tests.amqp.test_bad_input_headers import HEADERS
from tests.support.waiting import wait_until

from .kills import publish
from .oracle import Effect
from .project import PATIENCE_SECONDS, Process, Shop
from .runs import SEEDS, repeat

pytestmark = pytest.mark.fault(row=17)

CRASH_ATTEMPTS = 3
WAVES = "10"
KEY = "order.one"
#: Headers that a client may send, and that crash a queue of RabbitMQ's where it dead-letters.
MALFORMED = [
    headers for what, headers in HEADERS.items() if what.startswith(("x-death", "x-delivery"))
]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSEGV])
class TestFatal:
    def test_on_rabbitmq_and_postgresql(self, rabbitmq_shop: Shop, end: signal.Signals) -> None:
        self.see_it_collected("rabbitmq and postgresql", rabbitmq_shop, end)

    def test_on_the_database_transport_and_sqlite(
        self, sqlite_shop: Shop, end: signal.Signals
    ) -> None:
        self.see_it_collected("database transport, sqlite", sqlite_shop, end)

    def see_it_collected(self, where: str, shop: Shop, end: signal.Signals) -> None:
        shop.set_broker(CRASH_ATTEMPTS=CRASH_ATTEMPTS)
        shop.set(ARE_POISONS_SEGFAULTS=end is signal.SIGSEGV)
        repeat(f"{where}, {end.name}", shop, partial(poison_one, shop, end))


class TestUnreadable:
    """Among good events, at a subscriber that runs on: each is tried once, and none is lost."""

    def test_on_rabbitmq_and_postgresql(self, rabbitmq_shop: Shop, broker_url: str) -> None:
        def throw(shop: Shop) -> None:
            for number, (body, headers) in enumerate(zip(BODIES, cycle(MALFORMED))):
                properties = pika.BasicProperties(headers=headers, message_id=f"poison {number}")
                send_raw(broker_url, KEY, body, properties)

        self.see_each_collected("rabbitmq and postgresql", rabbitmq_shop, throw)

    def test_on_the_database_transport_and_postgresql(self, postgresql_shop: Shop) -> None:
        self.see_each_collected("database transport, postgresql", postgresql_shop, throw_bodies)

    def test_on_the_database_transport_and_sqlite(self, sqlite_shop: Shop) -> None:
        self.see_each_collected("database transport, sqlite", sqlite_shop, throw_bodies)

    def see_each_collected(self, where: str, shop: Shop, throw: Callable[[Shop], None]) -> None:
        repeat(f"{where}, unreadable", shop, partial(throw_all, shop, throw))


def throw_bodies(shop: Shop) -> None:
    shop.do("publish_bodies", KEY)


def throw_all(shop: Shop, throw: Callable[[Shop], None], random: Random) -> None:
    """Have what is no event arrive while orders are placed; see what becomes of each."""
    before = len(shop.dead_letters()), len(shop.ledgers.deliveries.read())
    with shop.subscriber() as subscriber:
        seed = str(random.randrange(SEEDS))
        publisher = shop.begin("place_orders", seed, "--waves", WAVES, "--until-sent")
        throw(shop)
        assert publisher.wait() == 0, publisher.output

        def is_over() -> bool:
            are_collected = len(shop.dead_letters()) - before[0] == len(BODIES)
            return are_collected and not shop.verdict().lost

        wait_until(is_over, PATIENCE_SECONDS, shop.story)
        assert subscriber.is_running
    letters = shop.dead_letters()[before[0] :]
    assert {(each.handler, each.reason, each.state) for each in letters} == {
        ("reserve", "unreadable", "waiting")
    }
    assert {each.attempts for each in letters} == {0}
    query = "SELECT error_message FROM domain_event_broker_deadletter ORDER BY id"
    told = [text for (text,) in shop.database.rows(query)][before[0] :]
    assert all(any(reason in text for text in told) for reason in BODIES.values()), told
    deliveries = shop.ledgers.deliveries.read()[before[1] :]
    poisons = [each for each in deliveries if each["event"] not in shop.committed()]
    assert len(poisons) == len(BODIES)
    # Nothing can be made of them.
    shop.do("replay_dead_letters", "--discard", "--no-input")
    shop.settle()


def poison_one(shop: Shop, end: signal.Signals, random: Random) -> None:
    """Have one handler be killed by one event until it is a dead letter; mend it, and replay."""
    before = len(shop.dead_letters())
    publish(shop, random, "--until-sent")
    poison = random.choice(sorted(shop.verdict().lost))
    shop.set(POISONS=[poison])

    def is_over() -> bool:
        return len(shop.dead_letters()) > before and is_all_else_done(shop)

    kills = supervise(shop, end, is_over)
    (letter,) = shop.dead_letters()[before:]
    assert (letter.effect, letter.reason, letter.state) == (poison, "crashed", "waiting")
    assert kills == starts_of(shop, poison) == CRASH_ATTEMPTS
    assert shop.verdict().lost == {poison}, shop.story()

    shop.set(POISONS=[])
    shop.do("replay_dead_letters")
    shop.settle()
    assert [each.state for each in shop.dead_letters()[before:]] == ["replayed"]


def supervise(shop: Shop, end: signal.Signals, is_over: Callable[[], bool]) -> int:
    """Run one subscriber after the other until then; return how many were ended by the signal."""
    kills = 0
    while not is_over_before(process := shop.begin("run_subscriber"), is_over, shop):
        assert process.wait() == -end, process.story()
        kills += 1
    process.stop()
    return kills


def is_over_before(process: Process, is_over: Callable[[], bool], shop: Shop) -> bool:
    """Wait until all is over, or else the process; tell whether all is."""
    wait_until(lambda: is_over() or not process.is_running, PATIENCE_SECONDS, shop.story)
    return process.is_running


def is_all_else_done(shop: Shop) -> bool:
    return len(shop.verdict().lost) == 1


def starts_of(shop: Shop, effect: Effect) -> int:
    started = [(fact["handler"], fact["event"]) for fact in shop.ledgers.starts.read()]
    return started.count(effect)
