"""The reference says what the code does: names, options, ids, tables are compared."""

from __future__ import annotations

import re
from inspect import getsource, signature

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.db.models import Model
from django.dispatch import Signal

import domain_event_broker
import domain_event_broker.django as app
from domain_event_broker import DomainEventBrokerError, errors, messages
from domain_event_broker.django import checks, signals, testing, validation
from domain_event_broker.django.pruning import DEFAULT_RETENTION_DAYS
from domain_event_broker.django.registry import domain_event_handler
from domain_event_broker.settings import KEYS
from domain_event_broker.transports import SCHEMES

from .pages import Page, reference

COMMANDS = sorted(name for name, owner in get_commands().items() if owner == app.__name__)
HELPERS = [
    name
    for name, value in vars(testing).items()
    if getattr(value, "__module__", "") == testing.__name__ and not name.startswith("_")
]
MODELS = list(apps.get_app_config("domain_event_broker").get_models())
# Those that every command of Django has.
OPTIONS_OF_DJANGO = {
    "--help",
    "--version",
    "--verbosity",
    "--settings",
    "--pythonpath",
    "--traceback",
    "--no-color",
    "--force-color",
    "--skip-checks",
}


def test_each_check_is_documented_and_no_other() -> None:
    in_code = set(re.findall(r"\b([EW]\d{3})\b", getsource(checks) + getsource(validation)))
    assert set(re.findall(r"`([EW]\d{3})`", reference("checks"))) == in_code


def test_each_setting_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|", reference("settings"), re.MULTILINE)
    documented = {key for row in rows for key in re.findall(r"`([A-Z_]+)`", row)}
    assert documented == set(KEYS)


def test_each_scheme_is_documented() -> None:
    assert set(re.findall(r"`(\w+)://\w*`", reference("settings"))) == set(SCHEMES)


@pytest.mark.parametrize("name", [*domain_event_broker.__all__, *app.__all__, *HELPERS])
def test_each_public_name_is_documented(name: str) -> None:
    assert re.search(rf"`{name}[`(]|\b{name}\(", reference("api"))


def test_each_option_of_a_handler_is_documented() -> None:
    (written,) = re.findall(
        r"^    @domain_event_handler\(([^)]+)\)$", reference("api"), re.MULTILINE
    )
    parameters = signature(domain_event_handler).parameters.values()
    in_code = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert re.findall(r"(\w+)=", written) == in_code


def test_each_signal_is_documented_and_no_other() -> None:
    in_code = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    section = reference("api").partition("\n## Signals\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == in_code


def test_each_table_is_documented_and_no_other() -> None:
    documented = re.findall(r"^## `(\w+)`$", reference("tables"), re.MULTILINE)
    assert set(documented) == {model._meta.db_table for model in MODELS}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model.__name__))
def test_each_column_is_documented_and_no_other(model: type[Model]) -> None:
    section = reference("tables").partition(f"\n## `{model._meta.db_table}`\n")[2]
    section = section.partition("\n## ")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)
    documented = {column for row in rows for column in re.findall(r"`(\w+)`", row)}
    assert documented == {field.column for field in model._meta.local_fields}


def test_the_retention_is_that_of_the_code() -> None:
    for page in ("explanation/outbox-and-inbox", "reference/commands", "how-to/run-in-production"):
        text = Page(f"docs/{page}.md").text
        assert f"{DEFAULT_RETENTION_DAYS} days" in text or f"{DEFAULT_RETENTION_DAYS})" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_is_documented_and_no_other(name: str) -> None:
    parser = load_command_class("domain_event_broker.django", name).create_parser("manage.py", name)
    options = {option for action in parser._actions for option in action.option_strings}
    options = {option for option in options if option.startswith("--")} - OPTIONS_OF_DJANGO
    _, _, section = reference("commands").partition(f"## `{name}`")
    section, _, _ = section.partition("\n## ")
    assert set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE)) == options


def test_each_error_is_documented() -> None:
    page = reference("errors")
    for kind in _errors():
        pattern = rf"^### {kind.__name__}$|^\| `[\w.]+\.{kind.__name__}` \|"
        assert kind is DomainEventBrokerError or re.search(pattern, page, re.MULTILINE), kind


def test_the_errors_are_drawn_as_in_the_code() -> None:
    (drawing,) = re.findall(
        r"^    DomainEventBrokerError\n(?:    .+\n)+", errors.__doc__ or "", re.MULTILINE
    )
    assert drawing in reference("errors")


def test_each_header_is_documented_and_no_other() -> None:
    named = {value for value in vars(messages).values() if isinstance(value, str)}
    ours = {value for value in named if re.fullmatch(r"deb-[a-z-]*[a-z]", value)}
    documented = set(re.findall(r"^\| `(deb-[a-z-]+)`", reference("wire"), re.MULTILINE))
    assert documented - {"deb-tier"} == ours


def _errors() -> set[type[DomainEventBrokerError]]:
    """Every kind that this package defines, the base included."""
    kinds, found = [DomainEventBrokerError], set()
    while kinds:
        kind = kinds.pop()
        if kind.__module__.startswith("domain_event_broker."):
            found.add(kind)
        kinds += kind.__subclasses__()
    return found
