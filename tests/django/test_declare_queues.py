"""``declare_queues`` called in this process, on a broker in memory."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from domain_event_broker import publish_domain_event

from .command_runs import Handled, drain
from .marks import both_databases

pytestmark = [pytest.mark.usefixtures("handlers"), both_databases]


def declare(*names: str) -> str:
    stdout = StringIO()
    call_command("declare_queues", *names, stdout=stdout)
    return stdout.getvalue()


def test_what_is_published_from_then_on_waits() -> None:
    bill = Handled("order.*", name="bill")
    output = declare()
    event = publish_domain_event("order.placed", {})
    assert not bill.events
    drain()

    assert bill.events == [event]
    assert output.startswith("Declared on memory://")
    assert output.endswith(": bill.\n")


def test_only_those_that_are_named() -> None:
    bill = Handled("order.*", name="bill")
    mail = Handled("order.*", name="mail")
    declare("mail")
    event = publish_domain_event("order.placed", {})
    drain()

    assert (bill.events, mail.events) == ([], [event])


def test_an_unknown_handler_is_refused() -> None:
    Handled("order.*", name="bill")
    with pytest.raises(CommandError, match="no handler 'bil'"):
        declare("bil")


def test_no_broker_is_an_error(settings: Settings) -> None:
    Handled("order.*", name="bill")
    settings.DOMAIN_EVENT_BROKER = None
    with pytest.raises(CommandError, match="no broker to talk to"):
        declare()
