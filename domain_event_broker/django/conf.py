"""The setting ``DOMAIN_EVENT_BROKER``, handed to the core and read back validated."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from .. import settings as core
from ..errors import SettingsError
from ..redacting import check_functions
from ..settings import BrokerSetting, Settings
from ..transports import SCHEMES, transport_for
from .masking import mask

SETTING = "DOMAIN_EVENT_BROKER"

_UNSET: Any = object()


class InvalidSettings(SettingsError, ImproperlyConfigured):
    """``DOMAIN_EVENT_BROKER`` is wrong; also an `ImproperlyConfigured`."""


class UnknownScheme(InvalidSettings):
    """No transport has the URL's scheme."""


def install() -> None:
    """Keep the core's default broker equal to the setting, and name the service."""
    synchronize()
    setting_changed.connect(_on_setting_changed, dispatch_uid=__name__)
    module = django_settings.SETTINGS_MODULE or os.environ.get("DJANGO_SETTINGS_MODULE")
    if core.SERVICE is None and module:
        core.SERVICE = module.partition(".")[0]


def is_set() -> bool:
    """Whether the project has the setting at all; without it the core's default counts."""
    return hasattr(django_settings, SETTING)


def current() -> Settings | None:
    """The settings of the default broker as they are now; ``None`` for "publish nothing".

    Raises `InvalidSettings`, which quotes no password. Connects to nothing.
    """
    synchronize()
    kind = InvalidSettings
    try:
        settings = core.resolve()
        if settings is not None:
            kind = InvalidSettings if settings.scheme in SCHEMES else UnknownScheme
            transport_for(settings)
        return settings
    except SettingsError as error:
        problem = str(error)
    # Not raised inside the except block: debug pages show the local variables of a cause's
    # frames, and the core's hold parts of the URL.
    raise kind(f"{SETTING}: {problem}")


def with_functions() -> Settings | None:
    """As `current`, once the functions that the settings name by path could be imported."""
    settings = current()
    try:
        if settings is not None:
            check_functions(settings)
        return settings
    except SettingsError as error:
        problem = str(error)
    raise InvalidSettings(f"{SETTING}: {problem}")


def required() -> Settings:
    """As `current`, for what makes no sense without a broker. Raises `InvalidSettings`."""
    settings = current()
    if settings is None:
        raise InvalidSettings(f"{SETTING} is None: there is no broker to talk to.")
    return settings


def service() -> str | None:
    """The service's name, also while other settings are wrong."""
    try:
        settings = current()
    except InvalidSettings:
        settings = None
    return core.SERVICE if settings is None else settings.service


def names_service() -> bool:
    """Whether the setting itself says ``SERVICE``."""
    return isinstance(core.BROKER, Mapping) and bool(core.BROKER.get("SERVICE"))


class _Applied:
    """What the core was given last, and what it had before."""

    setting: Any = _UNSET
    without: BrokerSetting = None


def synchronize() -> None:
    """Give the core the setting if it is another one than last time.

    What is assigned to `domain_event_broker.settings.BROKER` meanwhile stays, as in 3.x. The
    project's setting is replaced by an equal one whose repr hides the password.
    """
    setting = getattr(django_settings, SETTING, _UNSET)
    if setting is _Applied.setting:
        return
    if _Applied.setting is _UNSET:
        _Applied.without = core.BROKER
    masked = mask(setting)
    if masked is not setting:
        setattr(django_settings, SETTING, masked)
    _Applied.setting = masked
    core.BROKER = _Applied.without if masked is _UNSET else masked


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        synchronize()
