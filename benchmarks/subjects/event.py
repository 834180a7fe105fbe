"""The event that every subject publishes. In ours, the body has 279 bytes."""

from typing import Any

ROUTING_KEY = "user.registered"
BINDING_KEY = "user.*"
#: The handler, and so its queue.
HANDLER = "benchmark.handler"
USER_ID = 104_729


def data(user_id: int = USER_ID) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "email": "ada.lovelace@example.com",
        "name": "Ada Lovelace",
        "locale": "en",
        "newsletter": False,
    }
