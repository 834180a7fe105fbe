"""Django signals, so that a project hears of what nobody waits for.

    signal                  when, and with which keywords
    event_publish_failed    a committed event was not published and is not tried again by itself:
                            refused by the broker, or not confirmed with OUTBOX off.
                            event_id, routing_key, error, using (the database's alias)

Receivers run where the failure is noticed: in a background thread, a command, or after the commit
with OUTBOX off. What they raise is logged by Django and disturbs nobody.
"""

from __future__ import annotations

from django.dispatch import Signal

event_publish_failed = Signal()
