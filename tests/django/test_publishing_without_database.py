"""Outside a transaction, publishing asks no database: there may be none."""

from __future__ import annotations

from domain_event_broker import DomainEvent, publish_domain_event, publish_domain_events

from .listener import Listener


def test_no_database_is_asked(listener: Listener) -> None:
    publish_domain_event("order.placed", {})
    publish_domain_events([DomainEvent("order.paid")])

    assert listener.routing_keys == ["order.placed", "order.paid"]
