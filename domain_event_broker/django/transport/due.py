"""Which queues something may be due of, and when the database is to be asked that."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping

from ..models import QueuedMessage
from ..querysets import QueuedMessageQuerySet


class DueQueues:
    """Ids of queues, those first whose turn is next. For one thread at a time.

    To ask costs something for each queue, so what is known is used as long as it is good.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._due: dict[int, None] = {}
        #: Of these it is not known any more when something is due.
        self._unsure: set[int] = set()
        #: When it is time to ask about all, by `time.monotonic`.
        self._ask_at = -math.inf

    def __iter__(self) -> Iterator[int]:
        """A copy: what is due may change meanwhile."""
        return iter(list(self._due))

    def add(self, queues: Iterable[int]) -> None:
        """Something may be due of these; their turn is last."""
        self._due.update(dict.fromkeys(queues))

    def remove(self, queue: int) -> None:
        del self._due[queue]

    def doubt(self, queue: int) -> None:
        """Something of it may become due, nobody knows when."""
        self._unsure.add(queue)

    @property
    def ask_at(self) -> float:
        """When it is time to ask about all, by `time.monotonic`."""
        return self._ask_at

    def ask_about(self, queues: Collection[int], within_seconds: float) -> None:
        """Ask about all queues; again so much later at most. Raises the database's errors."""
        dues = self._seconds_until_due(queues)
        self._due = dict.fromkeys(queue for queue in queues if dues.get(queue, 1.0) <= 0)
        self._ask_at = time.monotonic() + within_seconds
        self._ask_when_due(dues)

    def ask_about_unsure(self) -> None:
        """The same about those alone of which it is not known. Raises the database's errors."""
        if self._unsure:
            dues = self._seconds_until_due(self._unsure)
            self.add(queue for queue, seconds in dues.items() if seconds <= 0)
            self._ask_when_due(dues)

    def _seconds_until_due(self, queues: Collection[int]) -> Mapping[int, float]:
        rows: QueuedMessageQuerySet = QueuedMessage.objects.using(self._alias)
        return rows.seconds_until_due(queues)

    def _ask_when_due(self, dues: Mapping[int, float]) -> None:
        self._unsure.clear()
        now = time.monotonic()
        later = (now + seconds for seconds in dues.values() if seconds > 0)
        self._ask_at = min([self._ask_at, *later])
