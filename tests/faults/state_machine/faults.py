"""What is to go wrong in the current step, and what it means that a process dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn

_UNCOUNTED = ("SAVEPOINT", "RELEASE", "ROLLBACK", "PRAGMA", "SET")


class Killed(BaseException):
    """Unwinds what a process was doing when it died. What it did before stays done."""


class Fate(Enum):
    """What becomes of one message that is published."""

    CONFIRMED = "stored and confirmed"
    UNCONFIRMED = "stored, the confirm is lost"
    BROKEN = "stored, and the connection breaks before the confirm"
    CUT = "the connection breaks before it is stored"
    REFUSED = "refused"
    DIES_BEFORE = "the process dies before it is stored"
    DIES_AFTER = "the process dies once it is stored"
    #: Others do what they like, for as long as a lease lasts; then it is stored and confirmed.
    OVERTAKEN = "it takes longer than its lease"


class Death(Enum):
    """Where a process dies that has a delivery, a dead letter or a row."""

    IN_HANDLER = "in the handler, before its commit"
    BEFORE_SETTLING = "after the handler, before anything is settled"
    BEFORE_STORING = "before the copy is stored elsewhere"
    AFTER_STORING = "after the copy is stored, before the original is removed"
    AT_HAND_OVER = "after the commit, before the hand-over"


@dataclass
class Faults:
    """The faults of one step. `on_death` makes the process be gone for all others."""

    #: Of the messages that are published, in order; those beyond are confirmed.
    fates: list[Fate] = field(default_factory=list)
    death: Death | None = None
    #: How many statements the database still gets from the process before it dies.
    statements: int | None = None
    on_death: Callable[[], None] = lambda: None
    #: What others do when a publish takes too long.
    meanwhile: Callable[[], None] = lambda: None
    is_dead: bool = False

    def next_fate(self) -> Fate:
        return self.fates.pop(0) if self.fates else Fate.CONFIRMED

    def at(self, point: Death) -> None:
        """Die, if it is to be here."""
        if self.death is point:
            self.kill()

    def kill(self) -> NoReturn:
        self.is_dead = True
        self.on_death()
        raise Killed

    def around_statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Django's wrapper of statements: the dead say nothing more to a database.

        What undoes a transaction is let through, since the database does that by itself; so is
        what every new connection begins with.
        """
        if sql.startswith(_UNCOUNTED):
            return execute(sql, params, many, context)
        if self.is_dead:
            raise Killed
        if self.statements is not None:
            self.statements -= 1
            if self.statements < 0:
                self.kill()
        return execute(sql, params, many, context)


class Stage:
    """The faults of the step that is going on; there may be a step within a step."""

    def __init__(self) -> None:
        self.faults = Faults()

    @contextmanager
    def acting(self, faults: Faults) -> Iterator[Faults]:
        """A step with these faults. It ends early where its process dies."""
        before, self.faults = self.faults, faults
        try:
            with suppress(Killed):
                yield faults
        finally:
            self.faults = before
