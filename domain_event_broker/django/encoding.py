"""What Django's own types become in an event."""

from __future__ import annotations

from typing import NoReturn

from django.db.models import Model
from django.utils.functional import Promise

from ..encoding import to_json


def install() -> None:
    """Teach the core's encoding. Safe to be called again."""
    to_json.register(Promise, str)
    to_json.register(Model, _refuse_model)


def _refuse_model(instance: Model) -> NoReturn:
    raise TypeError(
        f"an instance of the model {instance._meta.label} is no value; "
        "publish its primary key, or a dict of the fields that matter"
    )
