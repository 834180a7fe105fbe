"""What a project's own functions leave of an error's text and of a payload, before it is shown.

Neither function costs an event: where one fails, a placeholder stands for what it was to clean.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from .errors import SettingsError
from .settings import RedactPayload, ScrubError, Settings


def scrubbed(settings: Settings, text: str) -> str:
    """`text` as ``SCRUB_ERROR`` leaves it; without that setting, as it is.

    Raises nothing: ``(SCRUB_ERROR failed: <type>)`` stands for a text that could not be scrubbed.
    May be called from any thread.
    """
    try:
        scrub = scrubber(settings)
        if scrub is None:
            return text
        clean = scrub(text)
        if not isinstance(clean, str):
            raise TypeError
    except BaseException as error:  # nothing that it does may end the handlers' thread
        return f"(SCRUB_ERROR failed: {type(error).__name__})"
    return clean


def redacted(settings: Settings | None, routing_key: str, data: Any) -> Any:
    """`data` as ``REDACT_PAYLOAD`` leaves it, to be displayed; without that setting, as it is.

    The function gets a copy, which it may change. Where it raises,
    ``(REDACT_PAYLOAD failed: <type>)`` stands for the data. Raises `SettingsError` if the setting
    names no function. May be called from any thread.
    """
    redact = redactor(settings) if settings is not None else None
    if redact is None:
        return data
    try:
        return redact(routing_key, copy.deepcopy(data))
    except Exception as error:
        return f"(REDACT_PAYLOAD failed: {type(error).__name__})"


def scrubber(settings: Settings) -> ScrubError | None:
    """The function of ``SCRUB_ERROR``. Raises `SettingsError` if it names none."""
    return cast(ScrubError | None, _function("SCRUB_ERROR", settings.scrub_error))


def redactor(settings: Settings) -> RedactPayload | None:
    """The function of ``REDACT_PAYLOAD``. Raises `SettingsError` if it names none."""
    return cast(RedactPayload | None, _function("REDACT_PAYLOAD", settings.redact_payload))


def check_functions(settings: Settings) -> None:
    """Import what the settings name by path. Raises `SettingsError` where there is none."""
    scrubber(settings)
    redactor(settings)


def _function(key: str, value: Callable[..., Any] | str | None) -> Callable[..., Any] | None:
    if not isinstance(value, str):
        return value
    path, _, name = value.rpartition(".")
    try:
        found = getattr(import_module(path), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"{key} names {value!r}, which cannot be imported: {error}.") from error
    except Exception as error:
        raise SettingsError(
            f"{key} names {value!r}, whose import fails: {type(error).__name__}."
        ) from error
    if not callable(found):
        raise SettingsError(f"{key} names {value!r}, which is no function.")
    return cast(Callable[..., Any], found)
