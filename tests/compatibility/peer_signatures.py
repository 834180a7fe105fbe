"""Writes the public names and signatures of domain-event-broker 3.0.2 as JSON.

Run by the interpreter that has it: ``{"names": [name], "signatures": {name: [[parameter,
default]]}}``, where a default is its repr, a function's name, or ``null`` for a parameter that
must be given.
"""

import inspect
import json
import sys
from typing import Any

import domain_event_broker


def undecorated(function: Any) -> Any:
    """Return the method inside 3.0.2's decorator, which hides the signature."""
    method = inspect.getclosurevars(function).nonlocals.get("method")
    return function if method is None else method


def default_of(parameter: inspect.Parameter) -> str | None:
    if parameter.default is inspect.Parameter.empty:
        return None
    if callable(parameter.default):
        return str(parameter.default.__name__)
    return repr(parameter.default)


def signature(name: str) -> list[list[str | None]]:
    found: Any = domain_event_broker
    for part in name.split("."):
        found = getattr(found, part)
    if inspect.isclass(found) and name in ("Publisher", "Subscriber"):
        # 3.0.2's Subscriber passes whatever it is given to the base class.
        found = inspect.getattr_static(found.__mro__[1], "__init__")
    function = undecorated(found) if inspect.isfunction(found) else found
    parameters = inspect.signature(function).parameters.values()
    return [[p.name, default_of(p)] for p in parameters if p.name not in ("self", "cls")]


def public_names() -> list[str]:
    names = vars(domain_event_broker).items()
    return [n for n, value in names if not n.startswith("_") and not inspect.ismodule(value)]


if __name__ == "__main__":
    signatures = {name: signature(name) for name in sys.argv[1:]}
    print(json.dumps({"names": sorted(public_names()), "signatures": signatures}))
