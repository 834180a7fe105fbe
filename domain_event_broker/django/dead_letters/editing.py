"""Mending a dead letter: other data, under the same id."""

from __future__ import annotations

from ...encoding import check_size, encode_body
from ...errors import InvalidEvent, UnreadableEvent
from ...events import DomainEvent, read_fields
from ...settings import Settings
from ..models import DeadLetter


def edit(row: DeadLetter, body: str, settings: Settings) -> None:
    """Give a waiting dead letter another body: the event's five fields as JSON.

    The event's id stays. Raises `UnreadableEvent`, `InvalidEvent` or `EventTooLarge`; then nothing
    is changed.
    """
    event = DomainEvent.from_json(body)
    identity = row.event_id or _id_in(bytes(row.body))
    if identity and event.uuid_string != identity:
        raise InvalidEvent("uuid_string must stay, so that copies are known as copies.")
    encoded = encode_body(event)
    check_size(encoded, settings.max_event_bytes, event.routing_key)
    rows = DeadLetter.objects.using(row._state.db).filter(pk=row.pk)
    if not rows.waiting().update(body=encoded):
        raise InvalidEvent("Somebody else has decided on it meanwhile.")
    row.body = encoded


def _id_in(body: bytes) -> str | None:
    """The id of an event whose message names none; nobody knows that of an unreadable one."""
    try:
        return read_fields(body).get("uuid_string")
    except UnreadableEvent:
        return None
