"""The public names of 3.0.2 with their parameters, in order, and the defaults of these."""

#: Stands for the default of a parameter that must be given.
REQUIRED = None

Parameter = tuple[str, str | None]

_CONNECTION: Parameter = ("connection_settings", "''")
_TRANSPORT: list[Parameter] = [
    _CONNECTION,
    ("exchange", "'domain-events'"),
    ("exchange_type", "'topic'"),
]
_REPLAY: list[Parameter] = [
    ("queue_name", REQUIRED),
    ("message_callback", "retry_event"),
    _CONNECTION,
]

CONSTANTS = {"RETRY": "retry", "LEAVE": "leave", "DISCARD": "discard"}

#: Name -> parameters; a default is given as its repr, a function's as its name.
SIGNATURES: dict[str, list[Parameter]] = {
    "publish_domain_event": [
        ("routing_key", REQUIRED),
        ("data", REQUIRED),
        ("domain_object_id", "None"),
        ("uuid_string", "None"),
        ("timestamp", "None"),
        _CONNECTION,
    ],
    "DomainEvent": [
        ("routing_key", "''"),
        ("data", "{}"),
        ("domain_object_id", "None"),
        ("uuid_string", "None"),
        ("timestamp", "None"),
        ("retries", "0"),
    ],
    "DomainEvent.from_json": [("json_data", REQUIRED)],
    "Publisher": _TRANSPORT,
    "Publisher.publish": [("message", REQUIRED), ("routing_key", "None")],
    "Publisher.connect": [],
    "Publisher.disconnect": [],
    "Subscriber": _TRANSPORT,
    "Subscriber.register": [
        ("handler", REQUIRED),
        ("name", REQUIRED),
        ("binding_keys", REQUIRED),
        ("dead_letter", "False"),
        ("durable", "True"),
        ("exclusive", "False"),
        ("auto_delete", "False"),
        ("max_retries", "0"),
    ],
    "Subscriber.start_consuming": [("timeout", "None")],
    "Subscriber.stop_consuming": [],
    "Subscriber.connect": [],
    "Subscriber.disconnect": [],
    "Retry": [("delay", "10.0")],
    "replay_event": _REPLAY,
    "replay_all": _REPLAY,
}

#: Defaults that are another object now, and why a user of 3.x need not care.
CHANGED_DEFAULTS = {
    # No dictionary that all events share; an event without data still has {}.
    ("DomainEvent", "data"),
    # A dict of settings may name them; otherwise they are what they were.
    ("Publisher", "exchange"),
    ("Publisher", "exchange_type"),
    ("Subscriber", "exchange"),
    ("Subscriber", "exchange_type"),
    # A failed event of a lasting subscription is kept now, unless told otherwise.
    ("Subscriber.register", "dead_letter"),
}
