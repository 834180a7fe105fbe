"""The proxy that breaks connections."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.support.ports import LOOPBACK, is_free
from tests.support.proxy import TO_CLIENT, TO_SERVER, Direction, Link, Proxy, proxy_before
from tests.support.threads import start_thread
from tests.support.waiting import wait_until

SECONDS = 30.0
#: For what should not come.
A_MOMENT_SECONDS = 0.2


class Ends:
    """A client and a server, connected by the proxy, with a link between them."""

    def __init__(self, proxy: Proxy, listener: socket.socket) -> None:
        others = set(proxy.links)
        self.client = socket.create_connection((LOOPBACK, proxy.port), SECONDS)
        self.server, _ = listener.accept()
        self.server.settimeout(SECONDS)
        (self.link,) = wait_until(lambda: set(proxy.links) - others)

    def of(self, direction: Direction) -> tuple[socket.socket, socket.socket]:
        """Who sends in the direction, and who receives."""
        if direction is TO_SERVER:
            return self.client, self.server
        return self.server, self.client

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.settimeout(SECONDS)
        yield listener


@pytest.fixture
def proxy(listener: socket.socket) -> Iterator[Proxy]:
    with Proxy(listener.getsockname()[1]) as proxy:
        yield proxy


@pytest.fixture
def ends(proxy: Proxy, listener: socket.socket) -> Iterator[Ends]:
    with closing(Ends(proxy, listener)) as ends:
        yield ends


def passes(ends: Ends, direction: Direction, data: bytes = b"hello") -> bool:
    """Send something, and tell whether it comes."""
    sender, receiver = ends.of(direction)
    sender.sendall(data)
    return received(receiver, len(data)) == data


def received(receiver: socket.socket, count: int) -> bytes:
    """What comes, until it is so much or nothing more comes."""
    got = b""
    while len(got) < count and (data := receiver.recv(count - len(got))):
        got += data
    return got


def see_silence(receiver: socket.socket) -> None:
    """See that nothing comes, and no end either."""
    receiver.settimeout(A_MOMENT_SECONDS)
    with pytest.raises(TimeoutError):
        receiver.recv(1)
    receiver.settimeout(SECONDS)


def see_reset(sock: socket.socket) -> None:
    with pytest.raises(ConnectionResetError):
        received(sock, 1_000_000)


@pytest.mark.parametrize("direction", Direction)
class TestOneDirection:
    def test_passes(self, ends: Ends, direction: Direction) -> None:
        much = random.randbytes(3_000_000)
        sender, receiver = ends.of(direction)
        sending = start_thread(sender.sendall, much)
        assert received(receiver, len(much)) == much
        sending.join()

    def test_held_and_let_go(self, ends: Ends, direction: Direction) -> None:
        sender, receiver = ends.of(direction)
        ends.link.hold(direction)
        sender.sendall(b"held")
        sender.shutdown(socket.SHUT_WR)
        see_silence(receiver)
        assert not ends.link.has_ended(direction)
        ends.link.forward(direction)
        assert received(receiver, 5) == b"held"

    def test_dropped(self, ends: Ends, direction: Direction) -> None:
        sender, receiver = ends.of(direction)
        ends.link.drop(direction)
        sender.sendall(b"gone")
        wait_until(lambda: b"gone" in ends.link.seen(direction))
        see_silence(receiver)
        ends.link.forward(direction)
        assert passes(ends, direction, b"not gone")

    def test_the_other_one_goes_on(self, ends: Ends, direction: Direction) -> None:
        (other,) = set(Direction) - {direction}
        for stop in (Link.hold, Link.drop):
            stop(ends.link, direction)
            assert not ends.link.is_whole
            assert passes(ends, other)

    def test_an_end_is_dropped_too(self, ends: Ends, direction: Direction) -> None:
        sender, receiver = ends.of(direction)
        ends.link.drop()
        sender.close()
        wait_until(lambda: ends.link.has_ended(direction))
        see_silence(receiver)
        receiver.close()
        wait_until(lambda: not ends.link.is_open)

    def test_ends_pass(self, ends: Ends, direction: Direction) -> None:
        sender, receiver = ends.of(direction)
        sender.sendall(b"last words")
        sender.shutdown(socket.SHUT_WR)
        assert received(receiver, 20) == b"last words"
        receiver.sendall(b"answer")
        assert received(sender, 6) == b"answer"
        receiver.close()
        assert received(sender, 1) == b""
        wait_until(lambda: not ends.link.is_open)

    def test_half_closed(self, ends: Ends, direction: Direction) -> None:
        (other,) = set(Direction) - {direction}
        _, receiver = ends.of(direction)
        ends.link.half_close(direction)
        assert received(receiver, 1) == b""
        assert passes(ends, other)

    def test_broken_after_so_many_bytes(self, ends: Ends, direction: Direction) -> None:
        sender, receiver = ends.of(direction)
        ends.link.after(7, direction, ends.link.cut)
        assert passes(ends, direction, b"four")
        sender.sendall(b"three and what is lost")
        assert received(receiver, 100) == b"thr"
        assert received(sender, 100) == b""

    def test_an_action_waits_for_the_byte_that_it_replaces(
        self, ends: Ends, direction: Direction
    ) -> None:
        sender, receiver = ends.of(direction)
        ends.link.after(4, direction, partial(ends.link.hold, direction))
        assert passes(ends, direction, b"four")
        sender.sendall(b"five")
        see_silence(receiver)
        ends.link.forward()
        assert received(receiver, 4) == b"five"

    def test_slowed_down(self, ends: Ends, direction: Direction) -> None:
        sender, receiver = ends.of(direction)
        ends.link.slow_down(1_000, direction)
        began_at = time.monotonic()
        sender.sendall(bytes(500))
        assert received(receiver, 500) == bytes(500)
        # At the last bytes, all others had their pause.
        assert time.monotonic() - began_at > 0.4
        ends.link.slow_down(None)
        assert passes(ends, direction, bytes(50_000))

    def test_delayed(self, ends: Ends, direction: Direction) -> None:
        ends.link.delay(0.3, direction)
        began_at = time.monotonic()
        assert passes(ends, direction)
        assert time.monotonic() - began_at > 0.29


def test_both_are_cut(ends: Ends) -> None:
    ends.client.sendall(b"unread")
    assert received(ends.server, 6) == b"unread"
    ends.link.hold()
    ends.client.sendall(b"lost")
    ends.link.cut()
    assert received(ends.client, 1) == received(ends.server, 1) == b""
    ends.close()
    wait_until(lambda: not ends.link.is_open)


def test_both_are_reset(ends: Ends) -> None:
    assert ends.link.is_whole
    ends.link.reset()
    see_reset(ends.client)
    see_reset(ends.server)
    assert not ends.link.is_open
    assert not ends.link.is_whole


@pytest.mark.parametrize("direction", Direction)
def test_the_reset_of_one_is_the_others(ends: Ends, direction: Direction) -> None:
    sender, receiver = ends.of(direction)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sender.close()
    see_reset(receiver)


@pytest.mark.parametrize("stop", [Proxy.hold, Proxy.drop])
def test_all_is_held_for_those_who_come_later_too(
    proxy: Proxy, listener: socket.socket, stop: Callable[[Proxy], None]
) -> None:
    stop(proxy)
    with closing(Ends(proxy, listener)) as ends:
        ends.client.sendall(b"hello")
        see_silence(ends.server)
        assert proxy.accepted == len(proxy.links) == 1
    proxy.reset()
    proxy.forward()
    with closing(Ends(proxy, listener)) as ends:
        assert passes(ends, TO_SERVER)
        assert passes(ends, TO_CLIENT)
    assert proxy.accepted == 2


def test_a_link_is_known_by_what_was_sent(proxy: Proxy, listener: socket.socket) -> None:
    with closing(Ends(proxy, listener)) as one, closing(Ends(proxy, listener)) as other:
        assert passes(one, TO_SERVER, b"one")
        assert passes(other, TO_SERVER, b"other")
        assert proxy.links_with(b"one") == [one.link]
        assert proxy.links_with(b"other") == [other.link]
        proxy.cut()
        assert received(one.client, 1) == received(other.client, 1) == b""


def test_new_links_are_greeted(proxy: Proxy, listener: socket.socket, ends: Ends) -> None:
    proxy.greet(Link.reset)
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection((LOOPBACK, proxy.port), SECONDS) as client,
    ):
        client.recv(1)
    proxy.greet(lambda link: link.after(4, TO_SERVER, link.cut))
    listener.accept()[0].close()
    with closing(Ends(proxy, listener)) as later:
        later.client.sendall(b"four and what is lost")
        assert received(later.server, 100) == b"four"
    assert passes(ends, TO_SERVER)


def test_new_connections_are_refused_and_taken_again(
    proxy: Proxy, listener: socket.socket, ends: Ends
) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, proxy.port), SECONDS)
    assert passes(ends, TO_SERVER)
    proxy.accept()
    with closing(Ends(proxy, listener)) as later:
        assert passes(later, TO_SERVER)


def test_without_a_server_clients_are_reset(proxy: Proxy, listener: socket.socket) -> None:
    listener.close()
    # It may be so quick that not even the connecting ends well.
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection((LOOPBACK, proxy.port), SECONDS) as client,
    ):
        client.recv(1)
    assert not proxy.links


def test_nothing_is_left(listener: socket.socket) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for _ in range(3):
        with Proxy(listener.getsockname()[1]) as proxy:
            kept = [Ends(proxy, listener) for _ in range(3)]
            kept[0].link.reset()
            kept[1].link.drop()
        for ends in kept:
            ends.close()
        proxy.close()
        assert is_free(proxy.port)
    assert descriptors() == before


def test_a_url_by_the_proxy() -> None:
    with proxy_before("amqp://a:b%40c@127.0.0.1:7/d%2Fe?f=g") as proxy:
        url = proxy.url_for("amqp://a:b%40c@127.0.0.1:7/d%2Fe?f=g")
        assert url == f"amqp://a:b%40c@127.0.0.1:{proxy.port}/d%2Fe?f=g"
