"""The core alone, over a broker in memory: publishers, two subscribers, and whoever repairs."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain_event_broker import DomainEvent, Subscriber, publish_domain_event, replay_event
from domain_event_broker.errors import DomainEventBrokerError
from domain_event_broker.handling import AlreadyHandled, Ending
from domain_event_broker.messages import REASON
from domain_event_broker.names import dead_letter_queue
from domain_event_broker.replaying import DISCARD, LEAVE, RETRY, replay_all
from domain_event_broker.settings import Settings
from domain_event_broker.transports.base import Consumer, Delivery, Subscription

from ..oracle import Effect
from .broker import FaultyBroker, FaultyTransport
from .clock import Clock
from .faults import Death, Fate, Faults, Stage
from .ledger import Broken, Ledger, effect_of
from .strategies import DEATHS, FATES, KEYS, PICKS, PROCESSES, TIMES, behaviours
from .turns import (
    BACKOFF,
    BOUND,
    HANDLERS,
    KEYS_OF,
    MAX_RETRIES,
    Behaviour,
    Settling,
    Turn,
    see_ending,
)

#: The other one has no inbox: it may take effect again, where a fault or a replay excuses that.
WITH_INBOX = ("reserve",)
WITHOUT_INBOX = ("bill",)
_GLANCE = Subscription("glance", ("#",), dead_letter=False, durable=False)
_LONG_SECONDS = 100_000.0
_ROUNDS = 50

_BEHAVIOURS = [each for each in Behaviour if each is not Behaviour.PUBLISHES]
_DEATHS_OF_A_LOOK = [None, Death.BEFORE_STORING, Death.AFTER_STORING, Death.BEFORE_SETTLING]


class Process:
    """A subscriber that is begun again whenever it dies."""

    def __init__(self, machine: CoreMachine) -> None:
        self._machine = machine
        self.begin()

    def begin(self) -> None:
        self.held: list[Delivery] = []
        self.subscriber = Subscriber(self._machine.settings)
        for name in HANDLERS:
            self.subscriber.register(
                partial(self._machine.run, name),
                name,
                KEYS_OF[name],
                max_retries=0 if name == "bill" else MAX_RETRIES[name],
                backoff=BACKOFF if name == "bill" else None,
            )
        self.consumer.start()

    @property
    def consumer(self) -> Consumer:
        assert self.subscriber._consumer is not None
        return self.subscriber._consumer

    def receive(self) -> bool:
        """Take a delivery; tell whether there was any."""
        delivery = self.consumer.receive(0)
        if delivery is not None:
            self._machine.ledger.see_counts(delivery)
            self.held.append(delivery)
        return delivery is not None

    def die(self) -> None:
        """Its connection breaks: what it has comes back, and it says nothing more."""
        self._machine.ledger.crash(self.held)
        self.held = []
        self.consumer.close(0)

    def stop(self) -> None:
        """End gracefully."""
        self.consumer.stop()
        for delivery in self.held:
            self.consumer.release(delivery)
        self.subscriber.disconnect()


class CoreMachine(RuleBasedStateMachine):
    examples = 300
    #: Set by the fixture.
    transport: FaultyTransport
    clock: Clock
    with_inbox: Sequence[str] = WITH_INBOX

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.ledger = Ledger(BOUND)
        self.broker: FaultyBroker = self.transport.begin(self.stage, self.ledger)
        self.settings: Settings = self.transport.settings
        self._numbers = itertools.count(1)
        self._unsure: list[tuple[str, str]] = []
        self._turn = Turn()
        self._begin_glance()
        self.processes = [Process(self) for _ in range(2)]

    # Publishing

    @rule(keys=st.lists(KEYS, min_size=1, max_size=3), fates=FATES)
    def publish(self, keys: list[str], fates: list[Fate]) -> None:
        for key in keys:
            self._publish(f"event {next(self._numbers)}", key, fates)

    @rule(fates=FATES)
    def publish_again(self, fates: list[Fate]) -> None:
        """As one does who had no answer: with the same id."""
        if self._unsure:
            self._publish(*self._unsure.pop(0), fates)

    def _publish(self, event: str, key: str, fates: list[Fate]) -> None:
        self.ledger.declared[event] = key
        is_confirmed = False
        with self.stage.acting(Faults(fates=fates)), suppress(DomainEventBrokerError):
            publish_domain_event(key, {}, uuid_string=event, connection_settings=self.settings)
            is_confirmed = True
        if is_confirmed:
            self.ledger.commit(event, key)
        else:
            self._unsure.append((event, key))

    # Handling

    @rule(process=PROCESSES, pick=PICKS, behaviours=behaviours(_BEHAVIOURS))
    def handle(self, process: int, pick: int, behaviours: list[Behaviour]) -> None:
        for behaviour in behaviours:
            self._handle_any(process, pick, Turn(behaviour))

    @rule(process=PROCESSES, pick=PICKS, behaviour=st.sampled_from(_BEHAVIOURS), death=DEATHS)
    def handle_and_die(self, process: int, pick: int, behaviour: Behaviour, death: Death) -> None:
        self._handle_any(process, pick, Turn(behaviour, death))

    def _handle_any(self, process: int, pick: int, turn: Turn) -> None:
        acting = self.processes[process]
        while len(acting.held) <= pick and acting.receive():
            pass  # so others wait beside it
        if acting.held:
            self._handle(acting, acting.held[pick % len(acting.held)], turn)

    def _handle(self, acting: Process, delivery: Delivery, turn: Turn) -> None:
        self._turn = turn
        registration = acting.subscriber._registrations[delivery.subscription.name]
        settling = Settling(acting.consumer, self.stage, self.ledger)
        with self.stage.acting(Faults(death=turn.death, on_death=acting.die)) as faults:
            report = registration.process(delivery, settling.as_consumer())
        if faults.is_dead:
            acting.begin()
            return
        acting.held.remove(delivery)
        see_ending(report, delivery, turn, self.ledger)
        if report.ending is Ending.RETRIED:
            self.ledger.retry(effect_of(delivery))

    def run(self, handler: str, event: DomainEvent) -> None:
        """The handlers, with an inbox that is as good as one in a database."""
        effect = handler, event.uuid_string
        if handler in self.with_inbox and effect in self.ledger.effects:
            raise AlreadyHandled
        self.stage.faults.at(Death.IN_HANDLER)
        self._turn.behaviour.end()
        self.ledger.effects[effect] += 1

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
        for process in self.processes:
            self.ledger.crash(process.held)
        self.broker.restart()
        if _GLANCE.name in self.broker.queues:
            raise Broken("A queue that is not durable outlived its broker.")
        for process in self.processes:
            process.begin()
        self._begin_glance()

    @rule(seconds=TIMES)
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def _begin_glance(self) -> None:
        """A queue that is not durable, and whose loss matters to nobody."""
        self.transport.consumer().subscribe(_GLANCE)

    # Repairing

    @rule(
        handler=st.sampled_from(HANDLERS),
        actions=st.lists(st.sampled_from([RETRY, LEAVE, DISCARD]), min_size=1, max_size=3),
        death=st.sampled_from(_DEATHS_OF_A_LOOK),
        replay=st.sampled_from([replay_event, replay_all]),
    )
    def repair(
        self,
        handler: str,
        actions: list[str],
        death: Death | None,
        replay: Callable[..., int],
    ) -> None:
        decided: list[tuple[Effect, str]] = []

        def decide(body: bytes, header: Any, **kwargs: Any) -> str:
            action = actions[len(decided) % len(actions)]
            decided.append(((handler, header.message_id), action))
            return action

        with self.stage.acting(Faults(death=death)) as faults:
            replay(handler, decide, self.settings)
        if faults.is_dead:
            decided.pop()  # not carried out; or there is a copy by now
        for effect, action in decided:
            self._note_decision(effect, action)

    def _note_decision(self, effect: Effect, action: str) -> None:
        if action == RETRY:
            self.ledger.replay(effect)
            self.ledger.arrive(effect)
        elif action == DISCARD:
            self.ledger.discarded.add(effect)

    # Seeing

    @invariant()
    def holds(self) -> None:
        held = set(self.broker.held(HANDLERS))
        self.ledger.see_nothing_lost(held)
        self.ledger.see_nothing_spurious(held)
        self.ledger.see_nothing_double(WITHOUT_INBOX)

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None:
            return
        self._drain()
        self.ledger.see_all_done(self._dead_letters())
        for handler in HANDLERS:
            self.repair(handler, [RETRY], None, replay_all)
        self._drain()
        self.ledger.see_all_done(())
        self.holds()
        for process in self.processes:
            process.subscriber.disconnect()

    def _drain(self) -> None:
        """All faults are over, and every handler succeeds."""
        for _ in range(_ROUNDS):
            self.clock.advance(_LONG_SECONDS)
            for process in self.processes:
                process.receive()
                while process.held:
                    self._handle(process, process.held[0], Turn())
                    process.receive()
            if not set(self.broker.held(HANDLERS)) - set(self._dead_letters()):
                return
        raise Broken(f"LOST in a loop: {list(self.broker.held(HANDLERS))}")

    def _dead_letters(self) -> Sequence[Effect]:
        """With a reason."""
        return [
            (handler, str(queued.message.message_id))
            for handler in HANDLERS
            for queued in self.broker.queues[dead_letter_queue(handler)].ready
            if queued.message.headers[REASON]
        ]
