"""What ``run_subscriber`` does, console included: from a backlog until it is gone.

The handler does nothing, or with `inserts`, inserts one row.
"""

import sys

from domain_event_broker.django import conf
from domain_event_broker.django.console import NORMAL, Console
from domain_event_broker.django.running import HandlerRun, Limits

from . import accounts
from .clock import Stopwatch
from .consuming import begin, end
from .handlers import declared, do_nothing
from .tables import make_empty_tables


def main(count: int, broker_url: str, inbox: bool, inserts: bool) -> None:
    make_empty_tables()
    accounts.make_empty_table()
    watches: list[Stopwatch] = []
    console = Console(sys.stdout, sys.stderr, NORMAL)
    run = HandlerRun(
        [declared(accounts.insert_from if inserts else do_nothing, inbox=inbox)],
        conf.required(),
        Limits(max_events=count),
        on_ready=lambda: watches.append(begin()),
        on_report=console.report,
    )
    run.run()
    end(watches[0], count)
    assert accounts.count() == (count if inserts else 0)
