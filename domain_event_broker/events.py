"""`DomainEvent`: a fact that happened."""

from __future__ import annotations

import json
import math
import time
from os import urandom
from typing import Any

from .errors import UnreadableEvent
from .names import MAX_KEY_BYTES, byte_length

_NO_DATA: Any = object()

# The bits of a UUID that are not random: its version, 4, and its variant.
_FIXED_BITS = 0xF << 76 | 0b11 << 62
_VERSION_4 = 0x4 << 76 | 0b10 << 62


def new_uuid_string() -> str:
    """A random UUID, as ``str(uuid.uuid4())`` in half its time; each event needs one."""
    digits = f"{int.from_bytes(urandom(16)) & ~_FIXED_BITS | _VERSION_4:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class DomainEvent:
    """A fact that happened, such as ``user.registered``.

    :param routing_key: ``<domain>.<event_type>``, dotted words, at most 255 bytes.
    :param data: what is to be known of it, JSON-serializable.
    :param domain_object_id: what it happened to; optional.
    :param uuid_string: the event's identity; made up when left out.
    :param timestamp: when it happened, in seconds since the epoch (UTC); now when left out.
    :param retries: how often handling it was tried before; set on delivery.

    Unknown keywords are accepted and ignored, so that a newer peer may add some. Two events are
    equal if their five fields are; ``retries`` does not count. Treat an event as immutable.
    """

    # Attributes stay assignable, as in 3.x, so a hash could change under a set or dict.
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        routing_key: str = "",
        data: Any = _NO_DATA,
        domain_object_id: str | int | None = None,
        uuid_string: str | None = None,
        timestamp: float | None = None,
        retries: int = 0,
        **ignored: Any,
    ) -> None:
        self.routing_key = routing_key
        self.data: Any = {} if data is _NO_DATA else data
        self.domain_object_id = domain_object_id
        self.uuid_string: str = new_uuid_string() if uuid_string is None else uuid_string
        self.timestamp: float = time.time() if timestamp is None else timestamp
        self.retries = retries

    @property
    def attempt(self) -> int:
        """Which attempt at handling it this is, counted from 1: one more than ``retries``."""
        return self.retries + 1

    @property
    def event_data(self) -> dict[str, Any]:
        """The five fields that travel in the body, by name."""
        return {
            "routing_key": self.routing_key,
            "data": self.data,
            "domain_object_id": self.domain_object_id,
            "uuid_string": self.uuid_string,
            "timestamp": self.timestamp,
        }

    @classmethod
    def from_json(cls, json_data: bytes | str) -> DomainEvent:
        """Read an event from its JSON body.

        Missing keys get their defaults and unknown keys are ignored. Raises `UnreadableEvent`,
        also a `ValueError`, for anything that is no event: bad UTF-8 or JSON, NaN, duplicate
        keys, lone surrogates, numbers or nesting beyond what Python reads, wrong types.
        """
        return cls(**read_fields(json_data))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DomainEvent):
            return NotImplemented
        return self.event_data == other.event_data

    def __repr__(self) -> str:
        return (
            f"DomainEvent({self.routing_key!r}, {self.data!r}, "
            f"domain_object_id={self.domain_object_id!r}, uuid_string={self.uuid_string!r})"
        )


def read_fields(json_data: bytes | str) -> dict[str, Any]:
    """The event's fields in `json_data` that are there, checked. Raises `UnreadableEvent`."""
    fields = _load_strictly(json_data)
    if not isinstance(fields, dict):
        raise UnreadableEvent(f"the body is a JSON {_json_type(fields)}, not an object")
    known: dict[str, Any] = {}
    for name, expected in _FIELD_TYPES.items():
        if name not in fields:
            continue
        value = fields[name]
        if isinstance(value, bool) or not isinstance(value, expected):
            raise UnreadableEvent(f"{name!r} is a JSON {_json_type(value)}")
        known[name] = value
    if not _is_finite(known.get("timestamp") or 0):
        raise UnreadableEvent("'timestamp' is out of range")
    if byte_length(known.get("uuid_string") or "") > MAX_KEY_BYTES:
        raise UnreadableEvent(f"'uuid_string' has more than {MAX_KEY_BYTES} bytes")
    if "data" in fields:
        known["data"] = fields["data"]
    return known


_FIELD_TYPES: dict[str, tuple[type, ...]] = {
    "routing_key": (str,),
    "domain_object_id": (str, int, type(None)),
    "uuid_string": (str, type(None)),
    "timestamp": (int, float, type(None)),
}


def _load_strictly(json_data: bytes | str) -> Any:
    try:
        if isinstance(json_data, bytes):
            text = json_data.decode("utf-8")
        else:
            text = json_data
            text.encode("utf-8")
        value = _DECODER.decode(text)
        if "\\u" in text:
            # "\ud800" loads, but can be neither stored in a database nor sent again.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableEvent(f"the body is not UTF-8 (byte {error.start})") from None
    except UnicodeEncodeError:
        raise UnreadableEvent("the body holds a lone surrogate such as \\ud800") from None
    except json.JSONDecodeError as error:
        # The error's own text may quote nothing of the body, but its cause holds all of it.
        raise UnreadableEvent(
            f"the body is not JSON: {error.msg} (character {error.pos})"
        ) from None
    except RecursionError:
        raise UnreadableEvent("the body is nested too deeply") from None
    except UnreadableEvent:
        raise
    except ValueError:
        raise UnreadableEvent("the body holds a number with too many digits") from None
    return value


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond the range of a float
        return False


def _refuse_constant(name: str) -> Any:
    raise UnreadableEvent(f"the body holds {name}, which is not JSON")


def _read_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):  # such as 1e400, which could not be sent again
        raise UnreadableEvent("the body holds a number beyond the range of a float")
    return number


def _refuse_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise UnreadableEvent("an object in the body has the same key twice")
    return result


_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant,
    parse_float=_read_float,
    object_pairs_hook=_refuse_duplicate_keys,
)


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
