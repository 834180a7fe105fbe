"""Arguments of the commands: which handlers, and types of numbers."""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError


def seconds(text: str) -> float:
    """A finite number of seconds from 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def count(text: str) -> int:
    """A whole number from 1."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return value


def add_handlers(parser: ArgumentParser) -> None:
    """The handlers that a command is about."""
    parser.add_argument(
        "handlers",
        nargs="*",
        metavar="HANDLER",
        help="Name of a handler; all if none is given.",
    )
