"""Who handles which delivery when, on a broker in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Container, Iterator

import pytest

from domain_event_broker.messages import Message
from domain_event_broker.settings import Settings
from domain_event_broker.transports import transport_for
from domain_event_broker.transports.base import Consumer, Delivery, Subscription
from domain_event_broker.transports.memory import MemoryConsumer
from domain_event_broker.turns import SideBySide, SingleFile, Turns
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

from .helpers import LIMIT_SECONDS

AT_ONCE = 0.0


def nothing() -> None:
    """Nothing is to be done when nothing came."""


class Pushing(MemoryConsumer):
    """Hands out whatever there is, as a broker does that sends up to the prefetch."""

    def receive(self, timeout_seconds: float, without: Container[str] = ()) -> Delivery | None:
        return super().receive(timeout_seconds)


class Place:
    """Handlers' queues in memory, and who takes turns at them."""

    def __init__(self, url: str) -> None:
        self._transport = transport_for(Settings(url=url))
        self.consumer: Consumer = self._transport.consumer()

    def push(self) -> None:
        """Be a broker that does not ask who has room."""
        self.consumer.__class__ = Pushing

    def handler(self, name: str, concurrency: int = 1) -> None:
        self.consumer.subscribe(Subscription(name, (name,), concurrency=concurrency))

    def publish(self, *names: str) -> None:
        """Such as "a1" for the handler "a"."""
        messages = [Message(name[0], b"{}", message_id=name) for name in names]
        self._transport.publish(messages, LIMIT_SECONDS)

    def turns(self, on_nothing: Callable[[], None] = nothing) -> SideBySide:
        self.consumer.start()
        return SideBySide(self.consumer, on_nothing)

    def left(self) -> list[str | None]:
        """What waits when this consumer has gone, with how often it seemed to have crashed."""
        self.consumer.close()
        other = self._transport.consumer()
        for name in ("a", "b"):
            other.subscribe(Subscription(name, (name,)))
        other.start()
        found = []
        while delivery := other.receive(AT_ONCE):
            assert delivery.crashes == 0
            other.ack(delivery)
            found.append(delivery.message.message_id)
        other.close()
        return found


@pytest.fixture
def place(url: str) -> Iterator[Place]:
    made = Place(url)
    yield made
    made.consumer.close()


@pytest.fixture(params=["asks", "pushes"])
def either(place: Place, request: pytest.FixtureRequest) -> Place:
    """Whether the transport asks who has room, or not, is all the same to who takes turns."""
    if request.param == "pushes":
        place.push()
    return place


def name_of(delivery: Delivery | None) -> str | None:
    return delivery.message.message_id if delivery else None


def taken(turns: Turns) -> Delivery:
    delivery = turns.take(LIMIT_SECONDS)
    assert delivery is not None
    return delivery


def end(place: Place, turns: Turns, delivery: Delivery) -> None:
    place.consumer.ack(delivery)
    turns.end(delivery)


class TestOrder:
    def test_one_after_the_other_where_one_is_allowed(self, either: Place) -> None:
        either.handler("a")
        either.publish("a1", "a2", "a3")
        turns = either.turns()
        first = taken(turns)
        assert turns.take(AT_ONCE) is None
        end(either, turns, first)
        second = taken(turns)
        assert turns.take(AT_ONCE) is None
        end(either, turns, second)

        assert [name_of(each) for each in (first, second, taken(turns))] == ["a1", "a2", "a3"]

    def test_so_many_at_once_begin_in_their_order(self, either: Place) -> None:
        either.handler("a", concurrency=3)
        either.publish("a1", "a2", "a3", "a4", "a5")
        turns = either.turns()
        running = [taken(turns) for _ in range(3)]
        assert turns.take(AT_ONCE) is None
        end(either, turns, running[1])
        fourth = turns.take(LIMIT_SECONDS)
        assert turns.take(AT_ONCE) is None

        assert [name_of(each) for each in [*running, fourth]] == ["a1", "a2", "a3", "a4"]

    def test_one_without_room_holds_up_no_other(self, either: Place) -> None:
        either.handler("a")
        either.handler("b", concurrency=2)
        either.publish("a1", "a2", "a3", "b1", "b2", "b3")
        turns = either.turns()
        names = {name_of(taken(turns)) for _ in range(3)}

        assert names == {"a1", "b1", "b2"}
        assert turns.take(AT_ONCE) is None

    def test_what_was_put_aside_keeps_its_place(self, place: Place) -> None:
        place.push()
        place.handler("a")
        place.publish("a1", "a2")
        turns = place.turns()
        first = taken(turns)
        assert turns.take(AT_ONCE) is None  # a2 is put aside
        place.publish("a3")
        assert turns.take(AT_ONCE) is None
        order = []
        for _ in range(3):
            order.append(name_of(first))
            end(place, turns, first)
            if len(order) < 3:
                first = taken(turns)

        assert order == ["a1", "a2", "a3"]

    def test_what_needs_no_putting_aside_is_left_to_others(self, place: Place) -> None:
        place.handler("a")
        place.publish("a1", "a2", "a3")
        turns = place.turns()
        taken(turns)

        assert turns.take(AT_ONCE) is None
        assert place.consumer.waiting() == 2

    def test_several_threads_never_run_more_than_are_allowed(self, either: Place) -> None:
        either.handler("a", concurrency=2)
        either.handler("b")
        numbers = range(60)
        either.publish(*[f"a{number:02}" for number in numbers])
        either.publish(*[f"b{number:02}" for number in numbers])
        turns = either.turns()
        lock = threading.Lock()
        running = {"a": 0, "b": 0}
        most = {"a": 0, "b": 0}
        began: dict[str, list[str]] = {"a": [], "b": []}

        def work() -> None:
            while delivery := turns.take(LIMIT_SECONDS):
                name = delivery.subscription.name
                with lock:
                    running[name] += 1
                    most[name] = max(most[name], running[name])
                    began[name].append(str(delivery.message.message_id))
                either.consumer.ack(delivery)
                with lock:
                    running[name] -= 1
                turns.end(delivery)

        threads = [start_thread(work) for _ in range(4)]
        wait_until(lambda: all(len(names) == 60 for names in began.values()), LIMIT_SECONDS)
        either.consumer.stop()
        turns.stop()
        for thread in threads:
            thread.join(LIMIT_SECONDS)

        assert not any(thread.is_alive() for thread in threads)
        assert most["a"] <= 2
        assert most["b"] == 1
        assert began["b"] == [f"b{number:02}" for number in numbers]
        assert sorted(began["a"]) == [f"a{number:02}" for number in numbers]


class TestWaiting:
    def test_who_waits_gets_what_another_has_room_for_again(self, either: Place) -> None:
        """Two wait, one of them at the broker, where it must not wait for nothing."""
        either.handler("a")
        either.publish("a1", "a2")
        turns = either.turns()
        first = taken(turns)
        got: list[str | None] = []
        threads = [
            start_thread(lambda: got.append(name_of(turns.take(LIMIT_SECONDS)))) for _ in range(2)
        ]
        wait_until(lambda: turns._is_receiving)
        end(either, turns, first)
        wait_until(lambda: got, LIMIT_SECONDS / 2)
        either.consumer.stop()
        turns.stop()
        for thread in threads:
            thread.join(LIMIT_SECONDS / 2)

        assert got == ["a2", None]

    def test_one_at_a_time_looks_and_tells_that_nothing_came(self, place: Place) -> None:
        place.handler("a")
        alone = threading.Lock()
        looks: deque[bool] = deque()

        def look() -> None:
            assert alone.acquire(blocking=False)
            looks.append(turns.is_idle())
            alone.release()

        turns = place.turns(look)
        threads = [start_thread(lambda: [turns.take(0.001) for _ in range(20)]) for _ in range(4)]
        for thread in threads:
            thread.join(LIMIT_SECONDS)

        assert looks
        assert all(looks)

    def test_while_something_runs_it_is_not_idle(self, either: Place) -> None:
        either.handler("a")
        either.publish("a1", "a2")
        looks: list[bool] = []
        turns = either.turns(lambda: looks.append(turns.is_idle()))
        first = taken(turns)
        assert turns.take(AT_ONCE) is None
        end(either, turns, first)
        second = taken(turns)
        assert turns.take(AT_ONCE) is None
        end(either, turns, second)
        assert turns.take(AT_ONCE) is None

        assert looks == [False, False, True]


class TestStopping:
    def test_what_nobody_began_goes_back(self, either: Place) -> None:
        either.handler("a")
        either.publish("a1", "a2", "a3")
        turns = either.turns()
        first = taken(turns)
        assert turns.take(AT_ONCE) is None
        either.consumer.stop()
        turns.stop()
        turns.stop()
        assert turns.take(LIMIT_SECONDS) is None
        end(either, turns, first)

        assert sorted(map(str, either.left())) == ["a2", "a3"]

    def test_also_what_had_room_at_last(self, place: Place) -> None:
        place.push()
        place.handler("a")
        place.publish("a1", "a2", "a3")
        turns = place.turns()
        first = taken(turns)
        assert turns.take(AT_ONCE) is None
        end(place, turns, first)  # a2 is next
        place.consumer.stop()
        turns.stop()

        assert sorted(map(str, place.left())) == ["a2", "a3"]

    def test_also_what_comes_when_it_is_stopped_already(self, place: Place) -> None:
        place.handler("a")
        place.publish("a1")
        turns = place.turns()
        receive = place.consumer.receive

        def receive_late(timeout_seconds: float, without: Container[str] = ()) -> Delivery | None:
            delivery = receive(timeout_seconds, without)
            turns.stop()
            return delivery

        place.consumer.receive = receive_late  # type: ignore[method-assign]

        assert turns.take(LIMIT_SECONDS) is None
        assert place.left() == ["a1"]

    def test_all_who_wait_are_woken(self, either: Place) -> None:
        either.handler("a")
        turns = either.turns()
        got: list[Delivery | None] = []
        threads = [start_thread(lambda: got.append(turns.take(LIMIT_SECONDS))) for _ in range(3)]
        wait_until(lambda: turns._is_receiving)
        either.consumer.stop()
        turns.stop()
        for thread in threads:
            thread.join(LIMIT_SECONDS / 2)

        assert got == [None] * 3


def test_what_was_lost_while_it_was_aside_is_not_begun(place: Place) -> None:
    """As after a reconnect: the broker has given it to somebody else."""
    place.push()
    place.handler("a")
    place.publish("a1", "a2", "a3")
    turns = place.turns()
    first = taken(turns)
    assert turns.take(AT_ONCE) is None
    consumer = place.consumer
    assert isinstance(consumer, MemoryConsumer)
    lost = next(each for each in consumer._unsettled.values() if name_of(each) == "a2")
    consumer.release(lost)
    end(place, turns, first)

    assert turns.take(LIMIT_SECONDS) is None
    assert name_of(taken(turns)) == "a3"


def test_in_single_file_nothing_is_put_aside(place: Place) -> None:
    place.handler("a")
    place.publish("a1", "a2")
    looks: list[bool] = []
    place.consumer.start()
    turns = SingleFile(place.consumer, lambda: looks.append(turns.is_idle()))
    for name in ("a1", "a2"):
        delivery = taken(turns)
        assert name_of(delivery) == name
        end(place, turns, delivery)
    assert turns.take(AT_ONCE) is None

    assert looks == [True]
