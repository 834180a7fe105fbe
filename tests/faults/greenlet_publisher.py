"""A process of gevent's: `python -m tests.faults.greenlet_publisher`.

Its arguments are "patched" or "unpatched", which says whether Python's own modules wait as
greenlets do, the broker's URL and a seed. Greenlets publish, and some of them are killed. At its
end it writes the ids of all events that were confirmed, a line each.
"""

from __future__ import annotations

import sys

from gevent import monkey

if __name__ == "__main__" and sys.argv[1] == "patched":
    monkey.patch_all()

from random import Random
from threading import Event

import gevent

from .interrupted_publisher import Site

GREENLETS = 3
KILLS = 40
#: Most publishes take longer than the one, and less than the other.
LEAST_SECONDS, MOST_SECONDS = 0.0, 0.003


def main(patching: str, url: str, seed: str) -> None:
    site = Site(url)
    random = Random(int(seed))
    is_over = Event()
    busy = [gevent.spawn(publish_until, site, is_over) for _ in range(GREENLETS - 1)]
    for _ in range(KILLS):
        victim = gevent.spawn(site.publish)
        gevent.sleep(random.uniform(LEAST_SECONDS, MOST_SECONDS))
        victim.kill()
        site.see_own_outcomes()
    is_over.set()
    gevent.joinall(busy, raise_error=True)
    print(*site.confirmed, sep="\n")


def publish_until(site: Site, is_over: Event) -> None:
    while not is_over.is_set():
        site.publish()
        gevent.sleep(0)  # unpatched, nothing else lets others go on


if __name__ == "__main__":
    main(*sys.argv[1:])
