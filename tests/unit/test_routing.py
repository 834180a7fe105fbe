"""Topic matching against its definition, over every small pattern and key."""

from collections.abc import Iterator, Sequence
from itertools import product

import pytest

from domain_event_broker.routing import RoutingTable, matches, routes


def by_definition(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """``*`` is one word, ``#`` is none or a word and ``#`` again, other words are themselves."""
    if not pattern:
        return not words
    first, rest = pattern[0], pattern[1:]
    if first == "#":
        return by_definition(rest, words) or bool(words and by_definition(pattern, words[1:]))
    return bool(words and first in ("*", words[0]) and by_definition(rest, words[1:]))


def sequences(alphabet: str, longest: int) -> Iterator[tuple[str, ...]]:
    for length in range(longest + 1):
        yield from product(alphabet, repeat=length)


def test_every_small_pattern_matches_what_its_definition_says() -> None:
    patterns = [pattern for pattern in sequences("ab*#", 4) if pattern]
    keys = list(sequences("ab", 5))
    wrong = [
        (pattern, key)
        for pattern, key in product(patterns, keys)
        if matches(".".join(pattern), ".".join(key)) != by_definition(pattern, key)
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("binding_key", "routing_key", "expected"),
    [
        ("user.registered", "user.registered", True),
        ("user.registered", "user.register", False),
        ("user.registered", "User.registered", False),
        ("user.*", "user.registered", True),
        ("user.*", "user", False),
        ("user.*", "user.address.changed", False),
        ("user.#", "user", True),
        ("user.#", "user.address.changed", True),
        ("user.#", "users.registered", False),
        ("#", "", True),
        ("#", "anything.at.all", True),
        ("*", "", False),
        ("", "", True),
        ("", "a", False),
        ("a", "", False),
        ("#.changed", "changed", True),
        ("#.changed", "user.address.changed", True),
        ("*.*", "a.", True),
        ("a..b", "a..b", True),
        ("*.b", ".b", True),
        ("a.*", "a.*", True),
        ("a.b", "a.*", False),
    ],
)
def test_keys_are_compared_word_by_word(binding_key: str, routing_key: str, expected: bool) -> None:
    assert matches(binding_key, routing_key) is expected


def test_many_wildcards_do_not_multiply_the_work() -> None:
    # Tried one by one, the ways to share 60 words among 50 wildcards never end.
    assert not matches(".".join(["#"] * 50 + ["z"]), ".".join("a" * 60))
    assert matches(".".join(["#", "*"] * 25), ".".join("a" * 60))


@pytest.mark.parametrize(
    ("exchange_type", "matching"),
    [
        ("topic", {"user.*", "user.registered", "#"}),
        ("direct", {"user.registered"}),
        ("fanout", {"user.*", "user.registered", "#", "order.*"}),
        ("headers", {"user.*", "user.registered", "#", "order.*"}),
    ],
)
def test_each_type_of_exchange_has_its_rule(exchange_type: str, matching: set[str]) -> None:
    keys = {"user.*", "user.registered", "#", "order.*"}

    assert {key for key in keys if routes(exchange_type, key, "user.registered")} == matching


@pytest.mark.parametrize("exchange_type", ["topic", "direct", "fanout", "headers"])
def test_a_table_finds_what_its_bindings_say(exchange_type: str) -> None:
    keys = [".".join(words) for words in sequences("ab*#", 3)]
    table = RoutingTable(exchange_type, [(key, key) for key in keys])
    for key in (".".join(words) for words in sequences("ab*", 3)):
        expected = tuple(each for each in keys if routes(exchange_type, each, key))
        assert table.destinations(key) == expected


def test_a_destination_comes_once_where_its_first_binding_is() -> None:
    bindings = [("#", 2), ("a.b", 3), ("a.b", 1), ("a.*", 3), ("b", 4), ("a.b", 2)]
    assert RoutingTable("topic", bindings).destinations("a.b") == (2, 3, 1)
    assert RoutingTable("direct", bindings).destinations("a.b") == (3, 1, 2)
