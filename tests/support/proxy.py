"""A TCP proxy on loopback that holds, drops, slows down and breaks what passes it, when told to.

It stands between a client and a server such as a broker: a cut cable, a firewall that forgot a
connection, a load balancer that restarts. What is told to it is in force at the return.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

from tests.support.ports import LOOPBACK, free_ports

T = TypeVar("T")

START_SECONDS = 10.0
CHUNK_BYTES = 64 * 1024
#: Of what passed in a direction, so much is remembered.
REMEMBERED_BYTES = 1024 * 1024
#: While slowed down, bytes go out so often.
SLICES_A_SECOND = 20
RESET = struct.pack("ii", 1, 0)  # closing then sends RST, whatever is unsent


class Direction(Enum):
    TO_SERVER = "to server"
    TO_CLIENT = "to client"


TO_SERVER, TO_CLIENT = Direction


class Flow(Enum):
    """What becomes of the bytes of a direction, and of its end."""

    #: They pass.
    FORWARD = "forward"
    #: They wait, in the sender's memory at last.
    HOLD = "hold"
    #: They are taken, and are gone.
    DROP = "drop"


class _Pipe:
    """One direction of a link; for the proxy's thread only."""

    def __init__(self, source: socket.socket, sink: socket.socket, flow: Flow) -> None:
        self.source = source
        self.sink = sink
        self.flow = flow
        self.delay_seconds = 0.0
        self.bytes_per_second: float | None = None
        #: So many more bytes may pass before `action`; ``None`` for any number.
        self.allowed: int | None = None
        self.action: Callable[[], object] = lambda: None
        self.seen = bytearray()
        #: The source sends no more, and the sink was told so.
        self.has_ended = self.is_shut = False
        self._delayed: deque[tuple[float, bytes]] = deque()
        self._ready = bytearray()
        self._pause_until = 0.0

    @property
    def wants_to_read(self) -> bool:
        has_room = len(self._ready) < CHUNK_BYTES
        return not self.has_ended and self.flow is not Flow.HOLD and has_room

    @property
    def wants_to_write(self) -> bool:
        may_write = self.flow is Flow.FORWARD and not self.is_shut
        return may_write and bool(self._ready) and time.monotonic() >= self._pause_until

    @property
    def due_at(self) -> float | None:
        """When there is something to do, though nothing comes."""
        if self.flow is not Flow.FORWARD:
            return None
        if self._ready:
            # Without a pause it goes out as soon as the sink takes it, which the selector tells.
            return self._pause_until if self._pause_until > time.monotonic() else None
        return self._delayed[0][0] if self._delayed else None

    def read(self) -> None:
        try:
            data = self.source.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.has_ended = True
        self.seen += data
        del self.seen[:-REMEMBERED_BYTES]
        if self.flow is Flow.FORWARD and data:
            self._delayed.append((time.monotonic() + self.delay_seconds, data))
        self.advance()

    def write(self) -> None:
        """Write what may pass; do the action at the first byte that may not."""
        if self.allowed == 0:
            action, self.allowed = self.action, None
            action()
            return
        data = self._ready[: self.allowed]
        if self.bytes_per_second is not None:
            data = data[: max(int(self.bytes_per_second / SLICES_A_SECOND), 1)]
        try:
            count = self.sink.send(data)
        except BlockingIOError:
            return
        del self._ready[:count]
        if self.allowed is not None:
            self.allowed -= count
        if self.bytes_per_second is not None:
            self._pause_until = time.monotonic() + count / self.bytes_per_second
        self.advance()

    def advance(self) -> None:
        """See what is due, and pass the end on when nothing is before it."""
        while self._delayed and self._delayed[0][0] <= time.monotonic():
            self._ready += self._delayed.popleft()[1]
        is_empty = not self._ready and not self._delayed
        if self.has_ended and is_empty and self.flow is Flow.FORWARD:
            self.shut()

    def shut(self) -> None:
        """Tell the sink that nothing more comes: FIN."""
        if not self.is_shut:
            self.is_shut = True
            with suppress(OSError):
                self.sink.shutdown(socket.SHUT_WR)

    def drop(self) -> None:
        self.flow = Flow.DROP
        self._ready.clear()
        self._delayed.clear()


class Link:
    """A client's connection, and the one to the server that is made for it.

    All of it may be called from any thread, and by the action of `after`.
    """

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._pipes = {
            TO_SERVER: _Pipe(client, server, proxy.flows[TO_SERVER]),
            TO_CLIENT: _Pipe(server, client, proxy.flows[TO_CLIENT]),
        }
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """Whether the proxy still has both connections."""
        return self._is_open

    @property
    def is_whole(self) -> bool:
        """Whether both connections are open, and everything passes."""

        def is_whole() -> bool:
            pipes = self._pipes.values()
            is_passing = all(pipe.flow is Flow.FORWARD and not pipe.is_shut for pipe in pipes)
            return self._is_open and is_passing

        return self._proxy.call(is_whole)

    def has_ended(self, direction: Direction) -> bool:
        """Whether the one who sends in this direction was seen to close its connection."""
        return self._proxy.call(lambda: self._pipes[direction].has_ended)

    def seen(self, direction: Direction) -> bytes:
        """What came in the direction, whether it passed or not; of late, if it is much."""
        return self._proxy.call(lambda: bytes(self._pipes[direction].seen))

    def forward(self, *directions: Direction) -> None:
        """Let everything pass, and first what was held. What was dropped stays missing."""
        self._set(Flow.FORWARD, directions)

    def hold(self, *directions: Direction) -> None:
        """Let nothing pass, while all connections stay open: nobody is told anything."""
        self._set(Flow.HOLD, directions)

    def drop(self, *directions: Direction) -> None:
        """Take everything and throw it away, ends included: nobody is told anything."""
        self._set(Flow.DROP, directions)

    def _set(self, flow: Flow, directions: tuple[Direction, ...]) -> None:
        def set_flow() -> None:
            for direction in directions or Direction:
                pipe = self._pipes[direction]
                if flow is Flow.DROP:
                    pipe.drop()
                pipe.flow = flow
                pipe.advance()

        self._proxy.call(set_flow)

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Let what comes from now on pass so much later."""

        def set_delay() -> None:
            for direction in directions or Direction:
                self._pipes[direction].delay_seconds = seconds

        self._proxy.call(set_delay)

    def slow_down(self, bytes_per_second: float | None, *directions: Direction) -> None:
        """Let no more than so much pass; ``None`` ends that."""

        def set_rate() -> None:
            for direction in directions or Direction:
                self._pipes[direction].bytes_per_second = bytes_per_second

        self._proxy.call(set_rate)

    def after(self, count: int, direction: Direction, action: Callable[[], object]) -> None:
        """Let exactly so many bytes pass in the direction; when another comes, do this instead.

        `action` runs once, in the proxy's thread, and that byte follows if it still may.
        """

        def set_action() -> None:
            pipe = self._pipes[direction]
            pipe.allowed, pipe.action = count, action

        self._proxy.call(set_action)

    def cut(self) -> None:
        """Tell both sides that the other one closed: FIN. What was under way is gone."""

        def shut_both() -> None:
            for pipe in self._pipes.values():
                pipe.drop()
                pipe.shut()

        self._proxy.call(shut_both)

    def half_close(self, direction: Direction) -> None:
        """Do so in one direction; the other one goes on."""

        def shut() -> None:
            self._pipes[direction].drop()
            self._pipes[direction].shut()

        self._proxy.call(shut)

    def reset(self) -> None:
        """Break both connections: RST."""
        self._proxy.call(self._reset)

    # In the proxy's thread

    def _reset(self) -> None:
        for sock in self.sockets:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def close(self) -> None:
        self._is_open = False
        for sock in self.sockets:
            sock.close()

    @property
    def sockets(self) -> list[socket.socket]:
        return [pipe.source for pipe in self._pipes.values()]

    @property
    def due_at(self) -> list[float]:
        return [pipe.due_at for pipe in self._pipes.values() if pipe.due_at is not None]

    def advance(self) -> None:
        for pipe in self._pipes.values():
            pipe.advance()
        if all(pipe.has_ended for pipe in self._pipes.values()):
            # A direction that drops says nothing of its end, but then nobody is there to hear.
            is_over = all(p.is_shut or p.flow is Flow.DROP for p in self._pipes.values())
            if is_over:
                self.close()

    def events_of(self, sock: socket.socket) -> int:
        """What the selector is to tell about one of the sockets."""
        events = 0
        for pipe in self._pipes.values():
            if pipe.source is sock and pipe.wants_to_read:
                events |= selectors.EVENT_READ
            if pipe.sink is sock and pipe.wants_to_write:
                events |= selectors.EVENT_WRITE
        return events

    def on_event(self, sock: socket.socket, events: int) -> None:
        for pipe in self._pipes.values():
            try:
                if self._is_open and pipe.source is sock and events & selectors.EVENT_READ:
                    pipe.read()
                if self._is_open and pipe.sink is sock and pipe.wants_to_write:
                    pipe.write()
            except OSError:
                self._on_broken(sock)

    def _on_broken(self, sock: socket.socket) -> None:
        """One side reset its connection: so is the other's, unless nothing is said of it."""
        (heard,) = (pipe for pipe in self._pipes.values() if pipe.source is sock)
        if heard.flow is Flow.FORWARD:
            self._reset()
            return
        heard.has_ended = True
        for pipe in self._pipes.values():
            pipe.drop()


class Proxy:
    """Listens on a free port, and connects each client to the server.

    What is set for all of it is in force for the connections that come later, too.
    """

    def __init__(self, server_port: int) -> None:
        (self.port,) = free_ports(1)
        #: What new links begin with; for the proxy's thread.
        self.flows = dict.fromkeys(Direction, Flow.FORWARD)
        self._server_port = server_port
        self._links: list[Link] = []
        self._accepted = 0
        self._greeting: Callable[[Link], object] = lambda link: None
        self._is_closing = False
        self._calls: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._watched: dict[socket.socket, tuple[int, Link | None]] = {}
        self._listener: socket.socket | None = None
        self._listen()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections, and end the thread."""
        if self._thread.is_alive():
            self.call(self._end)
            self._thread.join()

    # From any thread

    @property
    def links(self) -> list[Link]:
        """Those that are open, in the order in which they came."""
        return self.call(lambda: list(self._links))

    @property
    def accepted(self) -> int:
        """How many connections came so far."""
        return self.call(lambda: self._accepted)

    def url_for(self, url: str) -> str:
        """The URL of the same thing, by this way."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}{LOOPBACK}:{self.port}").geturl()

    def links_with(self, data: bytes, direction: Direction = TO_SERVER) -> list[Link]:
        """The open links in which this came."""
        return [link for link in self.links if data in link.seen(direction)]

    def forward(self, *directions: Direction) -> None:
        self._set(Flow.FORWARD, Link.forward, directions)

    def hold(self, *directions: Direction) -> None:
        self._set(Flow.HOLD, Link.hold, directions)

    def drop(self, *directions: Direction) -> None:
        self._set(Flow.DROP, Link.drop, directions)

    def _set(
        self, flow: Flow, set_link: Callable[..., None], directions: tuple[Direction, ...]
    ) -> None:
        def set_all() -> None:
            self.flows.update(dict.fromkeys(directions or Direction, flow))
            for link in self._links:
                set_link(link, *directions)

        self.call(set_all)

    def cut(self) -> None:
        """All links that are open."""
        self._each(Link.cut)

    def reset(self) -> None:
        """All links that are open."""
        self._each(Link.reset)

    def _each(self, work: Callable[[Link], None]) -> None:
        def work_on_all() -> None:
            for link in list(self._links):
                work(link)

        self.call(work_on_all)

    def refuse(self) -> None:
        """Listen no more: whoever connects is refused. The links there are stay."""
        self.call(self._stop_listening)

    def accept(self) -> None:
        """Listen again, on the same port."""
        self.call(self._listen)

    def greet(self, greeting: Callable[[Link], object]) -> None:
        """Do this with each new link before anything passes, instead of what was set before."""

        def set_greeting() -> None:
            self._greeting = greeting

        self.call(set_greeting)

    def call(self, work: Callable[[], T]) -> T:
        """Have the thread do this, and return what it returns, or raise what it raises."""
        if threading.current_thread() is self._thread:
            return work()
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(work())
            except BaseException as error:
                result.set_exception(error)

        self._calls.append(run)
        self._wake_writer.send(b"!")
        return result.result(START_SECONDS)

    # In the thread

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server((LOOPBACK, self.port))
            self._listener.setblocking(False)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _end(self) -> None:
        self._is_closing = True

    def _run(self) -> None:
        while not self._is_closing:
            # Reckoned first: what becomes due meanwhile is then watched.
            seconds = self._seconds_until_due()
            self._watch()
            for key, events in self._selector.select(seconds):
                self._on_event(key, events)
            for link in self._links:
                if link.is_open:
                    link.advance()
        self._stop_listening()
        for link in self._links:
            link.close()
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _on_event(self, key: selectors.SelectorKey, events: int) -> None:
        sock = key.fileobj
        assert isinstance(sock, socket.socket)
        if sock is self._wake_reader:
            self._run_calls()
        elif sock is self._listener:
            self._accept()
        elif isinstance(key.data, Link) and key.data.is_open:
            key.data.on_event(sock, events)

    def _watch(self) -> None:
        """Have the selector watch what is wanted now, and only that."""
        self._links = [link for link in self._links if link.is_open]
        wanted: dict[socket.socket, tuple[int, Link | None]] = {
            sock: (events, link)
            for link in self._links
            for sock in link.sockets
            if (events := link.events_of(sock))
        }
        wanted[self._wake_reader] = selectors.EVENT_READ, None
        if self._listener is not None:
            wanted[self._listener] = selectors.EVENT_READ, None
        # First what is closed: its number may be another's by now.
        for sock in self._watched.keys() - wanted.keys():
            self._selector.unregister(sock)
        for sock, (events, link) in wanted.items():
            if sock not in self._watched:
                self._selector.register(sock, events, link)
            elif self._watched[sock][0] != events:
                self._selector.modify(sock, events, link)
        self._watched = wanted

    def _seconds_until_due(self) -> float | None:
        times = [due_at for link in self._links if link.is_open for due_at in link.due_at]
        return max(min(times) - time.monotonic(), 0.0) if times else None

    def _run_calls(self) -> None:
        with suppress(BlockingIOError):
            while self._wake_reader.recv(CHUNK_BYTES):
                pass
        while self._calls:
            self._calls.popleft()()

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        self._accepted += 1
        try:
            server = socket.create_connection((LOOPBACK, self._server_port), START_SECONDS)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            return
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(self, client, server)
        self._links.append(link)
        self._greeting(link)


def proxy_before(url: str) -> Proxy:
    """A proxy whose server is that of a URL on this machine, which names its port."""
    port = urlsplit(url).port
    assert port is not None
    return Proxy(port)
