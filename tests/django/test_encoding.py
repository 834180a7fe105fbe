"""What Django's own types become in an event."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps
from django.utils.translation import gettext_lazy, ngettext_lazy

from domain_event_broker import publish_domain_event
from domain_event_broker.errors import InvalidEventType

from .listener import Listener


def test_a_lazy_text_is_text(listener: Listener) -> None:
    data = {"status": gettext_lazy("paid"), "items": [ngettext_lazy("%d item", "%d items", 2) % 2]}

    publish_domain_event("order.paid", data)

    assert [event.data for event in listener.events] == [{"status": "paid", "items": ["2 items"]}]


@isolate_apps("domain_event_broker.django")
def test_a_model_instance_is_refused_with_a_hint() -> None:
    class Order(models.Model):
        class Meta:
            app_label = "domain_event_broker"

        def __str__(self) -> str:
            return "an order"

    data: dict[str, Any] = {"order": Order(pk=7)}

    with pytest.raises(InvalidEventType, match=r"model domain_event_broker\.Order.*primary key"):
        publish_domain_event("order.placed", data)
