"""A process whose publishes are interrupted: `python -m tests.faults.interrupted_publisher`.

Its arguments are the broker's URL, and a scenario with its number. At its end it writes the ids of
all events that were confirmed, a line each.
"""

from __future__ import annotations

import sys
from itertools import count
from random import Random
from threading import Event, Thread

from domain_event_broker import DomainEvent, Outcome, publish_domain_event, publish_domain_events
from domain_event_broker.settings import BrokerSetting
from domain_event_broker.transports import close_all

from .interruptions import Alarm, interrupted_at

#: Longer than anything takes that is not held up for ever.
TIMEOUT_SECONDS = 20.0
ALARMS = 500
#: Most publishes take longer than the one, and less than the other.
LEAST_SECONDS, MOST_SECONDS = 0.00001, 0.004
THREADS = 4
HEARD, UNHEARD = "user.left", "nobody.hears"


class Site:
    """Publishes, and notes what was confirmed."""

    def __init__(self, url: str) -> None:
        self.confirmed: list[str] = []
        self._settings: BrokerSetting = {
            "URL": url,
            "PUBLISH_TIMEOUT": TIMEOUT_SECONDS,
            "UNROUTABLE": "ignore",
        }

    def publish(self) -> None:
        """Publish one that may be interrupted."""
        event = publish_domain_event(HEARD, {}, connection_settings=self._settings)
        self.confirmed.append(event.uuid_string)

    def see_own_outcomes(self) -> None:
        """See that each of some events gets its own outcome, not that of an earlier one."""
        events = [DomainEvent(key, {}) for key in (UNHEARD, HEARD, UNHEARD)]
        results = publish_domain_events(events, self._settings)
        outcomes = [result.outcome for result in results]
        assert outcomes == [Outcome.UNROUTABLE, Outcome.CONFIRMED, Outcome.UNROUTABLE], results
        self.confirmed.append(events[1].uuid_string)

    def publish_until(self, is_over: Event) -> None:
        while not is_over.is_set():
            self.publish()


def at_each_point(site: Site, begins_anew: int) -> None:
    """Interrupt the publish at each of its points in turn; of the first one where it says so."""
    for nth in count(1):
        if begins_anew:
            close_all()
        with interrupted_at(nth) as interruption:
            site.publish()
        if not interruption.has_raised:
            return
        site.see_own_outcomes()


def by_alarms(site: Site, seed: int) -> None:
    """Interrupt publishes of the main thread at random, while other threads publish."""
    random = Random(seed)
    alarm = Alarm()
    is_over = Event()
    threads = [Thread(target=site.publish_until, args=[is_over]) for _ in range(THREADS - 1)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(ALARMS):
            if random.random() < 0.05:
                close_all()
            alarm.interrupt(site.publish, random.uniform(LEAST_SECONDS, MOST_SECONDS))
            site.see_own_outcomes()
    finally:
        is_over.set()
    for thread in threads:
        thread.join()


SCENARIOS = (at_each_point, by_alarms)


def main(url: str, scenario: str, number: str) -> None:
    site = Site(url)
    {each.__name__: each for each in SCENARIOS}[scenario](site, int(number))
    print(*site.confirmed, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
