"""From our settings to pika's connection parameters."""

from __future__ import annotations

import os
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

import pika

from ...errors import SettingsError
from ...settings import Settings
from ...tls import PLAINTEXT, SSL_OPTIONS
from .tls import logs_in_by_certificate, ssl_options


def connection_parameters(
    settings: Settings, purpose: str, open_seconds: float | None = None
) -> pika.URLParameters:
    """Parameters for a connection to the only node of `settings`.

    `purpose` shows in RabbitMQ's management page. `open_seconds` is how long opening may take; by
    default, and at most, as long as pika allows.
    Query parameters of the URL count, as in 3.x: https://pika.readthedocs.io/ (URLParameters).
    Raises `SettingsError`, which quotes nothing of the URL, also for a wrong file of ``TLS``.
    """
    # Debug pages show local variables: none here holds the URL or a part of it.
    if _lacks_password(settings.urls[0]):
        raise SettingsError("URL names a user without a password; write 'user:password@host'.")
    query_names = sorted(parse_qs(urlsplit(settings.urls[0]).query))
    try:
        parameters = pika.URLParameters(_for_pika(settings.urls[0]))
    except Exception as error:  # pika's text may quote the password, so the cause is not kept
        problem = type(error).__name__
    else:
        parameters.ssl_options = ssl_options(settings)
        if parameters.ssl_options is not None and urlsplit(settings.urls[0]).port is None:
            parameters.port = parameters.DEFAULT_SSL_PORT
        if logs_in_by_certificate(settings):
            parameters.credentials = pika.credentials.ExternalCredentials()
        if "heartbeat" not in query_names:
            parameters.heartbeat = settings.heartbeat_seconds
        if open_seconds is not None:
            # TCP alone, and everything until the virtual host is open.
            for name in {"socket_timeout", "stack_timeout"}.difference(query_names):
                setattr(parameters, name, min(open_seconds, getattr(parameters, name)))
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


def _for_pika(url: str) -> str:
    """The URL without TLS: pika would build its own, unverified or by asking for a password."""
    rest, _, query = url.partition("?")
    kept = [pair for pair in parse_qsl(query) if pair[0] != SSL_OPTIONS]
    plaintext = PLAINTEXT + rest[rest.index("://") :]
    return f"{plaintext}?{urlencode(kept, quote_via=quote)}" if kept else plaintext
