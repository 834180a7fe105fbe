"""What ``run_subscriber`` does, on the database transport and to a handler that does nothing.

A step is all that it does for an event. Claims and settlements are part of it: they are for several
events at once, and fall into the slice in which they happen.
"""

from domain_event_broker.django import conf
from domain_event_broker.django.running import HandlerRun, Limits
from domain_event_broker.handling import Ending, Report

from .handlers import declared, do_nothing
from .slices import Slices


def main(inbox: bool) -> None:
    slices = Slices()

    def count(report: Report) -> None:
        assert report.ending is Ending.HANDLED, report
        if not slices.step():
            run.stop()

    run = HandlerRun(
        [declared(do_nothing, inbox=inbox)],
        conf.required(),
        Limits(),
        on_ready=lambda: None,
        on_report=count,
    )
    run.run()
