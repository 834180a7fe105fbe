"""What is no event, put on the exchange by another client: each costs one dead letter, no more."""

from __future__ import annotations

import pytest

from domain_event_broker import Subscriber
from tests.amqp.support import (
    Recorder,
    body_of,
    send_raw,
    transport_warnings,
    wait_for_dead_letters,
    wait_for_subscribers,
    wait_until_empty,
)
from tests.support.consuming import consuming
from tests.support.rabbitmq import RabbitmqNode

DIGITS = b"1" * 5_000
DEEP = 100_000

#: Body -> part of the reason.
BODIES: dict[bytes, str] = {
    b"": "not JSON",
    b"{": "not JSON",
    b"iamnotvalidjson[]": "not JSON",
    b"{} {}": "not JSON",
    b"\xef\xbb\xbf{}": "not JSON",
    '{"data": {}}'.encode("utf-16"): "not UTF-8",
    b"\x80\x04}q\x00.": "not UTF-8",
    b'{"data": "\xff"}': "not UTF-8",
    b'{"data": NaN}': "NaN",
    b'{"data": [Infinity]}': "Infinity",
    b'{"data": -Infinity}': "Infinity",
    b'{"data": 1e400}': "range of a float",
    b'{"data": %s}' % DIGITS: "too many digits",
    b'{"timestamp": %s}' % DIGITS: "too many digits",
    b'{"timestamp": %s}' % (b"1" * 400): "'timestamp' is out of range",
    b"[" * DEEP: "nested too deeply",
    b'{"data": %s%s}' % (b"[" * DEEP, b"]" * DEEP): "nested too deeply",
    b'{"a":' * DEEP + b"1" + b"}" * DEEP: "nested too deeply",
    b'["user.registered", {}]': "JSON array",
    b"5": "JSON number",
    b"null": "JSON null",
    b"true": "JSON boolean",
    b'"text"': "JSON string",
    b'{"data": "\\ud800"}': "lone surrogate",
    b'{"\\uDFFF": 1}': "lone surrogate",
    b'{"data": 1, "data": 2}': "same key twice",
    b'{"data": {"a": [{"b": 1, "b": 1}]}}': "same key twice",
    b'{"routing_key": null}': "'routing_key' is a JSON null",
    b'{"routing_key": 5}': "'routing_key' is a JSON number",
    b'{"routing_key": ["a"]}': "'routing_key' is a JSON array",
    b'{"uuid_string": 5}': "'uuid_string' is a JSON number",
    b'{"uuid_string": {}}': "'uuid_string' is a JSON object",
    b'{"uuid_string": "%s"}' % (b"u" * 256): "more than 255 bytes",
    b'{"timestamp": "now"}': "'timestamp' is a JSON string",
    b'{"timestamp": true}': "'timestamp' is a JSON boolean",
    b'{"timestamp": [1]}': "'timestamp' is a JSON array",
    b'{"domain_object_id": 1.5}': "'domain_object_id' is a JSON number",
    b'{"domain_object_id": false}': "'domain_object_id' is a JSON boolean",
    b'{"domain_object_id": {}}': "'domain_object_id' is a JSON object",
}


@pytest.mark.fault(row=17)
def test_each_is_a_dead_letter_with_its_reason_and_its_neighbours_are_handled(
    broker_url: str, broker_vhost: str, rabbitmq: RabbitmqNode, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder()
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "careful", ["#"])
    with consuming(subscriber):
        before = wait_for_subscribers(rabbitmq, broker_vhost)
        for number, body in enumerate(BODIES):
            send_raw(broker_url, "bad.event", body)
            send_raw(broker_url, "good.event", body_of("good.event", data=number))
        dead_letters = wait_for_dead_letters(broker_url, "careful", len(BODIES))
        handler.wait_for(len(BODIES))
        assert wait_for_subscribers(rabbitmq, broker_vhost) == before
    for dead_letter, (body, reason) in zip(dead_letters, BODIES.items(), strict=True):
        assert dead_letter.raw.body == body
        assert dead_letter.reason == "unreadable"
        assert dead_letter.error_type == "domain_event_broker.errors.UnreadableEvent"
        assert reason in dead_letter.error_message
        assert dead_letter.raw.headers["deb-routing-key"] == "bad.event"
    assert [event.data for event in handler.events] == list(range(len(BODIES)))
    wait_until_empty(broker_url, "careful")
    assert not transport_warnings(caplog)


def test_a_subscription_without_dead_letters_drops_it_with_a_log_line(
    broker_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder()
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "careless", ["#"], dead_letter=False)
    send_raw(broker_url, "bad.event", b"secret body")
    send_raw(broker_url, "good.event")
    subscriber.start_consuming(drain=True)
    assert handler.keys == ["good.event"]
    wait_until_empty(broker_url, "careless")
    assert "discarded: unreadable" in caplog.text
    assert "secret body" not in caplog.text


def test_what_older_and_newer_peers_may_leave_out_or_add_is_handled(broker_url: str) -> None:
    bodies = [
        b"{}",
        b'{"data": null}',
        b'{"data": [1, "two"], "newer": {"field": 1}}',
        b'{"domain_object_id": 7}',
        b'{"domain_object_id": null, "uuid_string": null, "timestamp": null}',
        b'{"timestamp": 1700000000}',
        b'  {"data": {}}\n',
    ]
    handler = Recorder()
    subscriber = Subscriber(broker_url)
    subscriber.register(handler, "tolerant", ["#"])
    for body in bodies:
        send_raw(broker_url, "sparse.event", body)
    subscriber.start_consuming(drain=True)
    assert handler.keys == ["sparse.event"] * len(bodies)
    assert [event.data for event in handler.events][:3] == [{}, None, [1, "two"]]
    assert [event.domain_object_id for event in handler.events][3:5] == [7, None]
    wait_until_empty(broker_url, "tolerant-dl")
