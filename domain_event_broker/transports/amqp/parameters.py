"""From our settings to pika's connection parameters."""

from __future__ import annotations

import os
from urllib.parse import parse_qs, urlsplit

import pika

from ...errors import SettingsError
from ...settings import Settings


def connection_parameters(settings: Settings, purpose: str) -> pika.URLParameters:
    """Parameters for a connection; `purpose` shows in RabbitMQ's management page.

    Query parameters of the URL count, as in 3.x: https://pika.readthedocs.io/ (URLParameters).
    Raises `SettingsError`, which quotes nothing of the URL.
    """
    # Debug pages show local variables: none here holds the URL or a part of it.
    if _lacks_password(settings.url):
        raise SettingsError("URL names a user without a password; write 'user:password@host'.")
    query_names = sorted(parse_qs(urlsplit(settings.url).query))
    try:
        parameters = pika.URLParameters(settings.url)
    except Exception as error:  # pika's text may quote the password, so the cause is not kept
        problem = type(error).__name__
    else:
        if "heartbeat" not in query_names:
            parameters.heartbeat = settings.heartbeat_seconds
        parameters.client_properties = {
            "connection_name": f"{settings.service or 'domain_event_broker'}: "
            f"{purpose} (process {os.getpid()})",
            **(parameters.client_properties or {}),
        }
        return parameters
    raise SettingsError(
        f"URL cannot be read ({problem}): check the port and the query parameters "
        f"({', '.join(query_names) or 'there are none'})."
    )


def _lacks_password(url: str) -> bool:
    parts = urlsplit(url)
    return parts.username is not None and parts.password is None
