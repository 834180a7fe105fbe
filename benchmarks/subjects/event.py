"""The event that every subject publishes. In ours, the body has 279 bytes."""

import json
from typing import Any

EXCHANGE = "domain-events"
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


#: The body as ours encodes it, for clients that are given one.
BODY = json.dumps(
    {
        "routing_key": ROUTING_KEY,
        "data": data(),
        "domain_object_id": str(USER_ID),
        "uuid_string": "2f0c6f6e-8a4d-4a57-9b0e-3c1d5e7f9a2b",
        "timestamp": 1767225600.1234567,
    }
).encode()
