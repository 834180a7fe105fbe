"""Retry policies of handlers: declared, judged, and followed by ``run_subscriber``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from domain_event_broker import Backoff, DomainEvent, publish_domain_event
from domain_event_broker.django import domain_event_handler
from domain_event_broker.django.registry import Registry
from domain_event_broker.errors import HandlerError

from .command_runs import drain
from .marks import both_databases

# Whatever somebody may have written: types are not asked.
declare: Callable[..., Any] = domain_event_handler


def on_order(event: DomainEvent) -> None:
    """A handler as it should be."""


def test_a_handler_keeps_its_policy(handlers: Registry) -> None:
    backoff = Backoff(max_retries=3, on=OSError)
    domain_event_handler("order.*", name="bill", backoff=backoff)(on_order)
    domain_event_handler("order.*", name="mail")(on_order)

    assert [handler.backoff for handler in handlers.handlers()] == [backoff, None]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backoff": Backoff(), "max_retries": 3}, "say it once"),
        ({"backoff": Backoff}, "backoff must be a Backoff such as Backoff(), not <class"),
        ({"backoff": 3}, "not 3"),
        ({"backoff": Backoff(), "max_retries": "3"}, "max_retries must be a whole number from 0"),
    ],
    ids=["twice", "class", "number", "no count"],
)
def test_a_wrong_one_is_reported_with_its_place(
    handlers: Registry, options: dict[str, Any], words: str
) -> None:
    declare("order.*", name="bill", **options)(on_order)

    (problem,) = handlers.problems()
    assert problem.code == "E007"
    assert words in problem.message
    assert problem.place == f"{__file__}:{on_order.__code__.co_firstlineno}"
    assert "Backoff(max_retries=...)" in problem.hint
    with pytest.raises(HandlerError):
        handlers.handlers()


@both_databases
@pytest.mark.usefixtures("handlers")
class TestRuns:
    def test_what_fails_comes_back_and_is_dead_lettered_in_the_end(self) -> None:
        attempts: list[int] = []

        def fail(event: DomainEvent) -> None:
            attempts.append(event.attempt)
            raise ValueError("not yet")

        domain_event_handler("order.*", name="bill", backoff=Backoff(max_retries=2, base=0))(fail)
        drain()
        publish_domain_event("order.placed", {})
        output = drain()
        drain()

        assert attempts == [1, 2, 3]
        assert "comes back in 0 s as retry 1: ValueError: not yet" in output.stdout

    def test_a_run_shows_errors_as_they_are_scrubbed(self, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = {
            **settings.DOMAIN_EVENT_BROKER,
            "SCRUB_ERROR": lambda text: text.replace("1234-5678", "(card)"),
        }

        def fail(event: DomainEvent) -> None:
            raise ValueError(f"declined: {event.data['card']}")

        domain_event_handler("order.*", name="bill", backoff=Backoff(max_retries=1, base=0))(fail)
        drain(verbosity=3)
        publish_domain_event("order.placed", {"card": "1234-5678"})
        output = drain(verbosity=3)

        assert "as retry 1: ValueError: declined: (card)" in output.stdout
        assert "(retries-exhausted): ValueError: declined: (card)" in output.stderr
        assert "1234-5678" not in output.stdout + output.stderr
