"""A Django project: transactions, outbox, inbox, and the table of dead letters, step by step."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import F
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain_event_broker import DomainEvent, publish_domain_event
from domain_event_broker.django import background, dead_letters
from domain_event_broker.django.background import Committed
from domain_event_broker.django.dead_letters import Selection
from domain_event_broker.django.models import DeadLetter, InboxEntry, OutboxEvent, QueuedMessage
from domain_event_broker.handling import Ending
from domain_event_broker.settings import Settings
from domain_event_broker.transports.base import Delivery

from ..oracle import Effect
from .clock import Clock
from .faults import Death, Fate, Faults, Stage
from .ledger import Broken, Ledger, effect_of
from .project_process import Process
from .queues import Queues
from .strategies import DEATHS, FATES, KEYS, PICKS, PROCESSES, STATEMENTS, TIMES, behaviours
from .turns import BOUND, HANDLERS, Behaviour, Settling, Turn, see_ending

EFFECTS = "state_machine_effect"
_LONG_SECONDS = 100_000.0
_PAST_A_LEASE_SECONDS = 20.0
_UNTIL_SETTLED_SECONDS = 0.2
_ROUNDS = 50

_BEHAVIOURS = [each for each in Behaviour if each is not Behaviour.NOT_NOW]


class Part(NamedTuple):
    """A part of a transaction: an event, perhaps in a savepoint, which may be rolled back."""

    key: str
    has_savepoint: bool = False
    is_undone: bool = False


class RolledBack(Exception):
    """Rolls a transaction back."""


_PARTS = st.lists(
    st.builds(Part, KEYS)
    | st.builds(Part, KEYS, has_savepoint=st.just(True), is_undone=st.booleans()),
    min_size=1,
    max_size=3,
)


class ProjectMachine(RuleBasedStateMachine):
    #: Set by the fixture.
    examples: int
    settings: Settings
    queues: Queues
    clock: Clock
    #: The machine of the current example.
    current: ProjectMachine

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        ProjectMachine.current = self
        self.ledger = Ledger(BOUND)
        self._numbers = itertools.count(1)
        self._turn = Turn()
        self._empty_tables()
        self.queues.begin(self.stage, self.ledger)
        self.processes = [Process(self) for _ in range(2)]
        self._acting = self.processes[0]

    def _empty_tables(self) -> None:
        for model in (OutboxEvent, InboxEntry, DeadLetter):
            model.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {EFFECTS}")

    @contextmanager
    def _step(self, process: Process, faults: Faults) -> Iterator[Faults]:
        """What the process does in the block; it ends early, and is begun anew, if it dies."""
        before = self._acting
        faults.on_death = process.die
        faults.meanwhile = lambda: self._let_others_relay(process)
        self._let_act(process)
        with self.stage.acting(faults):
            yield faults
        if faults.is_dead:
            process.begin()
        self._let_act(before)

    def _let_act(self, process: Process) -> None:
        self._acting = process
        background.token._token = process.token

    def hand_over(self, events: Sequence[Committed]) -> None:
        self.stage.faults.at(Death.AT_HAND_OVER)
        self._acting.handed += events

    @initialize(parts=_PARTS, failures=st.integers(0, 2))
    def begin_with(self, parts: list[Part], failures: int) -> None:
        """Something waits, and something has failed, before the first fault."""
        self._transact(0, parts, True, Faults())
        self._publish_handed(0, Faults())
        self._settle(0, Faults())
        for _ in range(failures):
            self._handle_any(0, 0, Turn(Behaviour.FAILS), None)

    # Publishing

    @rule(process=PROCESSES, parts=_PARTS, commits=st.booleans(), statements=STATEMENTS)
    def transact(
        self, process: int, parts: list[Part], commits: bool, statements: int | None
    ) -> None:
        self._transact(process, parts, commits, Faults(statements=statements))

    @rule(process=PROCESSES, parts=_PARTS, death=st.sampled_from([None, Death.AT_HAND_OVER]))
    def commit(self, process: int, parts: list[Part], death: Death | None) -> None:
        self._transact(process, parts, True, Faults(death=death))

    @rule(process=PROCESSES, parts=_PARTS, fates=FATES, settles=st.booleans())
    def commit_and_send(
        self, process: int, parts: list[Part], fates: list[Fate], settles: bool
    ) -> None:
        self._transact(process, parts, True, Faults())
        self._publish_handed(process, Faults(fates=fates))
        if settles:
            self._settle(process, Faults())

    def _transact(self, process: int, parts: list[Part], commits: bool, faults: Faults) -> None:
        kept: list[tuple[str, str]] = []

        def note() -> None:
            for event, key in kept:
                self.ledger.commit(event, key)

        with (
            self._step(self.processes[process], faults),
            suppress(RolledBack),
            transaction.atomic(),
        ):
            transaction.on_commit(note)  # the first hook, so nothing comes between
            for part in parts:
                event = self._new_id()
                with suppress(RolledBack):
                    self._publish_part(event, part)
                    kept.append((event, part.key))
            if not commits:
                raise RolledBack

    def _publish_part(self, event: str, part: Part) -> None:
        if not part.has_savepoint:
            publish_domain_event(part.key, {}, uuid_string=event)
            return
        with transaction.atomic():
            publish_domain_event(part.key, {}, uuid_string=event)
            if part.is_undone:
                raise RolledBack

    @rule(process=PROCESSES, key=KEYS, is_killed=st.sampled_from([None, 0, 1, "at the hand-over"]))
    def publish_outside(self, process: int, key: str, is_killed: int | str | None) -> None:
        event = self._new_id()
        faults = Faults(death=Death.AT_HAND_OVER) if is_killed == "at the hand-over" else Faults()
        faults.statements = is_killed if isinstance(is_killed, int) else None
        with self._step(self.processes[process], faults):
            publish_domain_event(key, {}, uuid_string=event)
        if not faults.is_dead or faults.death is Death.AT_HAND_OVER:
            self.ledger.commit(event, key)

    def _new_id(self) -> str:
        return f"event {next(self._numbers)}"

    # Sending

    @rule(process=PROCESSES, fates=FATES, statements=STATEMENTS)
    def publish_handed(self, process: int, fates: list[Fate], statements: int | None) -> None:
        self._publish_handed(process, Faults(fates=fates, statements=statements))

    @rule(process=PROCESSES, statements=STATEMENTS)
    def settle(self, process: int, statements: int | None) -> None:
        """Rows that the broker has are deleted together, a moment later."""
        self._settle(process, Faults(statements=statements))

    def _settle(self, process: int, faults: Faults) -> None:
        self._pass(_UNTIL_SETTLED_SECONDS)
        self._publish_handed(process, faults)

    def _publish_handed(self, process: int, faults: Faults) -> None:
        acting = self.processes[process]
        with self._step(acting, faults):
            acting.publish_handed()

    @rule(process=PROCESSES, fates=FATES, statements=STATEMENTS)
    def relay(self, process: int, fates: list[Fate], statements: int | None) -> None:
        acting = self.processes[process]
        with self._step(acting, Faults(fates=fates, statements=statements)):
            acting.relay.sweep()

    def _let_others_relay(self, process: Process) -> None:
        """The process is stopped for longer than a lease."""
        self._pass(_PAST_A_LEASE_SECONDS)
        for other in self.processes:
            if other is not process:
                with self._step(other, Faults()):
                    other.relay.sweep()

    # Handling

    @rule(process=PROCESSES, pick=PICKS, behaviours=behaviours(_BEHAVIOURS))
    def handle(self, process: int, pick: int, behaviours: list[Behaviour]) -> None:
        for behaviour in behaviours:
            self._handle_any(process, pick, Turn(behaviour), None)

    @rule(process=PROCESSES, pick=PICKS, behaviour=st.sampled_from(_BEHAVIOURS), death=DEATHS)
    def handle_and_die(self, process: int, pick: int, behaviour: Behaviour, death: Death) -> None:
        self._handle_any(process, pick, Turn(behaviour, death), None)

    @rule(
        process=PROCESSES,
        pick=PICKS,
        behaviour=st.sampled_from(_BEHAVIOURS),
        statements=st.integers(0, 5),
    )
    def handle_and_die_at_a_statement(
        self, process: int, pick: int, behaviour: Behaviour, statements: int
    ) -> None:
        self._handle_any(process, pick, Turn(behaviour), statements)

    def _handle_any(self, process: int, pick: int, turn: Turn, statements: int | None) -> None:
        acting = self.processes[process]
        while len(acting.held) <= pick and acting.receive():
            pass  # so others wait beside it
        if acting.held:
            self._handle(acting, acting.held[pick % len(acting.held)], turn, statements)

    def _handle(
        self, acting: Process, delivery: Delivery, turn: Turn, statements: int | None = None
    ) -> None:
        self._turn = turn
        settling = Settling(acting.consumer, self.stage, self.ledger)
        with self._step(acting, Faults(death=turn.death, statements=statements)) as faults:
            report = acting.registration(delivery).process(delivery, settling.as_consumer())
            acting.report(report)
        if faults.is_dead:
            return
        acting.held.remove(delivery)
        see_ending(report, delivery, turn, self.ledger)
        if report.ending is Ending.RETRIED:
            self.ledger.retry(effect_of(delivery))
        elif report.ending is Ending.POSTPONED:
            self.ledger.wait_on(effect_of(delivery))

    def run(self, handler: str, event: DomainEvent) -> None:
        """The handlers."""
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {EFFECTS} VALUES (%s, %s)", [handler, event.uuid_string])
        if self._turn.behaviour is Behaviour.PUBLISHES:
            further = self._new_id()
            transaction.on_commit(lambda: self.ledger.commit(further, "order.one"))
            publish_domain_event("order.one", {}, uuid_string=further)
        self.stage.faults.at(Death.IN_HANDLER)
        self._turn.behaviour.end()

    # What happens to processes, broker and time

    @rule(process=PROCESSES, happening=st.sampled_from(["dies", "stops", "the broker restarts"]))
    def begin_anew(self, process: int, happening: str) -> None:
        acting = self.processes[process]
        if happening == "the broker restarts":
            self._restart_broker()
        elif happening == "dies":
            acting.die()
            acting.begin()
        else:
            acting.stop()
            acting.begin()

    def _restart_broker(self) -> None:
        unsettled = [self.queues.unsettled(process.consumer) for process in self.processes]
        if self.queues.restart():
            for deliveries in unsettled:
                self.ledger.crash(deliveries)
            for process in self.processes:
                process.begin()

    @rule(seconds=TIMES, leases_are_kept=st.booleans())
    def pass_time(self, seconds: float, leases_are_kept: bool) -> None:
        self._pass(seconds)
        for process in self.processes:
            if leases_are_kept:
                process.renew_leases()
            elif self.queues.are_leased:
                # Whether each counts as a crash depends on who is the next to ask.
                for delivery in self.queues.unsettled(process.consumer):
                    self.ledger.copy(effect_of(delivery))

    def _pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for model in (OutboxEvent, QueuedMessage):
            model.objects.update(due_at=F("due_at") - timedelta(seconds=seconds))

    # Repairing

    @rule(
        process=PROCESSES,
        fails=st.booleans(),
        statements=st.sampled_from([None, None, None, 0, 0, 1, 2, 3, 4, 4, 5, 6]),
        death=st.sampled_from([None, None, Death.BEFORE_SETTLING]),
    )
    def collect(
        self, process: int, fails: bool, statements: int | None, death: Death | None
    ) -> None:
        """Often there is none, unless a handler fails just now."""
        if fails:
            self._handle_any(process, 0, Turn(Behaviour.FAILS), None)
        self._collect(self.processes[process], Faults(statements=statements, death=death))

    def _collect(self, process: Process, faults: Faults) -> None:
        with self._step(process, faults):
            for handler in HANDLERS:
                dead_letters.collect(handler, self.settings)

    @rule(
        process=PROCESSES,
        handlers=st.lists(st.sampled_from(HANDLERS), max_size=1),
        replays=st.sampled_from([True, True, False]),
        statements=STATEMENTS,
        death=st.sampled_from([None, Death.AT_HAND_OVER]),
    )
    def decide(
        self,
        process: int,
        handlers: list[str],
        replays: bool,
        statements: int | None,
        death: Death | None,
    ) -> None:
        """On the dead letters of a handler, or of all."""
        faults = Faults(statements=statements, death=death)
        self._decide(process, Selection(handlers=handlers), replays, faults)

    def _decide(self, process: int, selection: Selection, replays: bool, faults: Faults) -> None:
        waited = dict(self._waiting())
        with self._step(self.processes[process], faults):
            if replays:
                dead_letters.replay(selection, self.settings, by="somebody")
            else:
                dead_letters.discard(selection, by="somebody")
        rows = DeadLetter.objects.filter(pk__in=waited).values_list("pk", "state")
        for row_id, state in rows:
            if state == DeadLetter.State.REPLAYED:
                self.ledger.replay(waited[row_id])
            elif state == DeadLetter.State.DISCARDED:
                self.ledger.discarded.add(waited[row_id])

    # Seeing

    @invariant()
    def holds(self) -> None:
        self._read_effects()
        held = {*self.queues.held(HANDLERS), *self._unsent(), *dict(self._waiting()).values()}
        self.ledger.see_nothing_lost(held)
        self.ledger.see_nothing_spurious(held)
        self.ledger.see_nothing_double()

    def _read_effects(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT handler, event, COUNT(*) FROM {EFFECTS} GROUP BY 1, 2")
            rows = cursor.fetchall()
        self.ledger.effects = Counter({(handler, event): n for handler, event, n in rows})

    def _unsent(self) -> Iterator[Effect]:
        rows = OutboxEvent.objects.values_list("event_id", "routing_key", "handler")
        for event, key, handler in rows:
            for each in [handler] if handler else BOUND[key]:
                yield each, event

    def _waiting(self) -> Iterator[tuple[int, Effect]]:
        """Dead letters that wait, with a reason."""
        rows = DeadLetter.objects.waiting().exclude(reason="")
        for row_id, handler, event in rows.values_list("pk", "handler", "event_id"):
            yield row_id, (handler, event)

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None:
            return
        self._drain()
        self.ledger.see_all_done(dict(self._waiting()).values())
        self._decide(0, Selection(), True, Faults())
        self._drain()
        self.holds()
        self.ledger.see_all_done(())

    def _drain(self) -> None:
        """All faults are over, and every handler succeeds."""
        for _ in range(_ROUNDS):
            self.pass_time(_LONG_SECONDS, leases_are_kept=True)
            for process in self.processes:
                self._work_off(process)
            if not (OutboxEvent.objects.exists() or list(self.queues.held(HANDLERS))):
                self._read_effects()
                return
        raise Broken(f"LOST in a loop: {list(self.queues.held(HANDLERS))}")

    def _work_off(self, process: Process) -> None:
        steps: list[Callable[[], object]] = [process.publish_handed, process.relay.sweep]
        for step in steps:
            with self._step(process, Faults()):
                step()
        process.receive()
        while process.held:
            self._handle(process, process.held[0], Turn())
            process.receive()
        self._collect(process, Faults())
