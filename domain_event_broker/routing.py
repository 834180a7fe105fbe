"""Which binding keys match a routing key: RabbitMQ's topic rule, for transports without one.

https://www.rabbitmq.com/tutorials/tutorial-five-python: ``*`` is exactly one word, ``#`` zero or
more words, words are separated by dots.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache


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
    return _match_words(binding_key.split("."), routing_key.split(".") if routing_key else [])


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
