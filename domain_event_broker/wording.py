"""How values of others are shown in our messages."""

from __future__ import annotations

from collections.abc import Iterable

_MAX_CHARACTERS = 80


def shown(value: object) -> str:
    """The repr of `value`: short, and there even where `value` refuses to give one."""
    try:
        text = repr(value)
    except Exception:  # an integer of 5,000 digits, a __repr__ that fails
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


def unknown_key(key: object, known: Iterable[str]) -> str:
    """That a setting has a key which is none, and which one may be meant."""
    import difflib  # seldom needed, and slow to import

    keys = sorted(known)
    near = difflib.get_close_matches(str(key).upper(), keys, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"Unknown key {shown(key)}.{hint} Known keys: {', '.join(keys)}."
