"""`publish_domain_event` without Django, by one caller after the other or by several threads.

Each call returns when the broker has confirmed its event.
"""

from concurrent.futures import ThreadPoolExecutor

from domain_event_broker import publish_domain_event

from .event import ROUTING_KEY, USER_ID, data
from .sending import measure


def main(size: int, batches: int, broker_url: str, threads: int) -> None:
    def send(count: int) -> None:
        for _ in range(count):
            publish_domain_event(ROUTING_KEY, data(), str(USER_ID), connection_settings=broker_url)

    def send_by_threads(count: int) -> None:
        shares = [len(range(number, count, threads)) for number in range(threads)]
        list(pool.map(send, shares))

    with ThreadPoolExecutor(threads) as pool:
        measure(send if threads == 1 else send_by_threads, size, batches)
