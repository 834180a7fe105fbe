"""`send_and_handle` with Celery: a task that does nothing, and a worker that runs it by itself.

Results are ignored, and the task is acknowledged once it is done, which Celery has to be told.
"""

import warnings
from typing import Any

from celery import Celery  # type: ignore[import-not-found]
from celery.platforms import SecurityWarning  # type: ignore[import-not-found]
from celery.worker import state  # type: ignore[import-not-found]
from kombu import Queue  # type: ignore[import-not-found]

from .clock import Stopwatch
from .consuming import PREFETCH
from .event import HANDLER, data
from .handled import Handled
from .output import tell

WORKER = ("--quiet", "worker", "--pool=solo", "--loglevel=ERROR")


def main(works: bool, count: int, broker_url: str, confirms: bool) -> None:
    app = Celery("benchmark", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_queues=[Queue(HANDLER, queue_arguments={"x-queue-type": "quorum"})],
        task_default_queue=HANDLER,
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=PREFETCH,
        broker_transport_options={"confirm_publish": confirms},
    )
    handled = Handled()

    def handle(**fields: Any) -> None:
        if handled.note() == count:
            state.should_stop = 0  # an exit status; looked at before the next task

    task = app.task(handle, name="handle")
    if works:
        run_worker(app)
        handled.tell()
        return
    task.delay(**data())  # connects
    watch = Stopwatch()
    for _ in range(count - 1):
        task.delay(**data())
    tell(**watch.figures(count - 1))


def run_worker(app: Any) -> None:
    warnings.simplefilter("ignore", SecurityWarning)  # of a worker that is run by root
    try:
        app.worker_main(WORKER)
    except SystemExit as ending:
        if ending.code:
            raise
