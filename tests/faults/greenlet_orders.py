"""Orders that greenlets place: `python -m tests.faults.greenlet_orders SEED`.

As a site on gevent's workers does. Some greenlets are killed; what they committed is sent.
"""

from __future__ import annotations

import sys

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

from random import Random

import django
import gevent
from gevent import Greenlet
from gevent.pool import Pool

GREENLETS = 8
ORDERS = 200
FLUSH_SECONDS = 60.0
#: Most orders take longer than the one, and less than the other.
LEAST_SECONDS, MOST_SECONDS = 0.0, 0.2


def main(seed: str) -> None:
    random = Random(int(seed))
    django.setup()

    from django.db import Error

    from domain_event_broker.django import background

    killed: set[Greenlet] = set()

    def kill(greenlet: Greenlet) -> None:
        killed.add(greenlet)
        greenlet.kill()

    pool = Pool(GREENLETS)
    greenlets = []
    for _ in range(ORDERS):
        greenlet = pool.spawn(place_one)
        greenlets.append(greenlet)
        if random.random() < 0.5:
            gevent.spawn_later(random.uniform(LEAST_SECONDS, MOST_SECONDS), kill, greenlet)
    pool.join()
    for greenlet in greenlets:
        # One that is killed in a COMMIT leaves a connection that Django cannot put right.
        if not (greenlet in killed and isinstance(greenlet.exception, Error)):
            greenlet.get(block=False)
    assert background.publisher.flush(FLUSH_SECONDS)


def place_one() -> None:
    from django.db import connections

    from .orders.placing import place
    from .plans import Transaction

    try:
        place(Transaction(("order.one",)))
    finally:
        # Each greenlet has its own.
        connections.close_all()


if __name__ == "__main__":
    main(*sys.argv[1:])
