"""The handlers of this project: recorded at import, validated when somebody asks.

Recording never fails, so that ``manage.py check`` can report every mistake; running refuses to
start with any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Never, TypeVar, cast

from ..errors import HandlerError
from ..events import DomainEvent
from ..handling import Handler
from ..retrying import Backoff
from ..subscribing import Subscriber
from . import conf
from .declarations import Declaration, place_of
from .validation import Problem, clashes, problems_of

Function = TypeVar("Function", bound=Callable[[DomainEvent], Any])


@dataclass(frozen=True, slots=True)
class RegisteredHandler:
    """A handler that is known to be right."""

    name: str
    function: Handler
    binding_keys: tuple[str, ...]
    dead_letter: bool | None
    max_retries: int
    backoff: Backoff | None
    concurrency: int
    durable: bool
    exclusive: bool
    auto_delete: bool
    inbox: bool
    using: str | None
    #: File and line.
    place: str

    @property
    def keeps_dead_letters(self) -> bool:
        """Whether events that failed are kept: said, or else what `Subscriber` does."""
        if self.dead_letter is None:
            return not (self.exclusive or self.auto_delete)
        return self.dead_letter

    def register_with(self, subscriber: Subscriber, function: Handler) -> None:
        """Register `function`, in this handler's place; blocks and raises as `register` does."""
        subscriber.register(
            function,
            self.name,
            self.binding_keys,
            dead_letter=self.dead_letter,
            durable=self.durable,
            exclusive=self.exclusive,
            auto_delete=self.auto_delete,
            max_retries=self.max_retries,
            backoff=self.backoff,
            concurrency=self.concurrency,
        )


class Registry:
    """Handlers in the order of their declaration. Filled at import, read from any thread."""

    def __init__(self) -> None:
        self._declarations: list[Declaration] = []

    def handler(
        self,
        *binding_keys: str,
        name: str | None = None,
        dead_letter: bool | None = None,
        max_retries: int = 0,
        backoff: Backoff | None = None,
        concurrency: int = 1,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        inbox: bool = True,
        using: str | None = None,
        **unknown: Never,
    ) -> Callable[[Function], Function]:
        """Declare the decorated function as a handler, and return it unchanged.

        The function takes one `DomainEvent`. What it raises decides what becomes of the event:
        nothing, it is done; `Retry`, or what `backoff` names, it comes back; anything else, it is
        dead-lettered.

        :param binding_keys: routing keys, with ``*`` for one word and ``#`` for any number.
        :param name: the name of the handler and its queue, at most 252 bytes; by default
            ``<SERVICE>.<module>.<function>``. Renaming or moving the function changes that.
        :param dead_letter: whether to keep events that failed. By default yes, but not for an
            exclusive or auto-delete queue; what is not kept is logged and gone.
        :param max_retries: how often an event may come back through `Retry`.
        :param backoff: which other exceptions are retried, how often, and when. It counts `Retry`
            too, so that `max_retries` is not given beside it.
        :param concurrency: how many of its events a process may handle at once, from 1 to 256,
            in as many threads; with 1 they are handled in order.
        :param durable: whether the queue outlives the broker.
        :param exclusive: whether the queue belongs to one process alone and goes with it.
        :param auto_delete: whether the queue goes with its last subscriber.
        :param inbox: whether the function runs in a transaction that also notes the event's id, so
            that a copy of the event does nothing. Turn it off for a handler whose work is
            elsewhere than in the database.
        :param using: alias of that transaction's database; by default the one that the routers
            name for writing.

        Raises nothing and connects to nothing: ``manage.py check`` reports mistakes, with the
        function's place, and the commands refuse to start with any.
        """
        options: dict[str, Any] = {
            "name": name,
            "dead_letter": dead_letter,
            "max_retries": max_retries,
            "backoff": backoff,
            "concurrency": concurrency,
            "durable": durable,
            "exclusive": exclusive,
            "auto_delete": auto_delete,
            "inbox": inbox,
            "using": using,
            "unknown": unknown,
        }
        if len(binding_keys) == 1 and callable(binding_keys[0]):
            # Without a call, what is decorated is the only argument.
            bare = self._declare(binding_keys[0], (), is_bare=True)
            return cast(Callable[[Function], Function], bare)
        return lambda function: self._declare(function, binding_keys, **options)

    def declarations(self) -> tuple[Declaration, ...]:
        """What was declared, right or wrong."""
        return tuple(self._declarations)

    def problems(self) -> list[Problem]:
        """All that keeps `handlers` from returning, found anew with each call."""
        service = conf.service()
        return [
            *(problem for each in self._declarations for problem in problems_of(each, service)),
            *clashes(self._declarations, service),
        ]

    def handlers(self) -> tuple[RegisteredHandler, ...]:
        """The handlers, under their names. Raises `HandlerError` if there is any problem."""
        problems = self.problems()
        if problems:
            first, others = problems[0], len(problems) - 1
            more = f" ({others} more: see `manage.py check`)" if others else ""
            raise HandlerError(f"{first.place}: {first.message}{more}")
        service = conf.service()
        named = ((each.resolved_name(service), each) for each in self._declarations)
        return tuple(_registered(name, each) for name, each in named if name is not None)

    def _declare(self, function: Any, binding_keys: tuple[Any, ...], **options: Any) -> Any:
        place = place_of(function, own_file=__file__)
        declaration = Declaration(function, binding_keys, place=place, **options)
        for index, earlier in enumerate(self._declarations):
            if declaration.redeclares(earlier):
                self._declarations[index] = declaration
                return function
        self._declarations.append(declaration)
        return function


def _registered(name: str, declaration: Declaration) -> RegisteredHandler:
    return RegisteredHandler(
        name=name,
        function=declaration.function,
        binding_keys=declaration.binding_keys,
        dead_letter=declaration.dead_letter,
        max_retries=declaration.max_retries,
        backoff=declaration.backoff,
        concurrency=declaration.concurrency,
        durable=declaration.durable,
        exclusive=declaration.exclusive,
        auto_delete=declaration.auto_delete,
        inbox=declaration.inbox,
        using=declaration.using,
        place=declaration.place,
    )


#: The handlers that ``run_subscriber`` runs.
registry = Registry()

domain_event_handler = registry.handler
