"""The Django app: publish when the transaction commits, register handlers, run them.

Add ``"domain_event_broker.django"`` to ``INSTALLED_APPS``; it needs no other app.
"""

from .publishing import publish_domain_event, publish_on_commit
from .registry import domain_event_handler

__all__ = ["domain_event_handler", "publish_domain_event", "publish_on_commit"]
