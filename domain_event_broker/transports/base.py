"""The transport contract, cut at the message: publish, receive, settle, repair, close.

A transport carries `Message` objects and knows nothing of handlers, retry policies or Django.
Every method may be called from any thread unless it says otherwise; all failures are errors of
`domain_event_broker.errors`. ``tests/conformance`` holds the contract as a test suite.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Self

from ..errors import DomainEventBrokerError, HandlerError, UnknownQueue
from ..messages import Message
from ..settings import Settings
from ..values import value


class Outcome(Enum):
    """How the publishing of one event ended."""

    #: Every queue that is bound for it has it, on disk where the queue is durable.
    CONFIRMED = "confirmed"
    #: No queue is bound for its routing key.
    UNROUTABLE = "unroutable"
    #: The broker did not take it.
    REFUSED = "refused"
    #: No answer: it may or may not have arrived. Publish it again, with the same id.
    UNKNOWN = "unknown"
    #: It will be published when the surrounding transaction commits.
    DEFERRED = "deferred"
    #: There is no broker (``connection_settings=None``): nothing was sent.
    SKIPPED = "skipped"


@value
class PublishResult:
    """The outcome of publishing one event, with the error that explains a bad one."""

    outcome: Outcome
    error: DomainEventBrokerError | None = None


@value
class Capabilities:
    """What a transport can do beyond the contract."""

    #: Events, queues and dead letters outlive the process.
    persistent: bool
    #: `Delivery.crashes` counts deliveries whose consumer died.
    counts_crashes: bool


@value
class Subscription:
    """One handler's queue: its name, its bindings and how long it lives.

    A *lasting* subscription keeps collecting events while nobody consumes. An exclusive one
    belongs to one consumer, an auto-delete one goes with its last consumer.
    """

    name: str
    binding_keys: tuple[str, ...]
    dead_letter: bool = True
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    #: Whether handlers may retry, so that delays must work from the start.
    retries: bool = False
    #: How many of its deliveries may be handled at once; so many must be at hand.
    concurrency: int = 1

    @property
    def is_lasting(self) -> bool:
        return not (self.exclusive or self.auto_delete)

    def prefetch(self, settings: Settings) -> int:
        """How many of its deliveries a consumer may hold unsettled.

        One if `CRASH_ATTEMPTS` is 1: what waits beside the first crash would be dead-lettered, too.
        """
        return max(settings.prefetch, self.concurrency) if settings.crash_attempts > 1 else 1


@dataclass(slots=True, eq=False)
class Delivery:
    """One message handed to one subscription, to be settled exactly once."""

    message: Message
    subscription: Subscription
    #: Earlier deliveries of this message that ended without an outcome, as far as is known.
    crashes: int = 0
    #: The transport's own note of where it came from.
    token: Any = field(default=None, repr=False)


def already_subscribed(name: str) -> HandlerError:
    return HandlerError(f"This consumer has subscribed to {name!r} already.")


def no_queue(handler_name: str) -> UnknownQueue:
    """Why a replay goes nowhere."""
    return UnknownQueue(
        f"The handler {handler_name!r} has no queue to replay to; start its subscriber once."
    )


class Consumer(ABC):
    """Receives for any number of subscriptions and settles what it delivered.

    Settling returns at once and happens in the background, in an order that loses nothing: where
    a message moves (retry, dead letter), the copy is stored before the original is removed. Where
    that fails it is tried again until it works or the consumer closes; then the original comes
    back later. Settling a delivery whose connection is gone does nothing: it comes back, too.
    """

    @abstractmethod
    def subscribe(self, subscription: Subscription) -> None:
        """Declare queue and bindings; blocks until the broker has them.

        From its return on, no matching event is missed. Raises `BrokerUnavailable`,
        `AccessRefused`, `TlsFailed` or `TopologyMismatch`, and `HandlerError` for a second
        subscription of this consumer under one name.
        """

    @abstractmethod
    def start(self) -> None:
        """Let deliveries come in, for all subscriptions. Does nothing when started."""

    @abstractmethod
    def receive(self, timeout_seconds: float, without: Container[str] = ()) -> Delivery | None:
        """The next delivery, or ``None`` after the timeout or once stopped.

        :param without: names of subscriptions that the caller has no room for. What waits for them
            is left to others where the transport can; what is at hand comes all the same. It may
            change meanwhile: say `look_again` when one is out of it.
        """

    @abstractmethod
    def look_again(self) -> None:
        """Have a `receive` that waits look again at what it is to do without; returns at once."""

    @abstractmethod
    def holds(self, delivery: Delivery) -> bool:
        """Whether it can still be settled. If not, it comes again: to handle it is of no use."""

    @abstractmethod
    def ack(self, delivery: Delivery) -> None:
        """It is done: remove it."""

    @abstractmethod
    def retry(self, delivery: Delivery, message: Message, due_at_ms: int) -> None:
        """Replace it by `message`, to come back to this subscription alone, at `due_at_ms`.

        Milliseconds since the epoch. It may come back early, to be retried with the same time,
        where that is how the transport bridges long delays.
        """

    @abstractmethod
    def dead_letter(self, delivery: Delivery, message: Message) -> None:
        """Replace it by `message` among the subscription's dead letters."""

    @abstractmethod
    def release(self, delivery: Delivery) -> None:
        """Give it back, to be delivered again at once, to any consumer of the subscription."""

    @abstractmethod
    def waiting(self) -> int:
        """How many messages wait in the subscriptions' queues and are not delivered yet.

        Without those delayed. Raises `BrokerUnavailable`.
        """

    @abstractmethod
    def stop(self) -> None:
        """Receive no more and give back what no caller of `receive` has taken. Idempotent.

        Returns at once; `flush` waits until that is done, too.
        """

    @abstractmethod
    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all settlements are done; tell whether they are."""

    @abstractmethod
    def close(self, timeout_seconds: float = 5.0) -> None:
        """Stop, flush, and give up the connection. What is not settled comes back. Idempotent."""


class DeadLetters(ABC):
    """A look into the dead letters of one handler. For one thread; use it as a context manager.

    What was taken is hidden from others until it is decided on; what is undecided at the end of
    the context goes back. Looking neither loses nor expels; it may change the order.
    """

    @abstractmethod
    def take(self, limit: int) -> Sequence[DeadLetter]:
        """Up to `limit` dead letters that this look has not taken yet; none when all were."""

    @abstractmethod
    def replay(self, dead_letter: DeadLetter, message: Message) -> None:
        """Store `message` in the handler's own queue, then remove the dead letter.

        Raises `TransportError` if it could not be stored; the dead letter is then kept.
        """

    @abstractmethod
    def discard(self, dead_letter: DeadLetter) -> None:
        """Remove it for good, at the latest by `close`: until then it comes back if we die."""

    @abstractmethod
    def count(self) -> int:
        """How many there are, without those taken and not decided on."""

    @abstractmethod
    def close(self) -> None:
        """Put back what is undecided. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(slots=True, eq=False)
class DeadLetter:
    """A message that a look has taken."""

    message: Message
    token: Any = field(default=None, repr=False)


class Transport(ABC):
    """Everything of one broker, as one `Settings` describes it. One per process and settings."""

    capabilities: ClassVar[Capabilities]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def publish(self, messages: Sequence[Message], timeout_seconds: float) -> list[PublishResult]:
        """Send once and wait for the outcomes, which are in the order of the messages.

        Connects when needed. Blocks for `timeout_seconds` at most after the last sign of
        progress; what is unanswered by then is `Outcome.UNKNOWN`. Raises nothing but
        `ConfigurationError`, and `TransportClosed` where the process is ending.
        """

    def begin_publish(
        self, messages: Sequence[Message], timeout_seconds: float
    ) -> Callable[[], list[PublishResult]]:
        """Begin what `publish` does; what is returned does the rest, and is to be called once.

        In between there is time for something else, where a transport has others do the work.
        """
        return partial(self.publish, messages, timeout_seconds)

    @abstractmethod
    def requeue(
        self, handler_name: str, messages: Sequence[Message], timeout_seconds: float
    ) -> list[PublishResult]:
        """As `publish`, but to the queue of one handler, past exchange and bindings.

        Where the handler has no queue, the outcome is `Outcome.UNROUTABLE`.
        """

    @abstractmethod
    def consumer(self) -> Consumer:
        """A new consumer; it connects when it first subscribes."""

    @abstractmethod
    def dead_letters(self, handler_name: str) -> DeadLetters:
        """Look into a handler's dead letters. Raises `UnknownQueue` where there are none to be."""

    @abstractmethod
    def close(self, timeout_seconds: float = 5.0) -> None:
        """Give up publishing connections. Consumers are closed by who made them. Idempotent."""
