"""Names of handlers and binding keys: what is accepted, and what each refusal says."""

from typing import Any

import pytest

from domain_event_broker import names
from domain_event_broker.errors import HandlerError


@pytest.mark.parametrize(
    "name",
    ["h", "shop.orders.handlers.place", "n" * 252, "é" * 126, "with space", "amqp", "x.amq."],
    ids=len,
)
def test_a_handler_may_be_named(name: str) -> None:
    assert names.check_handler_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "non-empty string"),
        (None, "not NoneType"),
        (5, "not int"),
        (b"name", "not bytes"),
        ("n" * 253, "253 bytes; at most 252"),
        ("é" * 127, "254 bytes; at most 252"),
        ("amq.gen-1", "begins with 'amq.'"),
        ("\ud800", "cannot be sent"),
        ("a\0b", "cannot be sent"),
    ],
)
def test_a_handler_must_not_be_named(name: Any, reason: str) -> None:
    with pytest.raises(HandlerError, match=reason):
        names.check_handler_name(name)


def test_the_longest_name_leaves_room_for_its_dead_letter_queue() -> None:
    longest = names.dead_letter_queue("n" * names.MAX_NAME_BYTES)

    assert len(longest) == names.MAX_KEY_BYTES


@pytest.mark.parametrize(
    "key", ["a", "a.b", "*", "#", "a.*.#", "#.b", "k" * 255, "é" * 127, "a b", "ab..c"], ids=len
)
def test_an_event_may_be_bound_by(key: str) -> None:
    assert names.check_binding_key(key) == key


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "must not be empty"),
        (None, "not NoneType"),
        (1, "not int"),
        (b"a.b", "not bytes"),
        ("k" * 256, "256 bytes; at most 255"),
        ("é" * 128, "256 bytes; at most 255"),
        ("a.\udfff", "cannot be sent"),
        ("user*", "'user\\*' would match itself only"),
        ("a.#b.c", "'#b' would match itself only"),
        ("**", "would match itself only"),
        ("a.*#", "would match itself only"),
    ],
)
def test_an_event_must_not_be_bound_by(key: Any, reason: str) -> None:
    with pytest.raises(HandlerError, match=reason):
        names.check_binding_key(key)
    with pytest.raises(HandlerError, match=reason):
        names.check_binding_keys(["good.key", key])


@pytest.mark.parametrize("keys", ["user.*", b"user.*"])
def test_a_single_string_of_binding_keys_is_refused_with_the_list_to_write(keys: Any) -> None:
    with pytest.raises(HandlerError, match=r"bind each of its letters. Write \[b?'user\.\*'\]"):
        names.check_binding_keys(keys)


@pytest.mark.parametrize("keys", [None, 5, object()])
def test_binding_keys_must_be_several(keys: Any) -> None:
    with pytest.raises(HandlerError, match=f"not {type(keys).__name__}"):
        names.check_binding_keys(keys)


@pytest.mark.parametrize("keys", [[], (), set(), iter([])])
def test_at_least_one_binding_key_is_needed(keys: Any) -> None:
    with pytest.raises(HandlerError, match="at least one"):
        names.check_binding_keys(keys)


def test_binding_keys_keep_their_order_without_duplicates() -> None:
    keys = (key for key in ["b.*", "a.*", "b.*", "#"])

    assert names.check_binding_keys(keys) == ("b.*", "a.*", "#")


@pytest.mark.parametrize(
    ("text", "length"), [("", 0), ("a", 1), ("é", 2), ("🎉", 4), ("\ud800", 3)]
)
def test_length_is_counted_in_bytes(text: str, length: int) -> None:
    assert names.byte_length(text) == length


def test_the_queues_of_a_handler_and_of_an_exchange_have_their_names() -> None:
    assert names.dead_letter_queue("mail") == "mail-dl"
    assert names.requeue_exchange("events") == "events-requeue"
    assert names.orphans("events") == "events-orphans"
    assert names.delay_exchange("events") == "events-delay.v1"
    assert names.delay_queue("events", 100) == "events-delay.v1.100ms"
    assert names.legacy_retry_exchange("mail") == "mail-retry"
    assert names.legacy_dead_letter_exchange("mail") == "mail-dlx"
