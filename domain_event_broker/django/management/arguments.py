"""Arguments of the commands: which handlers and databases, and types of numbers."""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError

from django.core.management.base import CommandError
from django.db import connections
from django.db.models import Model

from ...errors import BrokerUnavailable
from ..databases import MissingTables, aliases_with, check_tables


def seconds(text: str) -> float:
    """A finite number of seconds from 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def days(text: str) -> float:
    """A finite number of days, above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ArgumentTypeError(f"{text!r} is not a number of days above 0")
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


def add_databases(parser: ArgumentParser) -> None:
    """The databases that a command is about."""
    parser.add_argument(
        "--database",
        action="append",
        dest="databases",
        default=[],
        metavar="ALIAS",
        help="Only this database; may be repeated. All that have the app's tables by default.",
    )


def databases_with(named: list[str], *models: type[Model]) -> list[str]:
    """Those named, or all that have the tables of `models`; also those that are away just now.

    Raises `CommandError` for an unknown name, and `MissingTables`.
    """
    for alias in named:
        if alias not in connections.settings:
            raise CommandError(
                f"There is no database {alias!r}; there are {', '.join(connections.settings)}."
            )
    found: list[str] = []
    missing: MissingTables | None = None
    for alias in named or aliases_with(models[0]):
        try:
            check_tables(alias, *models)
        except MissingTables as error:
            missing = missing or error
            continue
        except BrokerUnavailable:
            pass
        found.append(alias)
    if missing is not None and (named or not found):
        raise missing
    if not found:
        raise CommandError("No database of this project can have the app's tables.")
    return found


_MAX_AGE_SECONDS = 100 * 366 * 86_400
_UNITS = {"": 1, "s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400}


def age(text: str) -> float:
    """A number with a unit, as seconds: 90, 90s, 15min, 2h, 3d."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    length = _UNITS.get(text[len(number) :])
    # Times so long ago are no times to all databases.
    if length is None or seconds(number) * length > _MAX_AGE_SECONDS:
        raise ArgumentTypeError(f"{text!r} is no age such as 90s, 15min, 2h or 3d")
    return seconds(number) * length
