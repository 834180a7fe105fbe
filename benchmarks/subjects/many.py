"""Many handlers, each with a queue and a routing key of its own. The first is everybody's."""

from random import Random

from domain_event_broker import DomainEvent

from .event import HANDLER, ROUTING_KEY, USER_ID, data


def names(handlers: int) -> list[str]:
    return [HANDLER, *(f"{HANDLER}.{number}" for number in range(1, handlers))]


def keys(handlers: int) -> list[str]:
    """The routing keys, in the order of the names."""
    return [ROUTING_KEY, *(f"user.registered.{number}" for number in range(1, handlers))]


def events(count: int, handlers: int, text_bytes: int = 0) -> list[DomainEvent]:
    """For one handler after the other, and again; so much larger than elsewhere."""
    all_keys, content = keys(handlers), sized(text_bytes)
    return [
        DomainEvent(all_keys[number % handlers], content, str(USER_ID)) for number in range(count)
    ]


def sized(text_bytes: int) -> dict[str, object]:
    """With a text that no database stores in less."""
    if not text_bytes:
        return data()
    return {**data(), "text": Random(0).randbytes(text_bytes // 2).hex()}


def do_nothing(event: DomainEvent) -> None:
    pass
