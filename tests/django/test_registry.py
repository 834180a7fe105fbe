"""Handlers are recorded without a word at import, and judged when somebody asks."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from domain_event_broker import DomainEvent
from domain_event_broker.django import domain_event_handler
from domain_event_broker.django.registry import Registry
from domain_event_broker.django.validation import Problem
from domain_event_broker.errors import HandlerError

# Whatever somebody may have written: types are not asked.
declare: Callable[..., Any] = domain_event_handler


def on_order(event: DomainEvent) -> None:
    """A handler as it should be."""


async def asynchronous(event: DomainEvent) -> None:
    """No handler yet."""


async def asynchronous_generator(event: DomainEvent) -> AsyncIterator[None]:
    yield


def generator(event: DomainEvent) -> Iterator[None]:
    yield


class Asynchronous:
    async def __call__(self, event: DomainEvent) -> None:
        """No handler yet."""


class Shop:
    def on_order(self, event: DomainEvent) -> None:
        """Needs a shop, too."""

    @staticmethod
    def on_payment(event: DomainEvent) -> None:
        """Needs none."""


def injecting(function: Callable[..., None]) -> Callable[[DomainEvent], None]:
    @functools.wraps(function)
    def wrapper(event: DomainEvent) -> None:
        function(event, "a service")

    return wrapper


@injecting
def on_order_with_service(event: DomainEvent, service: str) -> None:
    """Called with more than it is handed."""


def line_of(function: Callable[..., Any]) -> str:
    return f"{__file__}:{inspect.getsourcelines(function)[1]}"


def only_problem(registry: Registry) -> Problem:
    (problem,) = registry.problems()
    with pytest.raises(HandlerError) as caught:
        registry.handlers()
    assert str(caught.value) == f"{problem.place}: {problem.message}"
    return problem


class TestDeclaring:
    def test_the_function_stays_as_it_is(self, handlers: Registry) -> None:
        assert domain_event_handler("order.*")(on_order) is on_order

    def test_the_name_is_that_of_the_service_and_the_function(
        self, handlers: Registry, settings: Settings
    ) -> None:
        domain_event_handler("order.*")(on_order)
        domain_event_handler("order.*")(Shop.on_payment)

        assert [handler.name for handler in handlers.handlers()] == [
            f"shop.{__name__}.on_order",
            f"shop.{__name__}.Shop.on_payment",
        ]
        # It is resolved when asked for, not at import.
        settings.DOMAIN_EVENT_BROKER = "memory://one"
        assert handlers.handlers()[0].name == f"example_project.{__name__}.on_order"

    def test_by_default_it_is_lasting_and_has_an_inbox(self, handlers: Registry) -> None:
        domain_event_handler("order.*")(on_order)

        (handler,) = handlers.handlers()
        assert (handler.dead_letter, handler.max_retries) == (None, 0)
        assert handler.backoff is None
        assert (handler.durable, handler.exclusive, handler.auto_delete) == (True, False, False)
        assert (handler.inbox, handler.using) == (True, None)

    def test_all_options_are_kept(self, handlers: Registry) -> None:
        domain_event_handler(
            "order.*",
            "user.#",
            name="bill",
            dead_letter=False,
            max_retries=3,
            durable=False,
            exclusive=True,
            auto_delete=True,
            inbox=False,
            using="other",
        )(on_order)

        (handler,) = handlers.handlers()
        assert handler.function is on_order
        assert (handler.name, handler.binding_keys) == ("bill", ("order.*", "user.#"))
        assert (handler.dead_letter, handler.max_retries) == (False, 3)
        assert (handler.durable, handler.exclusive, handler.auto_delete) == (False, True, True)
        assert (handler.inbox, handler.using) == (False, "other")
        assert handler.place == line_of(on_order)

    @pytest.mark.parametrize(
        "function",
        [
            lambda event: None,
            functools.partial(lambda number, event: None, 1),
            Shop().on_order,
            on_order_with_service,
            print,
            Shop.on_payment,
        ],
        ids=["lambda", "partial", "method", "wrapper", "builtin", "static"],
    )
    def test_anything_that_can_be_called_with_an_event_will_do(
        self, handlers: Registry, function: Callable[[DomainEvent], None]
    ) -> None:
        domain_event_handler("order.*", name="bill")(function)

        assert [handler.function for handler in handlers.handlers()] == [function]

    def test_a_module_that_is_executed_again_declares_its_handlers_anew(
        self, handlers: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "reloaded_events.py").write_text(
            "from domain_event_broker.django import domain_event_handler\n"
            "@domain_event_handler('order.*')\n"
            "def on_order(event): pass\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        module = importlib.import_module("reloaded_events")
        try:
            importlib.reload(module)
        finally:
            del sys.modules["reloaded_events"]

        assert [handler.function for handler in handlers.handlers()] == [module.on_order]


class TestProblems:
    """Each with its id, the place in the code, and a hint; none at import."""

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ((), "at least one binding key"),
            ((["user.*"],), "The binding keys are in a list."),
            ((("user.*", "order.*"),), "in a tuple"),
            (tuple("user.*"), "The binding keys are the letters of 'user.*'."),
            (("user.*", ""), "must not be empty"),
            (("user.*", 7), "must be a string, not int"),
            (("user.regist*",), "'regist*'"),
            (("x" * 256,), "256 bytes"),
            (("é" * 128,), "256 bytes"),
            (("\ud800",), "cannot be sent"),
        ],
    )
    def test_binding_keys(self, handlers: Registry, keys: tuple[Any, ...], message: str) -> None:
        declare(*keys)(on_order)

        problem = only_problem(handlers)
        assert problem.code == "E004"
        assert message in problem.message
        assert problem.place == line_of(on_order)
        assert problem.hint

    def test_no_parentheses(self, handlers: Registry) -> None:
        assert declare(on_order) is on_order

        problem = only_problem(handlers)
        assert problem.code == "E010"
        assert problem.place == line_of(on_order)
        assert "on_order" in problem.message

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("x" * 253, "253 bytes"),
            ("é" * 127, "254 bytes"),
            ("amq.bill", "RabbitMQ reserves"),
            ("", "non-empty string"),
            (7, "not int"),
            ("a\0b", "cannot be sent"),
        ],
    )
    def test_names(self, handlers: Registry, name: Any, message: str) -> None:
        declare("order.*", name=name)(on_order)

        problem = only_problem(handlers)
        assert problem.code == "E005"
        assert message in problem.message

    def test_the_longest_name_is_none(self, handlers: Registry) -> None:
        declare("order.*", name="x" * 252)(on_order)

        assert handlers.problems() == []

    def test_a_default_name_may_be_too_long(self, handlers: Registry, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = {"URL": "memory://one", "SERVICE": "s" * 250}
        declare("order.*")(on_order)

        assert only_problem(handlers).code == "E005"

    def test_functions_without_a_name_that_lasts(self, handlers: Registry) -> None:
        def local(event: DomainEvent) -> None:
            """Another one with each call."""

        partial = functools.partial(on_order)
        for function in (local, lambda event: None, partial):
            declare("order.*")(function)

        problems = handlers.problems()
        assert [problem.code for problem in problems] == ["E006"] * 3
        assert "<locals>.local" in problems[0].message
        # What has no code of its own is placed where it was declared.
        assert problems[2].place.startswith(f"{__file__}:")

    def test_a_service_without_a_name(
        self, handlers: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("domain_event_broker.settings.SERVICE", None)
        settings.DOMAIN_EVENT_BROKER = "memory://one"
        declare("order.*")(on_order)

        problem = only_problem(handlers)
        assert problem.code == "E006"
        assert "SERVICE" in problem.hint

    def test_the_same_name_twice_names_both_places(self, handlers: Registry) -> None:
        declare("order.*", name="bill")(on_order)
        declare("user.*", name="bill")(Shop.on_payment)

        problem = only_problem(handlers)
        assert problem.code == "E003"
        assert "'bill'" in problem.message
        assert line_of(on_order) in problem.message
        assert problem.place == line_of(Shop.on_payment)

    def test_the_same_function_twice(self, handlers: Registry) -> None:
        declare("user.*")(declare("order.*")(on_order))

        assert only_problem(handlers).code == "E003"

    def test_the_name_of_another_s_dead_letters(self, handlers: Registry) -> None:
        declare("order.*", name="bill-dl")(on_order)
        declare("order.*", name="bill")(Shop.on_payment)

        problem = only_problem(handlers)
        assert problem.code == "E003"
        assert "dead letters" in problem.message

    @pytest.mark.parametrize("max_retries", [-1, 1.5, "3", None, True])
    def test_max_retries(self, handlers: Registry, max_retries: object) -> None:
        declare("order.*", max_retries=max_retries)(on_order)

        problem = only_problem(handlers)
        assert problem.code == "E007"
        assert repr(max_retries) in problem.message

    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (asynchronous, "asynchronous, which is not supported yet"),
            (asynchronous_generator, "asynchronous"),
            (functools.partial(asynchronous), "asynchronous"),
            (Asynchronous(), "asynchronous"),
            (generator, "a generator"),
        ],
    )
    def test_functions_that_would_not_run(
        self, handlers: Registry, function: object, message: str
    ) -> None:
        declare("order.*", name="bill")(function)

        problem = only_problem(handlers)
        assert problem.code == "E008"
        assert message in problem.message

    @pytest.mark.parametrize(
        "function", [42, None, "on_order", Shop.on_order, lambda: None, lambda a, b: None], ids=repr
    )
    def test_what_takes_no_event(self, handlers: Registry, function: object) -> None:
        declare("order.*", name="bill")(function)

        problem = only_problem(handlers)
        assert problem.code == "E009"
        assert problem.place.startswith(f"{__file__}:")

    @pytest.mark.parametrize(
        ("options", "message", "hint"),
        [
            ({"max_retry": 3}, "'max_retry'", "Did you mean 'max_retries'?"),
            ({"durable": "no"}, "durable must be True or False, not 'no'", ""),
            ({"dead_letter": "letters"}, "dead_letter must be True or False", ""),
            ({"exclusive": None}, "exclusive must be True or False, not None", ""),
        ],
    )
    def test_options(
        self, handlers: Registry, options: dict[str, Any], message: str, hint: str
    ) -> None:
        declare("order.*", **options)(on_order)

        problem = only_problem(handlers)
        assert problem.code == "E011"
        assert message in problem.message
        assert hint in problem.hint

    def test_several_are_all_found(self, handlers: Registry) -> None:
        declare("order*", name="amq.bill", max_retries=-1)(on_order)

        assert sorted(problem.code for problem in handlers.problems()) == ["E004", "E005", "E007"]
        with pytest.raises(HandlerError, match=r"2 more: see `manage\.py check`"):
            handlers.handlers()

    def test_wrong_settings_do_not_hide_them(self, handlers: Registry, settings: Settings) -> None:
        settings.DOMAIN_EVENT_BROKER = {"nonsense": True}
        declare("order.*", max_retries=-1)(on_order)

        assert only_problem(handlers).code == "E007"
