"""Which binding keys match a routing key: RabbitMQ's topic rule, for transports without one.

https://www.rabbitmq.com/tutorials/tutorial-five-python: ``*`` is exactly one word, ``#`` zero or
more words, words are separated by dots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Generic, TypeVar

T = TypeVar("T")


def routes(exchange_type: str, binding_key: str, routing_key: str) -> bool:
    """Tell whether an exchange of this type brings `routing_key` to a queue bound so."""
    if exchange_type == "topic":
        return matches(binding_key, routing_key)
    if exchange_type == "direct":
        return binding_key == routing_key
    # A fanout exchange asks nothing; a headers exchange asks only for what the arguments of the
    # binding name, and ours name nothing.
    return True


@lru_cache(maxsize=4096)
def matches(binding_key: str, routing_key: str) -> bool:
    """Tell whether an event with `routing_key` goes to a queue bound by `binding_key`."""
    return _match_words(_words(binding_key), _words(routing_key))


class RoutingTable(Generic[T]):
    """Where an exchange with these bindings, each a key and a destination, brings events to.

    Bindings without wildcards, which may be many, cost nothing to an event of another key.
    """

    def __init__(self, exchange_type: str, bindings: Iterable[tuple[str, T]]) -> None:
        self._type = exchange_type
        # With their places, since destinations come in the order of their bindings.
        self._exact: dict[str, list[tuple[int, T]]] = {}
        self._others: list[tuple[int, str, T]] = []
        for place, (key, destination) in enumerate(bindings):
            if self._is_exact(key):
                self._exact.setdefault(key, []).append((place, destination))
            else:
                self._others.append((place, key, destination))

    def _is_exact(self, key: str) -> bool:
        return self._type == "direct" or (
            self._type == "topic" and {"*", "#"}.isdisjoint(_words(key))
        )

    def destinations(self, routing_key: str) -> tuple[T, ...]:
        """Each once, however many of its bindings match."""
        found = [
            (place, destination)
            for place, key, destination in self._others
            if routes(self._type, key, routing_key)
        ]
        found += self._exact.get(routing_key, ())
        found.sort(key=lambda each: each[0])
        return tuple(dict.fromkeys(destination for _, destination in found))


def _words(key: str) -> list[str]:
    return key.split(".") if key else []


def _match_words(pattern: Sequence[str], words: Sequence[str]) -> bool:
    # reachable[i]: the pattern read so far can have consumed exactly i words. Linear in
    # len(pattern) * len(words), where backtracking over several '#' would be exponential.
    reachable = [True] + [False] * len(words)
    for part in pattern:
        if part == "#":
            first = next((i for i, ok in enumerate(reachable) if ok), len(reachable))
            reachable = [i >= first for i in range(len(reachable))]
        else:
            reachable = [False] + [
                reachable[i] and part in ("*", word) for i, word in enumerate(words)
            ]
    return reachable[-1]
