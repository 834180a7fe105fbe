"""The same event for django-domain-events, and the declaration of a durable receiver."""

from collections.abc import Callable
from dataclasses import dataclass

from django_domain_events import DURABLE, event, receiver  # type: ignore[import-not-found]

from .event import HANDLER, ROUTING_KEY, USER_ID, data


@event(name=ROUTING_KEY)
@dataclass(frozen=True, slots=True)
class UserRegistered:
    user_id: int
    email: str
    name: str
    locale: str
    newsletter: bool


def user_registered(user_id: int = USER_ID) -> UserRegistered:
    return UserRegistered(**data(user_id))


def declare(function: Callable[[UserRegistered], None]) -> None:
    """Declare `function` as the only receiver."""
    receiver(UserRegistered, mode=DURABLE, key=HANDLER)(function)


def do_nothing(event: UserRegistered) -> None:
    pass
