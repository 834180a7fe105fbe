"""Declaring queues and bindings, and finding the queues that an event goes to."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import F, QuerySet

from ...errors import TopologyMismatch
from ...names import dead_letter_queue
from ...routing import RoutingTable
from ...transports.base import Subscription
from ..dialects import FromNow
from ..models import Binding, Exchange, Queue

# Routing keys whose queues are remembered, for each state of the bindings.
_MAX_REMEMBERED_KEYS = 10_000
_VERSION_BITS = 62


def declare(
    alias: str,
    exchange_name: str,
    exchange_type: str,
    subscription: Subscription,
    owner: str,
    lease_seconds: float,
) -> int:
    """Make the queue and its bindings as far as they are not there; return the queue's id.

    One transaction: when it has committed, no event that is published later is missed. Raises
    `TopologyMismatch`.
    """
    with transaction.atomic(using=alias):
        exchange, _ = Exchange.objects.using(alias).get_or_create(
            name=exchange_name, defaults={"type": exchange_type}
        )
        check_type(exchange.name, exchange.type, exchange_type)
        # Locks the exchange, too: whoever declares at the same time waits.
        _note_change(alias, [exchange.pk])
        queue = _declare_queue(alias, subscription, owner, lease_seconds)
        for key in subscription.binding_keys:
            Binding.objects.using(alias).get_or_create(exchange=exchange, queue=queue, key=key)
        if subscription.dead_letter:
            dead_letters_of(alias, subscription.name)
    return int(queue.pk)


def check_type(name: str, there: str, wanted: str) -> None:
    if there != wanted:
        raise TopologyMismatch(
            f"The exchange {name!r} is of type {there!r} already, not {wanted!r}."
        )


def _declare_queue(
    alias: str, subscription: Subscription, owner: str, lease_seconds: float
) -> Queue:
    name = subscription.name
    flags = {
        "durable": subscription.durable,
        "exclusive": subscription.exclusive,
        "auto_delete": subscription.auto_delete,
    }
    drop_expired(alias, name)
    queue, _ = Queue.objects.using(alias).get_or_create(
        name=name, defaults={**flags, "owner": owner if subscription.exclusive else ""}
    )
    if queue.owner not in ("", owner):
        raise TopologyMismatch(f"The queue {name!r} belongs to another subscriber exclusively.")
    there = {flag: getattr(queue, flag) for flag in flags}
    if there != flags:
        raise TopologyMismatch(
            f"The queue {name!r} exists with other arguments: it has {_shown(there)}, not "
            f"{_shown(flags)}. It is never changed or deleted from here: choose another name, or "
            "delete its row once it is empty."
        )
    if not subscription.is_lasting:
        this = Queue.objects.using(alias).filter(pk=queue.pk)
        this.update(consumers=F("consumers") + 1, expires_at=FromNow(lease_seconds))
    return queue


def leave(alias: str, queue_id: int) -> None:
    """One consumer less of a queue that goes with its last; it goes if that was it."""
    with transaction.atomic(using=alias):
        queue = Queue.objects.using(alias).filter(pk=queue_id)
        queue.filter(consumers__gt=0).update(consumers=F("consumers") - 1)
        _drop(alias, queue.filter(consumers=0).values_list("pk", flat=True))


def keep(alias: str, queue_ids: Collection[int], lease_seconds: float) -> None:
    """Say that queues which go with their consumers still have one."""
    queues = Queue.objects.using(alias).filter(pk__in=queue_ids, expires_at__isnull=False)
    queues.update(expires_at=FromNow(lease_seconds))


def expired_queues(alias: str) -> QuerySet[Queue]:
    """Queues that should have gone with their consumers, which died."""
    return Queue.objects.using(alias).filter(expires_at__lte=FromNow())


def drop_expired(alias: str, name: str | None = None) -> int:
    """Delete the expired queues, or the one with that name, with what is in them."""
    expired = expired_queues(alias)
    if name is not None:
        expired = expired.filter(name=name)
    with transaction.atomic(using=alias):
        return _drop(alias, expired.values_list("pk", flat=True))


def _drop(alias: str, queue_ids: Iterable[int]) -> int:
    count = 0
    for queue_id in list(queue_ids):
        exchanges = Exchange.objects.using(alias).filter(bindings__queue=queue_id)
        _note_change(alias, exchanges.values_list("pk", flat=True))
        Queue.objects.using(alias).filter(pk=queue_id).delete()
        count += 1
    return count


def _note_change(alias: str, exchange_ids: Iterable[int]) -> None:
    """Have everybody read the bindings of these exchanges again.

    Random, not counted: a state that was rolled back must not come again as another one.
    """
    exchanges = Exchange.objects.using(alias).filter(pk__in=list(exchange_ids))
    exchanges.update(version=secrets.randbits(_VERSION_BITS))


def find_queue(alias: str, name: str) -> int | None:
    """The id of the queue `name`, if there is one."""
    queues = Queue.objects.using(alias).filter(name=name)
    return queues.values_list("pk", flat=True).first()


def dead_letters_of(alias: str, handler_name: str) -> int:
    """The id of a handler's queue of dead letters, which is made if it is not there."""
    name = dead_letter_queue(handler_name)
    return int(Queue.objects.using(alias).get_or_create(name=name)[0].pk)


def _shown(flags: dict[str, bool]) -> str:
    return ", ".join(f"{name}={value}" for name, value in flags.items())


@dataclass(slots=True)
class _Bindings:
    """The bindings of an exchange in one state."""

    version: int
    type: str
    table: RoutingTable[int]
    #: Queues that go with their consumers, and may be gone.
    passing: frozenset[int]
    found: dict[str, tuple[int, ...]] = field(default_factory=dict)


class Router:
    """Finds the queues that events go to. Thread-safe.

    Bindings are read again when the exchange's version says so, which is asked each time.
    """

    def __init__(self, alias: str, exchange_name: str, exchange_type: str) -> None:
        self._alias = alias
        self._name = exchange_name
        self._type = exchange_type
        self._bindings: _Bindings | None = None
        self._lock = threading.Lock()

    def routes(self, routing_keys: Iterable[str]) -> list[tuple[int, ...]]:
        """For each key the ids of the queues bound for it. Raises `TopologyMismatch`."""
        bindings = self._current()
        if bindings is None:
            return [() for _ in routing_keys]
        check_type(self._name, bindings.type, self._type)
        found = [self._queues(bindings, key) for key in routing_keys]
        passing = bindings.passing.intersection(queue for queues in found for queue in queues)
        gone = passing - self._living(passing) if passing else passing
        if not gone:
            return found
        return [tuple(queue for queue in queues if queue not in gone) for queues in found]

    def _current(self) -> _Bindings | None:
        exchange = Exchange.objects.using(self._alias).filter(name=self._name)
        state = exchange.values_list("pk", "version", "type").first()
        if state is None:
            return None
        pk, version, kind = state
        bindings = self._bindings
        if bindings is None or bindings.version != version:
            bindings = self._read(pk, version, kind)
            with self._lock:
                self._bindings = bindings
        return bindings

    def _read(self, pk: int, version: int, kind: str) -> _Bindings:
        rows = Binding.objects.using(self._alias).filter(exchange=pk).order_by("queue_id")
        keys = list(rows.values_list("queue_id", "key", "queue__expires_at"))
        return _Bindings(
            version,
            kind,
            RoutingTable(kind, ((key, queue_id) for queue_id, key, _ in keys)),
            frozenset(queue_id for queue_id, _, expires_at in keys if expires_at is not None),
        )

    def _queues(self, bindings: _Bindings, routing_key: str) -> tuple[int, ...]:
        found = bindings.found.get(routing_key)
        if found is None:
            found = bindings.table.destinations(routing_key)
            if len(bindings.found) < _MAX_REMEMBERED_KEYS:
                bindings.found[routing_key] = found
        return found

    def _living(self, queue_ids: Collection[int]) -> set[int]:
        queues = Queue.objects.using(self._alias).filter(pk__in=queue_ids, expires_at__gt=FromNow())
        return set(queues.values_list("pk", flat=True))
