"""What is told of a failure: why, where in the code, how often, when, and in which process.

A dead letter carries it as headers. Everything is scrubbed as the settings say, and bounded.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from . import messages
from .encoding import integer_header
from .events import new_uuid_string
from .names import byte_length
from .redacting import scrubbed
from .retrying import Retry
from .settings import Settings

#: The headers that a story consists of; what a delivery has besides says when and how often.
STORY_HEADERS = messages.DELIVERY_HEADERS - {messages.RETRIES, messages.DUE_AT_MS}
MAX_MESSAGE_CHARACTERS = 1000
MAX_TYPE_CHARACTERS = 200
MAX_PLACE_CHARACTERS = 255
MAX_TRACEBACK_CHARACTERS = 8_000
MAX_TRACEBACK_BYTES = 16_000
_MAX_HOST_CHARACTERS = 255
_CUT = "\n...\n"
#: What all headers of a dead letter may take up. AMQP carries them in one frame of 131,072 bytes.
MAX_HEADERS_BYTES = 110_000
# A name's or value's length and type, and more than a number, a time or an empty value takes.
_BYTES_AROUND, _BYTES_OF_OTHERS = 6, 20


class Failure:
    """An error of a handler, and what may be told of it. Each part is made when it is asked for.

    What an error's own methods, or ``SCRUB_ERROR``, raise is told in place of the part; nothing
    here raises. For one thread.
    """

    def __init__(self, error: BaseException, settings: Settings) -> None:
        self.raised = error
        #: The error to name: for a plain `Retry`, which says nothing but when, what it arose from.
        self.error = _behind(error)
        self._settings = settings

    @cached_property
    def type_name(self) -> str:
        """The dotted name of its class."""
        kind = type(self.error)
        name = kind.__qualname__
        if kind.__module__ != "builtins":
            name = f"{kind.__module__}.{name}"
        return _sendable(name)[:MAX_TYPE_CHARACTERS]

    @cached_property
    def message(self) -> str:
        """Its text, scrubbed."""
        try:
            text = str(self.error)
        except BaseException as failure:
            return f"(its message cannot be shown: {type(failure).__name__})"
        return _sendable(scrubbed(self._settings, text))[:MAX_MESSAGE_CHARACTERS]

    @cached_property
    def place(self) -> str:
        """``<folder>/<file>:<line> in <function>`` where it was raised; empty if nowhere.

        It is the same on every machine, so that equal failures can be grouped by it.
        """
        trace = self.error.__traceback__ or self.raised.__traceback__
        if trace is None:
            return ""
        while trace.tb_next is not None:
            trace = trace.tb_next
        code = trace.tb_frame.f_code
        file = "/".join(code.co_filename.replace("\\", "/").split("/")[-2:])
        return _sendable(f"{file}:{trace.tb_lineno} in {code.co_qualname}")[:MAX_PLACE_CHARACTERS]

    @cached_property
    def traceback(self) -> str:
        """How it came about, with its causes, scrubbed; empty if it was raised nowhere.

        Holds no local variables. Of a long one, the beginning and the end.
        """
        if self.raised.__traceback__ is None:
            return ""
        try:
            text = "".join(traceback.format_exception(self.raised))
        except BaseException as failure:
            return f"(its traceback cannot be shown: {type(failure).__name__})"
        return _ends_of(_sendable(scrubbed(self._settings, text)))

    @property
    def text(self) -> str:
        """The traceback, or what there is to tell without one."""
        return self.traceback or f"{self.type_name}: {self.message}"


def story_of(
    failure: Failure,
    settings: Settings,
    *,
    reason: str,
    handler: str,
    attempts: int,
    first_failed_at_ms: int,
    failed_at_ms: int,
) -> dict[str, Any]:
    """The headers that tell of `failure`, the most needed first. Each call makes a new id."""
    story: dict[str, Any] = {
        messages.DEAD_LETTER_ID: new_uuid_string(),
        messages.REASON: reason,
        messages.ERROR_TYPE: failure.type_name,
        messages.HANDLER: handler,
        messages.ATTEMPTS: attempts,
        messages.FIRST_FAILED_AT_MS: first_failed_at_ms,
        messages.FAILED_AT_MS: failed_at_ms,
        messages.HOST: _host(),
        messages.PROCESS_ID: os.getpid(),
    }
    if settings.version is not None:
        story[messages.APP_VERSION] = str(settings.version)
    if failure.place:
        story[messages.ERROR_PLACE] = failure.place
    story[messages.ERROR_MESSAGE] = failure.message
    if failure.traceback:
        story[messages.ERROR_TRACEBACK] = failure.traceback
    return story


def with_story(headers: Mapping[Any, Any], story: Mapping[str, Any]) -> dict[Any, Any]:
    """`headers` with `story` in place of any other.

    Less the traceback, and then the error's text, where all would be too large to be sent: a
    replay needs the event's own headers more.
    """
    told = {key: value for key, value in headers.items() if key not in STORY_HEADERS}
    told |= story
    for part in (messages.ERROR_TRACEBACK, messages.ERROR_MESSAGE):
        if _is_too_large(told):
            told.pop(part, None)
    return told


def first_failed_at_ms(headers: Mapping[Any, Any], failed_at_ms: int) -> int:
    """When handling failed for the first time, if it failed again at `failed_at_ms`."""
    # What a client wrote may be no time at all, and the clocks of machines differ.
    earlier = integer_header(headers, messages.FIRST_FAILED_AT_MS)
    return min(earlier or failed_at_ms, failed_at_ms)


def _behind(error: BaseException) -> BaseException:
    if type(error) is not Retry:
        return error
    behind = error.__cause__ if error.__suppress_context__ else error.__context__
    return behind or error


def _host() -> str:
    # As `platform.node` does, which takes long to import.
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return _sendable(name)[:_MAX_HOST_CHARACTERS]


def _sendable(text: str) -> str:
    # UTF-8 has no lone surrogates, and PostgreSQL's text no NUL.
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def _ends_of(text: str) -> str:
    if len(text) <= MAX_TRACEBACK_CHARACTERS and byte_length(text) <= MAX_TRACEBACK_BYTES:
        return text
    characters = (MAX_TRACEBACK_CHARACTERS - len(_CUT)) // 2
    size = (MAX_TRACEBACK_BYTES - len(_CUT)) // 2
    head = text[:characters].encode("utf-8")[:size].decode("utf-8", "ignore")
    tail = text[-characters:].encode("utf-8")[-size:].decode("utf-8", "ignore")
    return f"{head}{_CUT}{tail}"


def _is_too_large(headers: Mapping[Any, Any]) -> bool:
    """Whether they take up more than `MAX_HEADERS_BYTES`, by an estimate that is not too low."""
    size = 0
    # Without recursion: a client may have nested its headers as deeply as it could.
    waiting: list[Any] = [headers]
    while waiting and size <= MAX_HEADERS_BYTES:
        value = waiting.pop()
        size += _size_of(value)
        waiting.extend(_parts_of(value))
    return size > MAX_HEADERS_BYTES


def _size_of(value: object) -> int:
    if isinstance(value, str):
        return _BYTES_AROUND + byte_length(value)
    if isinstance(value, bytes | bytearray):
        return _BYTES_AROUND + len(value)
    return _BYTES_OF_OTHERS


def _parts_of(value: object) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list | tuple) else ()
