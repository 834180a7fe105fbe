"""A decorator for the small classes of which every event makes some."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """A dataclass that is not to be changed, which type checkers see to.

    At run time nothing does: a frozen one calls ``object.__setattr__`` for each field, and so takes
    seven times as long to make.
    """
    return dataclass(slots=True)(cls)
