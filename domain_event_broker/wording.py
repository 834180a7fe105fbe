"""How values of others are shown in our messages."""

from __future__ import annotations

_MAX_CHARACTERS = 80


def shown(value: object) -> str:
    """The repr of `value`: short, and there even where `value` refuses to give one."""
    try:
        text = repr(value)
    except Exception:  # an integer of 5,000 digits, a __repr__ that fails
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."
