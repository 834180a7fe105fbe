"""What a handler's decorator was given, and where."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

OPTIONS = (
    "name",
    "dead_letter",
    "max_retries",
    "backoff",
    "concurrency",
    "durable",
    "exclusive",
    "auto_delete",
    "inbox",
    "using",
)
_UNKNOWN_PLACE = "(unknown place)"


@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """One use of the decorator, unchecked: the arguments may be anything."""

    function: Any
    binding_keys: tuple[Any, ...]
    name: Any = None
    dead_letter: Any = None
    max_retries: Any = 0
    backoff: Any = None
    concurrency: Any = 1
    durable: Any = True
    exclusive: Any = False
    auto_delete: Any = False
    inbox: Any = True
    using: Any = None
    #: Keywords that the decorator does not have.
    unknown: Mapping[str, Any] = field(default_factory=dict)
    #: ``@domain_event_handler`` without a call.
    is_bare: bool = False
    #: File and line.
    place: str = _UNKNOWN_PLACE

    @property
    def label(self) -> str:
        """The dotted name of the function, for messages."""
        qualname = getattr(self.function, "__qualname__", None)
        module = getattr(self.function, "__module__", None) or "?"
        return f"{module}.{qualname or type(self.function).__qualname__}"

    @property
    def has_lasting_path(self) -> bool:
        """Whether the function is found under its dotted name, as no lambda or local one is."""
        qualname: str | None = getattr(self.function, "__qualname__", None)
        module: str | None = getattr(self.function, "__module__", None)
        return bool(module and qualname and "<" not in qualname)

    def resolved_name(self, service: str | None) -> str | None:
        """The explicit name, else ``<service>.<module>.<function>``; ``None`` if there is none."""
        if self.name is not None:
            return self.name if isinstance(self.name, str) else None
        return f"{service}.{self.label}" if service and self.has_lasting_path else None

    def redeclares(self, other: Declaration) -> bool:
        """Whether this is `other` again, from its module being executed a second time."""
        return (
            self.has_lasting_path
            and self.function is not other.function
            and (self.label, self.place, self.name) == (other.label, other.place, other.name)
        )


def place_of(function: object, own_file: str) -> str:
    """``file:line`` of the function, or of the code outside of `own_file` that declares it."""
    target = inspect.unwrap(function) if callable(function) else function
    code = getattr(target, "__code__", None)
    if isinstance(code, CodeType):
        return f"{code.co_filename}:{code.co_firstlineno}"
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename in (__file__, own_file):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else _UNKNOWN_PLACE
