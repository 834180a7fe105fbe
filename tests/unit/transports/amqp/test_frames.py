"""Reading frames out of what came, in whatever pieces, and writing them in few pieces."""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pika
import pika.frame
import pika.spec
import pytest

from domain_event_broker.messages import UNREADABLE_HEADERS, Message
from domain_event_broker.transports.amqp import pika_connection
from domain_event_broker.transports.amqp.pika_connection import Connection

CHANNEL = 1


class Wire(Connection):
    """An open connection without a socket: notes the frames it read and what it wrote."""

    def __init__(self) -> None:
        self.read: list[Any] = []
        self.written: list[bytes] = []
        self.on_frame: Callable[[], None] = lambda: None
        self.rounds = 0
        self.connection_state = self.CONNECTION_OPEN
        self.bytes_received = self.frames_received = self.bytes_sent = self.frames_sent = 0
        self._frame_buffer = b""
        self.params = pika.ConnectionParameters()
        self._transport: Any = self
        self._channels: dict[int, Any] = {}

    def _process_frame(self, frame_value: Any) -> None:
        self.read.append(frame_value)
        self.on_frame()

    def after_reading(self) -> None:
        self.rounds += 1

    def write(self, data: bytes) -> None:
        self.written.append(data)


def frames(body: bytes, headers: dict[str, Any] | None = None, tag: str = "tag") -> list[bytes]:
    properties = pika.BasicProperties(headers=headers or {}, message_id="some id")
    deliver = pika.spec.Basic.Deliver(tag, 2**40, True, "exchänge", "key")
    return [
        pika.frame.Method(CHANNEL, deliver).marshal(),
        pika.frame.Header(CHANNEL, len(body), properties).marshal(),
        pika.frame.Body(CHANNEL, body).marshal(),
    ]


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 8, 50, 10_000])
def test_frames_are_read_in_whatever_pieces_they_come(piece_bytes: int) -> None:
    wire = Wire()
    data = b"".join(b"".join(frames(b"x" * size)) for size in (1, 100, 1_000))
    for start in range(0, len(data), piece_bytes):
        wire._on_data_available(data[start : start + piece_bytes])

    assert [len(each.fragment) for each in wire.read[2::3]] == [1, 100, 1_000]
    assert [type(each) for each in wire.read[:2]] == [pika.frame.Method, pika.frame.Header]
    assert wire._frame_buffer == b""
    assert wire.bytes_received == len(data)


def test_all_that_came_at_once_is_told_of_once() -> None:
    wire = Wire()
    wire._on_data_available(b"".join(frames(b"x") * 10))

    assert (len(wire.read), wire.rounds) == (30, 1)


def test_headers_that_cannot_be_read_cost_themselves(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    method, header, body = frames(b"x", {"when": "?"})
    broken = header.replace(b"S\x00\x00\x00\x01?", b"~\x00\x00\x00\x01?")
    assert broken != header
    wire._on_data_available(method + broken + body)

    assert list(wire.read[1].properties.headers) == [UNREADABLE_HEADERS]
    assert wire.read[2].fragment == b"x"
    assert "they are dropped" in caplog.text


def test_a_frame_without_its_end_is_refused() -> None:
    wire = Wire()
    method = frames(b"x")[0]
    with pytest.raises(pika.exceptions.InvalidFrameError):
        wire._on_data_available(method[:-1] + b"\x00")


def test_nothing_is_read_after_the_connection_closed() -> None:
    wire = Wire()
    wire.on_frame = lambda: wire._set_connection_state(wire.CONNECTION_CLOSED)
    wire._on_data_available(b"".join(frames(b"x")))

    assert len(wire.read) == 1


def test_what_is_sent_is_written_at_once() -> None:
    wire = Wire()
    wire._output_marshaled_frames([b"a", b"b"])

    assert wire.written == [b"ab"]
    assert (wire.frames_sent, wire.bytes_sent) == (2, 2)


def test_or_together() -> None:
    wire = Wire()
    with wire.writing_together():
        wire._output_marshaled_frames([b"a", b"b"])
        with wire.writing_together():
            wire._output_marshaled_frames([b"c"])
        assert wire.written == []

    assert wire.written == [b"abc"]
    wire._output_marshaled_frames([b"d"])
    assert wire.written == [b"abc", b"d"]


def test_but_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pika_connection, "_WRITE_BYTES", 4)
    wire = Wire()
    with wire.writing_together():
        for _ in range(5):
            wire._output_marshaled_frames([b"ab"])

    assert wire.written == [b"abab", b"abab", b"ab"]


def test_what_was_sent_before_something_broke_is_written() -> None:
    wire = Wire()

    def break_in_the_middle() -> None:
        with wire.writing_together():
            wire._output_marshaled_frames([b"a"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_in_the_middle()

    assert wire.written == [b"a"]


def test_what_answers_to_what_came_is_written_together() -> None:
    wire = Wire()
    wire.on_frame = lambda: wire._output_marshaled_frames([b"a"])
    wire._on_data_available(b"".join(frames(b"x")))

    assert wire.written == [b"aaa"]


class TestDeliveries:
    """They are read in one go, and go to their consumers as pika would hand them over."""

    @pytest.fixture
    def taken(self) -> list[Any]:
        return []

    @pytest.fixture
    def wire(self, taken: list[Any]) -> Wire:
        """With a channel on which "tag" is consumed."""
        wire = Wire()
        consumers = {"tag": lambda *arguments: taken.append(arguments)}
        wire._channels[CHANNEL] = SimpleNamespace(_consumers=consumers, _cancelled=set())
        return wire

    @pytest.mark.parametrize("body", [b"", b"x", b"x" * 1_000])
    def test_all_of_it_arrives(self, wire: Wire, taken: list[Any], body: bytes) -> None:
        data = b"".join(frames(body, {"n": 1})[: 2 + bool(body)])
        wire._on_data_available(data * 2)

        assert len(taken) == 2
        channel, method, properties, received = taken[1]
        assert channel is wire._channels[CHANNEL]
        assert method == pika.spec.Basic.Deliver("tag", 2**40, True, "exchänge", "key")
        assert (properties.headers, properties.message_id) == ({"n": 1}, "some id")
        assert received == body
        assert (wire.read, wire.bytes_received) == ([], 2 * len(data))

    @pytest.mark.parametrize("piece_bytes", [1, 7, 50, 300])
    def test_what_comes_in_pieces_is_left_to_pika(
        self, wire: Wire, taken: list[Any], piece_bytes: int
    ) -> None:
        data = b"".join(frames(b"x" * 400))
        for start in range(0, len(data), piece_bytes):
            wire._on_data_available(data[start : start + piece_bytes])

        assert len(wire.read) == 3
        assert taken == []

    def test_a_body_of_several_frames_too(self, wire: Wire, taken: list[Any]) -> None:
        method, header, _ = frames(b"abc")
        parts = [pika.frame.Body(CHANNEL, part).marshal() for part in (b"ab", b"c")]
        wire._on_data_available(b"".join([method, header, *parts]))

        assert [each.fragment for each in wire.read[2:]] == [b"ab", b"c"]
        assert taken == []

    @pytest.mark.parametrize("state", ["cancelled", "unknown", "no channel"])
    def test_what_nobody_consumes_too(self, wire: Wire, taken: list[Any], state: str) -> None:
        if state == "cancelled":
            wire._channels[CHANNEL]._cancelled.add("tag")
        elif state == "unknown":
            del wire._channels[CHANNEL]._consumers["tag"]
        else:
            del wire._channels[CHANNEL]
        wire._on_data_available(b"".join(frames(b"x")))

        assert len(wire.read) == 3
        assert taken == []

    def test_headers_that_cannot_be_read_too(self, wire: Wire, taken: list[Any]) -> None:
        method, header, body = frames(b"x", {"when": "?"})
        broken = header.replace(b"S\x00\x00\x00\x01?", b"~\x00\x00\x00\x01?")
        wire._on_data_available(method + broken + body + b"".join(frames(b"y")))

        assert list(wire.read[1].properties.headers) == [UNREADABLE_HEADERS]
        assert [received for *_, received in taken] == [b"y"]

    def test_a_length_beyond_the_frame_reaches_into_nothing_else(
        self, wire: Wire, taken: list[Any]
    ) -> None:
        method, header, body = frames(b"x")
        shown = header.index(b"\x07some id")
        broken = header[:shown] + b"\x40" + header[shown + 1 :]
        wire._on_data_available(method + broken + body)

        read = [*taken, *wire.read]
        assert read
        assert b"\xce" not in str(read).encode()

    @pytest.mark.parametrize("place", [0, 2])
    def test_a_frame_without_its_end_is_refused(self, wire: Wire, place: int) -> None:
        three = frames(b"x")
        three[place] = three[place][:-1] + b"\x00"
        with pytest.raises(pika.exceptions.InvalidFrameError):
            wire._on_data_available(b"".join(three))

    def test_a_frame_of_another_channel_is_not_taken_for_its_own(
        self, wire: Wire, taken: list[Any]
    ) -> None:
        method, header, body = frames(b"x")
        other = header[:1] + b"\x00\x02" + header[3:]
        wire._on_data_available(method + other + body)

        assert [each.channel_number for each in wire.read] == [1, 2, 1]
        assert taken == []

    def test_a_consumer_that_closes_the_connection_gets_no_more(
        self, wire: Wire, taken: list[Any]
    ) -> None:
        def close(*arguments: object) -> None:
            taken.append(arguments)
            wire._set_connection_state(wire.CONNECTION_CLOSED)

        wire._channels[CHANNEL]._consumers["tag"] = close
        wire._on_data_available(b"".join(frames(b"x")) * 2)

        assert len(taken) == 1


class TestPublishing:
    """A message is written as pika would write it."""

    @pytest.mark.parametrize("body", [b"", b"x", b"x" * 10, b"x" * 11, b"x" * 1_000])
    @pytest.mark.parametrize("headers", [{}, {"n": 1, "text": "é", "deep": {"er": [b"x"]}}])
    def test_frame_by_frame(self, body: bytes, headers: dict[str, Any]) -> None:
        wire = Wire()
        wire._body_max_length = 10
        channel = SimpleNamespace(channel_number=300)
        message = Message("a.b", body, headers, message_id="é")
        wire.publish(channel, "exchänge", "a.b", message)
        ours, wire.written = b"".join(wire.written), []

        properties = pika.BasicProperties(headers=headers or None, message_id="é", delivery_mode=2)
        method = pika.spec.Basic.Publish(exchange="exchänge", routing_key="a.b", mandatory=True)
        wire._send_message(300, method, (properties, body))
        assert ours == b"".join(wire.written)

    @pytest.mark.parametrize(
        ("routing_key", "message"),
        [
            ("x" * 256, Message("x", b"x")),
            ("\ud800", Message("x", b"x")),
            ("x", Message("x", b"x", message_id="\ud800")),
            ("x", Message("x", b"x", timestamp=-1)),
            ("x", Message("x", b"x", priority=256)),
        ],
    )
    def test_what_cannot_be_written_is_not_begun(self, routing_key: str, message: Message) -> None:
        wire = Wire()
        wire._body_max_length = 10
        channel = SimpleNamespace(channel_number=1)
        with pytest.raises((pika.exceptions.AMQPError, ValueError, struct.error)):
            wire.publish(channel, "exchange", routing_key, message)

        assert wire.written == []


@pytest.mark.parametrize("multiple", [True, False])
def test_an_acknowledgement_is_written_as_pika_would_write_it(multiple: bool) -> None:
    wire = Wire()
    wire.acknowledge(SimpleNamespace(channel_number=300), 2**40, multiple=multiple)

    method = pika.spec.Basic.Ack(2**40, multiple)
    assert wire.written == [pika.frame.Method(300, method).marshal()]
