"""The exception tree: what callers may catch, and whether the drawing tells the truth."""

import re

import pytest

from domain_event_broker import DomainEventBrokerError, errors

MIXINS = (ValueError, TypeError, LookupError)


def all_errors() -> dict[str, type[Exception]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, DomainEventBrokerError)
    }


def drawing() -> dict[str, tuple[str | None, str]]:
    """For each drawn name its parent's and the words behind it."""
    drawn: dict[str, tuple[str | None, str]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.fullmatch(r"    ([ │├└─]*)([A-Z]\w+) *(.*)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        del path[depth:]
        drawn[match[2]] = (path[-1] if path else None, match[3])
        path.append(match[2])
    return drawn


def test_every_error_is_drawn_and_every_drawn_error_exists() -> None:
    assert sorted(drawing()) == sorted(all_errors())


@pytest.mark.parametrize("name", all_errors())
def test_an_error_stands_below_its_base_in_the_drawing(name: str) -> None:
    parent = drawing()[name][0]
    bases = [base.__name__ for base in all_errors()[name].__bases__]

    assert bases[0] == (parent or "Exception")


@pytest.mark.parametrize("name", all_errors())
@pytest.mark.parametrize("mixin", MIXINS, ids=lambda mixin: str(mixin.__name__))
def test_the_drawing_names_what_else_an_error_is(name: str, mixin: type[Exception]) -> None:
    parent, words = drawing()[name]
    inherited = parent is not None and issubclass(all_errors()[parent], mixin)
    named = re.search(rf"\(also [^)]*\b{mixin.__name__}\b", words) is not None

    assert issubclass(all_errors()[name], mixin) == (named or inherited)


@pytest.mark.parametrize("name", all_errors())
def test_every_error_says_what_it_means(name: str) -> None:
    assert all_errors()[name].__doc__


def test_wrong_types_are_type_errors_and_value_errors() -> None:
    assert issubclass(errors.InvalidEventType, TypeError)
    assert issubclass(errors.InvalidEventType, ValueError)


@pytest.mark.parametrize(
    "error",
    [
        errors.SettingsError,
        errors.HandlerError,
        errors.InvalidEvent,
        errors.EventTooLarge,
        errors.InvalidRetry,
        errors.UnreadableEvent,
        errors.InvalidReplayAction,
    ],
)
def test_bad_arguments_are_value_errors(error: type[Exception]) -> None:
    assert issubclass(error, ValueError)


def test_no_error_for_trying_again_is_one_of_bad_arguments() -> None:
    for error in all_errors().values():
        if issubclass(error, errors.TransportError):
            assert not issubclass(error, MIXINS)
