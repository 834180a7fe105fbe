"""How many runs of handlers there may still be, for all threads together."""

from __future__ import annotations

import threading


class Allowance:
    """So many runs, or any number of them. Each is reserved, and then spent or given back.

    So there is never one too many, and none too few where what was begun turns out to be none.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._reserved = 0
        self._spent = 0
        self._is_closed = False

    @property
    def is_spent(self) -> bool:
        return self._most is not None and self._spent >= self._most

    def reserve(self, timeout_seconds: float) -> bool:
        """Whether there may be one more; waits so long for one that is given back."""
        if self._most is None:
            return True
        with self._changed:
            self._changed.wait_for(self._is_over_or_has_one, timeout_seconds)
            if not self._has_one():
                return False
            self._reserved += 1
            return True

    def give_back(self) -> None:
        """What was reserved was no run."""
        if self._most is not None:
            with self._changed:
                self._reserved -= 1
                self._changed.notify()

    def spend(self) -> None:
        """What was reserved was one."""
        if self._most is not None:
            with self._changed:
                self._reserved -= 1
                self._spent += 1
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _has_one(self) -> bool:
        return self._most is not None and self._spent + self._reserved < self._most

    def _is_over_or_has_one(self) -> bool:
        return self._is_closed or self.is_spent or self._has_one()
