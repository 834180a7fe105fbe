"""From a URL's scheme to the transport, imported on first use; one transport per settings."""

from __future__ import annotations

import atexit
import os
import threading
from importlib import import_module

from ..errors import SettingsError
from ..settings import Settings
from .base import Transport

#: URL scheme -> module and class.
SCHEMES = {
    "amqp": ("domain_event_broker.transports.amqp", "AmqpTransport"),
    "amqps": ("domain_event_broker.transports.amqp", "AmqpTransport"),
    "database": ("domain_event_broker.django.transport", "DatabaseTransport"),
    "memory": ("domain_event_broker.transports.memory", "MemoryTransport"),
}

_transports: dict[Settings, Transport] = {}
_lock = threading.RLock()


def transport_for(settings: Settings) -> Transport:
    """This process's transport for `settings`. Raises `SettingsError` for an unknown scheme."""
    with _lock:
        transport = _transports.get(settings)
        if transport is None:
            transport = _transports[settings] = _transport_class(settings)(settings)
        return transport


def check_scheme(settings: Settings) -> None:
    """Raise `SettingsError` if no transport has the URL's scheme."""
    if settings.scheme not in SCHEMES:
        raise SettingsError(
            f"URL has the scheme {settings.scheme!r}; known are {', '.join(sorted(SCHEMES))}."
        )


def close_all() -> None:
    """Close the transports of this process; the next use opens them anew."""
    with _lock:
        transports = list(_transports.values())
        _transports.clear()
    for transport in transports:
        transport.close(transport.settings.publish_timeout_seconds)


def _transport_class(settings: Settings) -> type[Transport]:
    check_scheme(settings)
    module, name = SCHEMES[settings.scheme]
    try:
        found: type[Transport] = getattr(import_module(module), name)
    except Exception as error:  # such as Django's, where it is not set up
        raise SettingsError(
            f"The transport of {settings.scheme}:// cannot be used here: {error} "
            "(database:// needs Django and a project that is set up.)"
        ) from error
    return found


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    # Held while the process forks, so that a child inherits neither the lock as another thread
    # held it, nor a transport's module half imported: the first publish imports it.
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
