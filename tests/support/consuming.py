"""A subscriber that consumes in the background of a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from domain_event_broker import Subscriber

STOP_SECONDS = 30.0


@contextmanager
def consuming(subscriber: Subscriber, threads: int = 1) -> Iterator[None]:
    """Consume in a thread while the block runs, and see that it ends after it."""
    thread = Thread(target=subscriber.start_consuming, kwargs={"threads": threads})
    thread.start()
    try:
        yield
    finally:
        subscriber.stop_consuming()
        thread.join(STOP_SECONDS)
    assert not thread.is_alive()
