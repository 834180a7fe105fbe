"""What is wrong with the declarations of handlers: pure functions, no I/O."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections

from ..errors import HandlerError
from ..names import check_binding_keys, check_handler_name, dead_letter_queue
from ..retrying import check_retries
from ..subscribing import check_concurrency
from .declarations import OPTIONS, Declaration
from .dialects import UnsupportedDatabase, check_supported
from .suggestions import nearest_first
from .transactions import inbox_alias


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a handler cannot run: a sentence, what to do about it, and the place in the code."""

    #: Of the check that reports it, such as ``E004``.
    code: str
    message: str
    hint: str
    #: File and line.
    place: str


def problems_of(declaration: Declaration, service: str | None) -> Iterator[Problem]:
    """All that is wrong with one declaration by itself."""
    finders = [
        _keys_problem,
        _retries_problem,
        _options_problem,
        _database_problem,
        _name_problem,
    ]
    if _function_problem(declaration, service):
        # Without a proper function, the rest may be right and look wrong.
        finders = [_function_problem]
    for find in finders:
        found = find(declaration, service)
        if found:
            yield Problem(*found, declaration.place)


def clashes(declarations: Iterable[Declaration], service: str | None) -> Iterator[Problem]:
    """Names that two handlers share, or that the dead letters of another have."""
    places: dict[str, str] = {}
    for declaration in declarations:
        name = declaration.resolved_name(service)
        if name is not None and name in places:
            yield _clash(name, declaration.place, f"the handler at {places[name]}")
        elif name is not None:
            places[name] = declaration.place
    for name in places:
        queue = dead_letter_queue(name)
        if queue in places:
            yield _clash(queue, places[queue], f"the dead letters of the handler at {places[name]}")


#: Code, message, hint.
_Found = tuple[str, str, str]


def _function_problem(declaration: Declaration, service: str | None) -> _Found | None:
    function = declaration.function
    if declaration.is_bare:
        return (
            "E010",
            f"domain_event_handler is used without binding keys on {declaration.label}.",
            'Say which events it handles: @domain_event_handler("user.*").',
        )
    if not callable(function):
        return (
            "E009",
            f"A handler must be a function, not of type {type(function).__name__}.",
            "Decorate a function that takes one event.",
        )
    kind = _kind_that_never_runs(function)
    if kind:
        return (
            "E008",
            f"The handler {declaration.label} is {kind}: a call would run none of its code.",
            "Use an ordinary function; asgiref's async_to_sync can call asynchronous code from it.",
        )
    if not _takes_one_event(function):
        return (
            "E009",
            f"The handler {declaration.label} cannot be called with one argument, the event.",
            "Give it exactly one required parameter; a method must be bound, or static.",
        )
    return None


def _kind_that_never_runs(function: Callable[..., Any]) -> str | None:
    for target in (function, type(function).__call__):
        if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
            return "asynchronous, which is not supported yet"
        if inspect.isgeneratorfunction(target):
            return "a generator"
    return None


def _takes_one_event(function: Callable[..., Any]) -> bool:
    try:
        # A wrapper may pass more to what it wraps than it takes itself.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # some callables written in C tell nothing of themselves
        return True
    try:
        signature.bind(object())
    except TypeError:
        return False
    return True


def _keys_problem(declaration: Declaration, service: str | None) -> _Found | None:
    keys = declaration.binding_keys
    hint = 'Give each key as an argument of its own: @domain_event_handler("user.*", "order.#").'
    if len(keys) == 1 and isinstance(keys[0], list | tuple | set | frozenset):
        return "E004", f"The binding keys are in a {type(keys[0]).__name__}.", hint
    if "." in keys and all(isinstance(key, str) and len(key) == 1 for key in keys):
        return "E004", f"The binding keys are the letters of {''.join(keys)!r}.", hint
    try:
        check_binding_keys(keys)
    except HandlerError as error:
        return "E004", str(error), hint
    return None


def _retries_problem(declaration: Declaration, service: str | None) -> _Found | None:
    try:
        check_retries(declaration.max_retries, declaration.backoff)
    except HandlerError as error:
        hint = (
            "max_retries says how often an event may come back after `raise Retry(delay)`; "
            "backoff=Backoff(max_retries=...) which other exceptions are retried, too."
        )
        return "E007", str(error), hint
    return None


def _options_problem(declaration: Declaration, service: str | None) -> _Found | None:
    for name in declaration.unknown:
        near = nearest_first(name, OPTIONS)
        return (
            "E011",
            f"domain_event_handler has no option {name!r}.",
            f"Did you mean {near[0]!r}? The options are {', '.join(near)}.",
        )
    for name in ("dead_letter", "durable", "exclusive", "auto_delete", "inbox"):
        value = getattr(declaration, name)
        if not isinstance(value, bool) and (name, value) != ("dead_letter", None):
            return (
                "E011",
                f"{name} must be True or False, not {value!r}.",
                "Leave it out for what fits a lasting queue.",
            )
    try:
        check_concurrency(declaration.concurrency)
    except HandlerError as error:
        return "E011", str(error), "Leave it out to have the events handled in order."
    return None


def _database_problem(declaration: Declaration, service: str | None) -> _Found | None:
    using = declaration.using
    if using is not None and using not in connections.settings:
        near = nearest_first(str(using), connections.settings)
        return (
            "E012",
            f"using names the database {using!r}, which DATABASES does not have.",
            f"It has {', '.join(near)}. Leave using out for where the routers want it.",
        )
    if declaration.inbox is not True:
        return None
    try:
        check_supported(connections[using or inbox_alias()])
    except UnsupportedDatabase as error:
        return "E013", str(error), "Declare the handler with inbox=False, or name a database."
    return None


def _name_problem(declaration: Declaration, service: str | None) -> _Found | None:
    if declaration.name is None and not declaration.has_lasting_path:
        return (
            "E006",
            f"The handler {declaration.label} has no name that lasts.",
            'Give it one, name="<service>.<what it does>".',
        )
    if declaration.name is None and not service:
        return (
            "E006",
            f"The handler {declaration.label} has no default name: the service has none.",
            'Name the service: DOMAIN_EVENT_BROKER = {"URL": ..., "SERVICE": "<its name>"}.',
        )
    try:
        check_handler_name(declaration.resolved_name(service) or declaration.name)
    except HandlerError as error:
        return "E005", str(error), "Give the handler another one with name=."
    return None


def _clash(name: str, place: str, other: str) -> Problem:
    return Problem(
        "E003",
        f"The handler name {name!r} is also that of {other}.",
        "A handler's name is its queue's: two with the same would take each other's events. "
        "Give each its own with name=.",
        place,
    )
