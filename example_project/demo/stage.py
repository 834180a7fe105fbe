"""What the demo needs before it begins, and what is cleared away however it ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from domain_event_broker.settings import safe_url
from domain_event_broker.transports import close_all
from tests.support.rabbitmq import RabbitmqNode
from tests.support.releases import INSTALLED, ReleaseNotFound, find_release

from .printing import say
from .processes import DemoError, Server, run

# The URL of a broker to use instead; on RabbitMQ best an empty virtual host.
BROKER_VARIABLE = "BROKER"
OWN_DATABASE = "database://"


class Stage:
    """The servers that run, in a folder of their own."""

    def __init__(self, folder: Path, broker_url: str, broker: str, stack: ExitStack) -> None:
        self.broker_url = broker_url
        #: What to call it.
        self.broker = broker
        self.servers: list[Server] = []
        self._folder = folder
        self._stack = stack

    def serve(self, command: str, **environment: str) -> Server:
        """Start a server, which is ended with the stage at the latest."""
        log = self._folder / f"server-{len(self.servers)}.log"
        server = Server(command, log, environment)
        self._stack.callback(server.kill)
        self.servers.append(server)
        return server


@contextmanager
def set_stage(*, on_rabbitmq: bool) -> Iterator[Stage]:
    """A broker, and the environment for a migrated database; all gone at the end.

    On an error, shows what the servers wrote.
    """
    _end_on(signal.SIGTERM, signal.SIGHUP)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="shop-demo-")))
        url, description = _rabbitmq(stack) if on_rabbitmq else _broker()
        os.environ.update(
            DJANGO_SETTINGS_MODULE="example_project.settings",
            DATABASE_URL=f"sqlite:///{folder / 'shop.sqlite3'}",
            BROKER_SECRET_URL=url,
            MAIL_FOLDER=str(folder / "mails"),
            SHOP_WAREHOUSES="book=north,pen=south",
            DEBUG="false",
        )
        run("manage.py migrate --verbosity 0")
        stage = Stage(folder, url, description, stack)
        try:
            yield stage
        except Exception:
            for server in stage.servers:
                print(server.tell(), file=sys.stderr)
            raise


def _broker() -> tuple[str, str]:
    """The URL of the broker that is there, and what to call it."""
    url = os.environ.get(BROKER_VARIABLE) or OWN_DATABASE
    if url == OWN_DATABASE:
        return url, f"none: the shop's own database carries the events ({OWN_DATABASE})"
    return url, f"the one at {safe_url(url)}, where the demo's queues will remain"


def _rabbitmq(stack: ExitStack) -> tuple[str, str]:
    """The same of a RabbitMQ node that is started for the demo."""
    say("Starting a RabbitMQ node of its own, which takes some seconds ...")
    try:
        node = stack.enter_context(RabbitmqNode(find_release(INSTALLED)))
    except ReleaseNotFound as error:
        raise DemoError(f"{error}; or set {BROKER_VARIABLE} to the URL of a broker.") from error
    stack.callback(close_all)  # before the node ends, which would be told as a lost connection
    return node.url, f"RabbitMQ {node.release}, a private node on port {node.port}"


def _end_on(*signals: signal.Signals) -> None:
    """Let these end the demo as Ctrl-C does, through every clean-up."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in signals:
        signal.signal(number, end)
    # Ctrl-C counts even where a shell started us with it turned off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
