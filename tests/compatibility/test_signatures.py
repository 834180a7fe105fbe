"""Every public name, parameter and default of 3.0.2 is still there."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import domain_event_broker
from domain_event_broker import Publisher, Subscriber
from tests.compatibility.names_of_3x import CHANGED_DEFAULTS, CONSTANTS, SIGNATURES
from tests.compatibility.peer_signatures import default_of
from tests.compatibility.peers import Peer


def test_the_table_is_what_3x_has(peer: Peer) -> None:
    found = peer.run("peer_signatures.py", *SIGNATURES)
    classes_and_functions = {name for name in SIGNATURES if "." not in name}
    assert found["names"] == sorted(classes_and_functions | set(CONSTANTS))
    for name, parameters in SIGNATURES.items():
        assert found["signatures"][name] == [list(pair) for pair in parameters], name


@pytest.mark.parametrize("name", SIGNATURES)
def test_parameters_have_their_names_order_and_defaults(name: str) -> None:
    parameters = list(inspect.signature(our(name)).parameters.values())
    parameters = [p for p in parameters if p.name != "self"][: len(SIGNATURES[name])]
    expected = SIGNATURES[name]
    assert [p.name for p in parameters] == [parameter for parameter, _ in expected]
    assert {p.kind for p in parameters} <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    for parameter, (_, default) in zip(parameters, expected, strict=True):
        if (name, parameter.name) not in CHANGED_DEFAULTS:
            assert default_of(parameter) == default, parameter


@pytest.mark.parametrize("name", SIGNATURES)
def test_further_parameters_need_not_be_given(name: str) -> None:
    parameters = list(inspect.signature(our(name)).parameters.values())
    further = [p for p in parameters if p.name != "self"][len(SIGNATURES[name]) :]
    optional = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    assert all(p.default is not p.empty or p.kind in optional for p in further)


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_have_their_values(name: str) -> None:
    assert getattr(domain_event_broker, name) == CONSTANTS[name]


def test_everything_of_3x_is_exported() -> None:
    names = {name.partition(".")[0] for name in SIGNATURES} | set(CONSTANTS)
    assert names <= set(domain_event_broker.__all__)


@pytest.mark.parametrize("kind", [Publisher, Subscriber])
def test_the_exchange_defaults_to_that_of_3x(kind: type[Publisher] | type[Subscriber]) -> None:
    settings = kind("memory://signatures").settings
    assert settings is not None
    assert (settings.exchange, settings.exchange_type) == ("domain-events", "topic")


def our(name: str) -> Any:
    found: Any = domain_event_broker
    for part in name.split("."):
        found = getattr(found, part)
    return found
