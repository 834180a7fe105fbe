"""Values in messages: short, and shown even where they refuse to be."""

from typing import Any

import pytest

from domain_event_broker.wording import shown


class Contrary:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "'a'"),
        (1.5, "1.5"),
        (None, "None"),
        pytest.param(10**5_000, "a value of type int", id="5,001 digits"),
        (Contrary(), "a value of type Contrary"),
        ("x" * 78, "'" + "x" * 78 + "'"),
        ("x" * 79, "'" + "x" * 79 + "..."),
    ],
)
def test_a_value_is_shown(value: Any, expected: str) -> None:
    assert shown(value) == expected
