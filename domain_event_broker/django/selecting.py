"""Which handlers a command is about."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import HandlerError
from .registry import RegisteredHandler, Registry
from .suggestions import nearest_first


class UnknownHandler(HandlerError, LookupError):
    """No handler has that name."""


def choose_handlers(
    registry: Registry, names: Collection[str] = (), exclude: Collection[str] = ()
) -> tuple[RegisteredHandler, ...]:
    """The handlers with one of `names`, or all, without those to `exclude`; at least one.

    Raises `UnknownHandler`, which lists the known ones, and `HandlerError` where no handler is
    registered, none is left, or one is wrong.
    """
    handlers = registry.handlers()
    if not handlers:
        raise HandlerError(
            "No handler is registered: decorate a function with @domain_event_handler in the "
            "module domain_events of an installed app."
        )
    _check_known(handlers, [*names, *exclude])
    chosen = tuple(
        handler
        for handler in handlers
        if (not names or handler.name in names) and handler.name not in exclude
    )
    if not chosen:
        raise HandlerError("All handlers are excluded.")
    return chosen


def _check_known(handlers: Sequence[RegisteredHandler], names: Sequence[str]) -> None:
    known = {handler.name for handler in handlers}
    for name in names:
        if name not in known:
            raise UnknownHandler(
                f"There is no handler {name!r}; known are {', '.join(nearest_first(name, known))}."
            )
