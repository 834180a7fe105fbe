"""What is done with stored messages, each as one named step that the current lease guards.

A holder is known by its token. It can renew, settle and give back only what it still holds: once a
lease ran out and somebody else claimed the row, the steps of the late holder change nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Self

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper as Wrapper
from django.db.models import F, Q

from ..messages import Message
from .dialects import FromNow, IdIn, chosen_by, from_now, now_of, seconds_until, skip_locked
from .stored import to_columns, to_message_at_least


class OutboxRow(NamedTuple):
    """A claimed row of the outbox."""

    id: int
    message: Message
    attempts: int
    #: Of a replay, the handler that it is for.
    handler: str = ""


class QueuedRow(NamedTuple):
    """A claimed row of a queue."""

    id: int
    message: Message
    crashes: int


class StoredMessageQuerySet(models.QuerySet[Any]):
    """The steps that rows with a lease share. `using(alias)` says in which database."""

    def due(self) -> Self:
        return self.filter(due_at__lte=FromNow())

    def held_by(self, token: str, ids: Collection[int]) -> Self:
        return self.filter(IdIn(ids), lease_token=token)

    def renew(self, lease_seconds: float) -> int:
        """Have the leases end so many seconds from now; return how many there were."""
        return self.update(due_at=FromNow(lease_seconds))

    def give_back(self, delay_seconds: float = 0.0) -> int:
        """End the leases, to be claimed again at once or after the delay."""
        return self.update(due_at=FromNow(delay_seconds), lease_token="")

    def settle(self) -> int:
        """It is done: delete the rows; return how many there were.

        By one statement, whatever signals of deletion a project listens to.
        """
        count: int = self._raw_delete(self.db)
        return count

    @property
    def _connection(self) -> Wrapper:
        return connections[self.db]

    @property
    def _table(self) -> str:
        # Neither this nor the columns' names need quotes on any database.
        table: str = self.model._meta.db_table
        return table

    def _claim(
        self,
        chosen: str,
        parameters: Sequence[Any],
        returning: str,
        token: str,
        lease_seconds: float,
        also: str = "",
    ) -> list[tuple[Any, ...]]:
        """Lease the rows that the subquery `chosen` selects; return some columns of each."""
        connection = self._connection
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {self._table} SET {also}due_at = {from_now(lease_seconds, connection)}, "
                f"lease_token = %s WHERE {chosen_by(chosen, connection)} "
                f"RETURNING id, {returning}, event_id, routing_key, body, properties",
                [token, *parameters],
            )
            return sorted(cursor.fetchall(), key=lambda row: row[0])


class OutboxQuerySet(StoredMessageQuerySet):
    """Rows of the outbox."""

    def claim(self, limit: int, token: str, lease_seconds: float) -> list[OutboxRow]:
        """Lease up to `limit` rows that are due, the longest due first; return them by id."""
        now = now_of(self._connection)
        rows = self._claim(
            f"SELECT id FROM {self._table} WHERE due_at <= {now} ORDER BY due_at, id LIMIT %s"
            f"{skip_locked(self._connection)}",
            [limit],
            "attempts, handler",
            token,
            lease_seconds,
        )
        return [
            OutboxRow(row_id, to_message_at_least(*columns), attempts, handler)
            for row_id, attempts, handler, *columns in rows
        ]

    def postpone(self, delay_seconds: float, error: str) -> int:
        """Note a failed attempt; the next one is after the delay."""
        return self.update(
            due_at=FromNow(delay_seconds), lease_token="", attempts=F("attempts") + 1, error=error
        )

    def postponed(self, seconds: float) -> Self:
        """Rows that nobody holds and that are due in so long, or now."""
        return self.filter(due_at__lte=FromNow(seconds), lease_token="")

    def park(self, error: str) -> int:
        """Send no more, until somebody says `unpark`."""
        return self.update(due_at=None, lease_token="", attempts=F("attempts") + 1, error=error)

    def parked(self) -> Self:
        return self.filter(due_at=None)

    def unpark(self) -> int:
        return self.parked().update(due_at=FromNow(), attempts=0)

    def leased(self) -> Self:
        """Rows that somebody may be sending."""
        return self.filter(due_at__gt=FromNow()).exclude(lease_token="")


class DeadLetterQuerySet(models.QuerySet[Any]):
    """Dead letters; the rows are one person's work at a time only while they are locked."""

    def waiting(self) -> Self:
        return self.filter(state="waiting")

    def older_than(self, seconds: float) -> Self:
        return self.filter(failed_at__lte=FromNow(-seconds))

    def newer_than(self, seconds: float) -> Self:
        return self.filter(failed_at__gt=FromNow(-seconds))

    def of_error(self, name: str) -> Self:
        """By the full dotted name of the exception's class, or its last part."""
        return self.filter(Q(error_type=name) | Q(error_type__endswith=f".{name}"))

    def settle(self, state: str, by: str) -> int:
        """Note that somebody decided on those that wait; return how many did."""
        return self.waiting().update(state=state, settled_at=FromNow(), settled_by=by)

    def remove(self) -> int:
        """Delete those that wait; return how many did.

        By one statement, which spares what somebody decides on meanwhile, whatever signals of
        deletion a project listens to.
        """
        count: int | None = self.waiting().order_by()._raw_delete(self.db)
        return count or 0  # no statement at all is made for no ids

    def restore(self) -> int:
        """Have replays that reached nobody wait again."""
        return self.filter(state="replayed").update(state="waiting", settled_at=None, settled_by="")


class QueuedMessageQuerySet(StoredMessageQuerySet):
    """Rows of the database transport's queues."""

    def claim(
        self,
        queue_id: int,
        limit: int,
        token: str,
        lease_seconds: float,
        *,
        with_suspects: bool = True,
    ) -> list[QueuedRow]:
        """Lease up to `limit` messages of a queue that are due, the longest due first.

        Whose lease ran out unsettled counts a crash, and is *suspect*: its handler may have ended
        the process. Suspects are claimed alone, so that a poison takes no neighbour with it; or
        not at all, and neither is what comes after them.
        """
        now = now_of(self._connection)
        due = (
            f"SELECT id, due_at, CASE WHEN lease_token <> '' OR crashes > 0 THEN 1 ELSE 0 END "
            f"AS suspect FROM {self._table} WHERE queue_id = %s AND due_at <= {now} "
            f"ORDER BY due_at, id LIMIT %s{skip_locked(self._connection)}"
        )
        ranked = (
            "SELECT id, SUM(suspect) OVER (ORDER BY due_at, id) AS suspects, "
            f"ROW_NUMBER() OVER (ORDER BY due_at, id) AS place FROM ({due}) AS due"
        )
        rows = self._claim(
            f"SELECT id FROM ({ranked}) AS ranked WHERE suspects = 0"
            f"{' OR place = 1' if with_suspects else ''}",
            [queue_id, limit],
            "crashes",
            token,
            lease_seconds,
            also="crashes = crashes + CASE WHEN lease_token = '' THEN 0 ELSE 1 END, ",
        )
        return [
            QueuedRow(row_id, to_message_at_least(*columns), crashes)
            for row_id, crashes, *columns in rows
        ]

    def begins_with_suspect(self, queue_id: int) -> bool:
        """Whether what is due first in the queue is one."""
        first = self.due().filter(queue=queue_id).order_by("due_at", "id")
        token, crashes = first.values_list("lease_token", "crashes").first() or ("", 0)
        return bool(token or crashes)

    def move(self, queue_id: int, message: Message, delay_seconds: float = 0.0) -> int:
        """Replace the row's message, to be due in `queue_id` after the delay, as if it were new."""
        return self.update(
            **to_columns(message)._asdict(),
            queue=queue_id,
            due_at=FromNow(delay_seconds),
            lease_token="",
            crashes=0,
        )

    def analyze(self) -> None:
        """Tell the planner how much there is; for PostgreSQL, and only where we own the table."""
        if self._connection.vendor == "postgresql":
            with self._connection.cursor() as cursor:
                cursor.execute(f"ANALYZE {self._table}")

    def seconds_until_due(self, queue_ids: Collection[int]) -> dict[int, float]:
        """For each of these queues that holds anything: when the first of it is due.

        Zero or less for what is due already.
        """
        if not queue_ids:
            return {}
        connection = self._connection
        queues = self.model._meta.get_field("queue").related_model._meta.db_table
        first = f"(SELECT MIN(due_at) FROM {self._table} WHERE queue_id = queue.id)"
        marks = ", ".join(["%s"] * len(queue_ids))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, {seconds_until('first', connection)} FROM "
                f"(SELECT id, {first} AS first FROM {queues} AS queue WHERE id IN ({marks})) "
                "AS queues WHERE first IS NOT NULL",
                list(queue_ids),
            )
            return dict(cursor.fetchall())
