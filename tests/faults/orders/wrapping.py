"""Having something happen before each call of a function."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def before(owner: Any, name: str, work: Callable[..., object]) -> None:
    """Call `work` with the arguments of each call of `owner`'s function, and then that."""
    function = getattr(owner, name)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        work(*args, **kwargs)
        return function(*args, **kwargs)

    setattr(owner, name, wrapper)
