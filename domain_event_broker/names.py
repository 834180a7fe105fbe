"""Names of exchanges, queues and keys: pure functions, no I/O.

Limits are those of AMQP 0-9-1: a name or key is a short string of at most 255 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from .errors import HandlerError

MAX_KEY_BYTES = 255
#: 255 bytes less the ``-dl`` of the dead-letter queue.
MAX_NAME_BYTES = 252
#: RabbitMQ keeps these for itself.
RESERVED_PREFIX = "amq."


def dead_letter_queue(name: str) -> str:
    return f"{name}-dl"


def requeue_exchange(exchange: str) -> str:
    """Where delayed events return to exactly one handler: a direct exchange, keyed by queue."""
    return f"{exchange}-requeue"


def orphans(exchange: str) -> str:
    """Exchange and queue for what returned to a handler whose queue is gone."""
    return f"{exchange}-orphans"


def delay_exchange(exchange: str) -> str:
    return f"{exchange}-delay.v1"


def delay_queue(exchange: str, tier_ms: int) -> str:
    return f"{exchange}-delay.v1.{tier_ms}ms"


def legacy_retry_exchange(name: str) -> str:
    return f"{name}-retry"


def legacy_dead_letter_exchange(name: str) -> str:
    return f"{name}-dlx"


def byte_length(text: str) -> int:
    """Length in UTF-8, counting what cannot be encoded as it would be escaped."""
    return len(text.encode("utf-8", "surrogatepass"))


def is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_handler_name(name: object) -> str:
    """Return the name, or raise `HandlerError` if no queue can be named so."""
    if not isinstance(name, str) or not name:
        raise HandlerError(
            f"A handler's name must be a non-empty string, not {type(name).__name__}."
        )
    if not is_encodable(name) or "\0" in name:
        raise HandlerError(f"The handler name {name!r} holds characters that cannot be sent.")
    if byte_length(name) > MAX_NAME_BYTES:
        raise HandlerError(
            f"The handler name {name[:40]!r}... has {byte_length(name)} bytes; "
            f"at most {MAX_NAME_BYTES} fit (the dead-letter queue adds three). Give a shorter name."
        )
    if name.startswith(RESERVED_PREFIX):
        raise HandlerError(
            f"The handler name {name!r} begins with {RESERVED_PREFIX!r}, which RabbitMQ reserves."
        )
    return name


def check_binding_keys(binding_keys: object) -> tuple[str, ...]:
    """Return the keys as a tuple without duplicates, in order, or raise `HandlerError`."""
    if isinstance(binding_keys, str | bytes):
        raise HandlerError(
            f"binding_keys must be a list of strings, not the single string {binding_keys!r}: "
            f"it would bind each of its letters. Write [{binding_keys!r}]."
        )
    if not isinstance(binding_keys, Iterable):
        raise HandlerError(
            f"binding_keys must be a list of strings, not {type(binding_keys).__name__}."
        )
    keys = tuple(dict.fromkeys(check_binding_key(key) for key in binding_keys))
    if not keys:
        raise HandlerError("A handler needs at least one binding key; use '#' for every event.")
    return keys


def check_binding_key(key: object) -> str:
    if not isinstance(key, str):
        raise HandlerError(f"A binding key must be a string, not {type(key).__name__}.")
    if not key:
        raise HandlerError("A binding key must not be empty; use '#' for every event.")
    if not is_encodable(key):
        raise HandlerError(f"The binding key {key!r} holds characters that cannot be sent.")
    if byte_length(key) > MAX_KEY_BYTES:
        raise HandlerError(
            f"The binding key {key[:40]!r}... has {byte_length(key)} bytes; "
            f"at most {MAX_KEY_BYTES} fit."
        )
    for word in key.split("."):
        if word not in ("*", "#") and ("*" in word or "#" in word):
            raise HandlerError(
                f"In the binding key {key!r}, the wildcard in {word!r} would match itself only: "
                "'*' and '#' stand for whole words between dots."
            )
    return key
