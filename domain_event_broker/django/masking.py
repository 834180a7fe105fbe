"""Settings that hide passwords in their repr, which is what debug pages and error reports show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from ..settings import safe_url

_HIDDEN = "(a URL that cannot be shown)"
#: Keys whose values are secrets and no URLs.
_SECRETS = ("KEY_PASSWORD",)


class MaskedUrl(str):
    """A URL, equal to the one it was made of, whose repr holds no user, password or query."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_shown(str(self)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class MaskedSecret(str):
    """A secret, equal to the one it was made of, whose repr shows nothing of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'(hidden)'"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def mask(setting: Any) -> Any:
    """`setting` with a masked one for each string that may hold a secret, in dicts and lists too.

    Returns the object itself where there is nothing to hide.
    """
    if isinstance(setting, str):
        return MaskedUrl(setting) if _may_be_secret(setting) else setting
    if isinstance(setting, Mapping):
        masked = {key: _mask_value(key, value) for key, value in setting.items()}
        return masked if _differs(masked.values(), setting.values()) else setting
    if type(setting) in (list, tuple):
        items = type(setting)(mask(item) for item in setting)
        return items if _differs(items, setting) else setting
    return setting


def _mask_value(key: Any, value: Any) -> Any:
    if key in _SECRETS and isinstance(value, str):
        return value if isinstance(value, MaskedSecret) else MaskedSecret(value)
    return mask(value)


def _may_be_secret(text: str) -> bool:
    return not isinstance(text, MaskedUrl) and ("@" in text or "?" in text)


def _differs(ours: Any, theirs: Any) -> bool:
    return any(mine is not other for mine, other in zip(ours, theirs, strict=True))


def _shown(url: str) -> str:
    try:
        has_host = bool(urlsplit(url).netloc)
    except ValueError:
        has_host = False
    # Without "//" the user and the password are read as the path, which would be shown.
    return safe_url(url) if has_host else _HIDDEN
