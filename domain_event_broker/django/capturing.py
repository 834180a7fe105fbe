"""Events kept from any broker, for tests: see `domain_event_broker.django.testing`."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections, transaction

from ..messages import Message
from ..transports.base import Outcome, PublishResult


class Capture:
    """What was published while it was active, and is not rolled back."""

    def __init__(self) -> None:
        self._committed: list[Message] = []
        self._hooks: list[_Keep] = []

    def publish(self, messages: Sequence[Message], alias: str | None) -> list[PublishResult]:
        if alias is None:
            self._committed += messages
            return [PublishResult(Outcome.CONFIRMED)] * len(messages)
        hook = _Keep(self, alias, tuple(messages))
        self._hooks.append(hook)
        transaction.on_commit(hook, using=alias)
        return [PublishResult(Outcome.DEFERRED)] * len(messages)

    def messages(self) -> list[Message]:
        """Those committed, and those that wait for the commit of a transaction still open."""
        waiting = {id(hook) for alias in connections for hook in _hooks_of(alias)}
        pending = [hook for hook in self._hooks if id(hook) in waiting and not hook.has_run]
        return self._committed + [m for hook in pending for m in hook.messages]

    def keep(self, messages: Sequence[Message]) -> None:
        self._committed += messages


class _Keep:
    """A commit hook. Django drops it with the transaction or savepoint that rolls back."""

    def __init__(self, capture: Capture, alias: str, messages: tuple[Message, ...]) -> None:
        self._capture = capture
        self.alias = alias
        self.messages = messages
        self.has_run = False

    def __call__(self) -> None:
        # `captureOnCommitCallbacks` runs it and leaves it where it was.
        if not self.has_run:
            self.has_run = True
            self._capture.keep(self.messages)


def _hooks_of(alias: str) -> list[object]:
    return [function for _, function, *_ in connections[alias].run_on_commit]


_active: list[Capture] = []


def capturing() -> Capture | None:
    """The innermost capture that is active in this process."""
    return _active[-1] if _active else None


def push(capture: Capture) -> None:
    _active.append(capture)


def pop() -> None:
    _active.pop()
