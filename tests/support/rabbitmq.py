"""A private RabbitMQ node that a test may stop, kill and start again as it likes."""

import atexit
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, cast
from urllib.parse import quote

import pika

from tests.support.management import ManagementApi, Row
from tests.support.ports import LOOPBACK, free_ports
from tests.support.processes import ServerProcess, tail, with_system_path
from tests.support.releases import Release
from tests.support.waiting import wait_until

USER = PASSWORD = "guest"
DEFAULT_VHOST = "/"
START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 120
COMMAND_TIMEOUT_SECONDS = 60

# Every port on loopback, statistics fresh within a second or so, and no alarm because
# the machine's disk happens to be rather full.
CONFIGURATION = """\
listeners.tcp.1 = {loopback}:{port}
management.tcp.ip = {loopback}
management.tcp.port = {management_port}
collect_statistics_interval = 500
disk_free_limit.absolute = 50MB
management.sample_retention_policies.global.minute = 1
management.sample_retention_policies.basic.minute = 1
management.sample_retention_policies.detailed.minute = 1
log.file.level = warning
"""
RABBIT_SETTINGS = {
    # How often a quorum queue tells its length.
    "quorum_tick_interval": "500",
    # When a delay queue tries again to forward what had nowhere to go while the node booted, before
    # 4.3; three minutes by default.
    "dead_letter_worker_publisher_confirm_timeout": "10000",
}
# A prepared release's folder need not have an /etc/hosts.
HOSTS = '{host,{127,0,0,1},["localhost"]}.\n{lookup,[file,native]}.\n'
ERLANG_ARGUMENTS = (
    "-noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +A 16"
)


class RabbitmqNode:
    """One broker, with its own ports, data, cookie and epmd, all gone after `close()`.

    `config` adds lines to rabbitmq.conf, such as `{"consumer_timeout": "3000"}`;
    `rabbit_settings` sets what has no such line, such as
    `{"channel_tick_interval": "1000"}`. Ports and data stay the same over every stop, kill
    and start. To be started from a thread that lives on: the node dies with it. Nodes of one
    cluster have the same `cookie` and `epmd_port`, and the port mapper of the first to start.
    `plugins` are enabled beside that of the management API.
    """

    def __init__(
        self,
        release: Release,
        config: Mapping[str, str] | None = None,
        rabbit_settings: Mapping[str, str] | None = None,
        cookie: str | None = None,
        epmd_port: int | None = None,
        plugins: Sequence[str] = (),
        erlang_arguments: str = "",
    ) -> None:
        self.port, self._management_port, self._dist_port, own_epmd_port = free_ports(4)
        self._epmd_port = epmd_port or own_epmd_port
        self._cookie = cookie or secrets.token_hex(16)
        self._erlang_arguments = f"{ERLANG_ARGUMENTS} {erlang_arguments}".strip()
        self.name = f"test-{self.port}@localhost"
        self.management = ManagementApi(
            f"http://{LOOPBACK}:{self._management_port}", USER, PASSWORD
        )
        self._release = release
        self._broker: ServerProcess | None = None
        # Of its log, before it was started last.
        self._logged_bytes = 0
        self._epmd: ServerProcess | None = None
        self._folder = release.scratch_folder()
        atexit.register(self.close)
        self._write_files(config or {}, rabbit_settings or {}, plugins)

    # Where it is

    @property
    def release(self) -> str:
        """The release's label, such as "3.10"."""
        return self._release.label

    @property
    def url(self) -> str:
        return self.url_of(DEFAULT_VHOST)

    @property
    def management_url(self) -> str:
        return self.management.url

    @property
    def log_path(self) -> Path:
        return self._folder / "log" / "rabbit.log"

    @property
    def pid(self) -> int | None:
        """The process id of the Erlang machine itself, while it runs."""
        return self._broker.pid if self._broker and self._broker.is_running else None

    def url_of(self, vhost: str) -> str:
        return f"amqp://{USER}:{PASSWORD}@{LOOPBACK}:{self.port}/{quote(vhost, safe='')}"

    # Its life

    @property
    def is_running(self) -> bool:
        """Whether the process exists: true as well while it starts, and while frozen."""
        return self.pid is not None

    @property
    def was_started(self) -> bool:
        """Whether it ran before, or still does."""
        return self._broker is not None

    def start(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Start the node and return when it answers AMQP and its management API."""
        if self.is_running:
            return
        self.begin_to_start()
        self.wait_until_started(timeout_seconds)

    def begin_to_start(self) -> None:
        """Start the node and return at once."""
        if self.is_running:
            return
        self._start_epmd()
        self._logged_bytes = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._broker = self._run("broker", self._release.script("rabbitmq-server"))

    def wait_until_started(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Return when the node answers AMQP and its management API."""
        wait_until(self.answers_or_died, timeout_seconds, self._failure_to_start)
        if not self.is_running:
            raise AssertionError(self._failure_to_start())

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Stop the node as its service would: clients are told, data is put on disk."""
        if self._broker and self.is_running and not self._broker.terminate(timeout_seconds):
            self.kill()
            raise AssertionError(f"node {self.name} did not stop in {timeout_seconds:g} s")

    def kill(self) -> None:
        """End the node by SIGKILL, like a power cut that the disk survives.

        See `sync_new_queues()` for quorum queues that were declared just before.
        """
        if self._broker and self.is_running:
            self._broker.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the node for a while: connections stay open and nothing answers."""
        if self._broker is None:
            raise AssertionError(f"node {self.name} was never started")
        self._broker.freeze()
        try:
            yield
        finally:
            self._broker.signal(signal.SIGCONT)

    def close(self) -> None:
        """End the node and its epmd for good and remove its data. May be called twice."""
        self.kill()
        if self._epmd and self._epmd.is_running:
            self._epmd.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What is in it

    def new_vhost(self, name: str | None = None) -> str:
        """Make a vhost in which the user may do everything, and return its URL."""
        vhost = name or f"test-{secrets.token_hex(6)}"
        self.management.put("vhosts", vhost)
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.management.put("permissions", vhost, USER, body=everything)
        return self.url_of(vhost)

    def delete_vhost(self, vhost: str) -> None:
        self.management.delete("vhosts", vhost)

    def queues(self, vhost: str = DEFAULT_VHOST) -> list[Row]:
        return cast(list[Row], self.management.get("queues", vhost))

    def queue(self, vhost: str, name: str) -> Row | None:
        return cast(Row | None, self.management.get_or_none("queues", vhost, name))

    def declared_queue(self, vhost: str, name: str) -> Row:
        """Return the row of a queue that somebody declared, also if just now.

        With Khepri, what others ask is a copy that may follow the declaration by a moment.
        """
        return wait_until(
            lambda: self.queue(vhost, name) or {}, message=lambda: f"{vhost} has no queue {name}"
        )

    def exchanges(self, vhost: str = DEFAULT_VHOST) -> list[Row]:
        """Return every exchange, the broker's own (`amq.*` and the nameless) included."""
        return cast(list[Row], self.management.get("exchanges", vhost))

    def bindings(self, vhost: str = DEFAULT_VHOST, queue: str | None = None) -> list[Row]:
        """Return the bindings of the vhost, or those whose destination is `queue`."""
        of_queue = ("queues", vhost, queue, "bindings") if queue else ("bindings", vhost)
        return cast(list[Row], self.management.get(*of_queue))

    def connections(self, vhost: str | None = None) -> list[Row]:
        path = ("vhosts", vhost, "connections") if vhost else ("connections",)
        return cast(list[Row], self.management.get(*path))

    def close_connections(self, vhost: str | None = None) -> int:
        """Make the broker close the connections (of `vhost`) it knows; return how many."""
        connections = self.connections(vhost)
        for connection in connections:
            self.management.delete("connections", connection["name"])
        return len(connections)

    def message_count(self, vhost: str, queue: str) -> int:
        """Return how many messages are ready in `queue`, exactly and at this moment."""
        parameters = pika.URLParameters(self.url_of(vhost))
        with pika.BlockingConnection(parameters) as connection:
            declared = connection.channel().queue_declare(queue, passive=True)
            return int(declared.method.message_count)

    def sync_new_queues(self) -> None:
        """Have the node put on disk which queues it has; takes a second.

        A quorum queue that was declared less than about two seconds before a kill is
        otherwise still in the broker's queue table afterwards but answers no more, and
        its confirmed messages are gone: so do 3.10, 4.0 and 4.3. A classic queue may be
        gone from that table, where it is Mnesia's. A test of anything else calls this
        between declaring and killing.
        """
        self.rabbitmqctl(
            "eval", "[ok = dets:sync(Table) || Table <- dets:all()], catch mnesia:sync_log()."
        )

    def rabbitmqctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node (a second or two) and return what it printed."""
        return self.run_tool("rabbitmqctl", *arguments)

    def run_tool(self, tool: str, *arguments: str) -> str:
        """The same with another of the broker's tools, such as `rabbitmq-queues`."""
        finished = subprocess.run(
            self._release.command(self._release.script(tool), *arguments),
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
        if finished.returncode != 0:
            raise AssertionError(f"{tool} {' '.join(arguments)} failed: {finished.stdout}")
        return finished.stdout

    # How it is run

    @property
    def _environment(self) -> dict[str, str]:
        inside = self._release.inside
        return with_system_path(
            {
                "HOME": inside(self._folder),
                "ERL_EPMD_PORT": str(self._epmd_port),
                "ERL_EPMD_ADDRESS": LOOPBACK,
                "ERL_INETRC": inside(self._folder / "hosts"),
                "RABBITMQ_NODENAME": self.name,
                "RABBITMQ_DIST_PORT": str(self._dist_port),
                "RABBITMQ_CONF_ENV_FILE": inside(self._folder / "none.conf"),
                "RABBITMQ_CONFIG_FILE": inside(self._folder / "rabbitmq.conf"),
                "RABBITMQ_CONFIG_FILES": inside(self._folder / "none.d"),
                "RABBITMQ_ADVANCED_CONFIG_FILE": inside(self._folder / "advanced.config"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": inside(self._folder / "enabled_plugins"),
                "RABBITMQ_MNESIA_BASE": inside(self._folder / "data"),
                "RABBITMQ_LOG_BASE": inside(self.log_path.parent),
                "RABBITMQ_LOGS": inside(self.log_path),
                "RABBITMQ_PID_FILE": inside(self._folder / "pid"),
                # With this, rabbitmq-server becomes the Erlang machine instead of
                # remaining its parent: the process we signal is the broker itself.
                "RABBITMQ_ALLOW_INPUT": "true",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": self._erlang_arguments,
            }
        )

    def _write_files(
        self,
        config: Mapping[str, str],
        rabbit_settings: Mapping[str, str],
        plugins: Sequence[str],
    ) -> None:
        settings = CONFIGURATION.format(
            loopback=LOOPBACK, port=self.port, management_port=self._management_port
        )
        extra = "".join(f"{key} = {value}\n" for key, value in config.items())
        self._write("rabbitmq.conf", settings + extra)
        self._write("advanced.config", erlang_settings({**RABBIT_SETTINGS, **rabbit_settings}))
        enabled = ",".join(["rabbitmq_management", *plugins])
        self._write("enabled_plugins", f"[{enabled}].\n")
        self._write("hosts", HOSTS)
        self._write(".erlang.cookie", self._cookie)
        for path in (self._folder, self._folder / "data", self.log_path.parent):
            path.mkdir(exist_ok=True)
            self._release.give_to_broker(path)

    def _write(self, name: str, text: str) -> None:
        path = self._folder / name
        path.write_text(text)
        path.chmod(0o600)
        self._release.give_to_broker(path)

    def _start_epmd(self) -> None:
        """Start this node's own port mapper, which Erlang would leave running for ever."""
        if not accepts(self._epmd_port):
            arguments = ("-port", str(self._epmd_port), "-address", LOOPBACK)
            self._epmd = self._run("epmd", "epmd", *arguments)
            wait_until(lambda: accepts(self._epmd_port), message="epmd did not start")

    def _run(self, console: str, program: str, *arguments: str) -> ServerProcess:
        command = self._release.command(program, *arguments)
        return ServerProcess(command, self._environment, self._folder / f"{console}.console")

    def has_given_up(self) -> bool:
        """Whether there is a process without RabbitMQ in it, which nothing but a restart mends.

        So ends 3.10 now and then when it comes back from a pause while other nodes start.
        """
        if not self.is_running or not self.log_path.exists():
            return False
        with self.log_path.open("rb") as log:
            log.seek(self._logged_bytes)
            return _GIVEN_UP in log.read()

    def answers_or_died(self) -> bool:
        """Whether a start has come to an end: it answers, or there is no process any more."""
        return not self.is_running or self.answers()

    def answers(self) -> bool:
        """Whether it answers AMQP and its management API."""
        return speaks_amqp(self.port) and self.management.answers()

    def _failure_to_start(self) -> str:
        written = [self._folder / "broker.console", self.log_path]
        lines = [line for path in written if path.exists() for line in tail(path)]
        return "\n".join([f"RabbitMQ {self.release} ({self.name}) did not start:", *lines])


# What a node logs that failed to come back from a pause, with the error.
_GIVEN_UP = b"rabbit_outside_app_process:"


def erlang_settings(rabbit_settings: Mapping[str, str]) -> str:
    pairs = ",".join(f"{{{key},{value}}}" for key, value in rabbit_settings.items())
    return f"[{{rabbit,[{pairs}]}}].\n"


def accepts(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def speaks_amqp(port: int) -> bool:
    """Whether an AMQP greeting is answered by the method frame that opens a connection."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
