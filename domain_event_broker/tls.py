"""``TLS``: whom to trust, and who we are. What the files hold, the transport reads.

In a URL, pika's ``ssl_options`` says the same, as in 3.x. It is read here, not by pika, which
verifies nothing for some of its values and does not say so.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from .errors import SettingsError
from .wording import shown, unknown_key

#: The schemes of RabbitMQ without TLS, and with it.
PLAINTEXT, ENCRYPTED = "amqp", "amqps"
#: pika's name in a URL's query.
SSL_OPTIONS = "ssl_options"
# As in `ssl`, which takes a while to be imported. Imported where it is needed, it might hold up a
# child for ever that is forked just then.
_PROTOCOL_TLS_CLIENT = 16


@dataclass(frozen=True, slots=True)
class Tls:
    """How an ``amqps`` connection is verified. Immutable and hashable; paths are not looked at.

    Each field is documented in ``docs/reference/settings.md`` under its upper-case name.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    key_password: str | None = field(default=None, repr=False)
    server_hostname: str | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        for name in ("ca", "certificate", "key"):
            object.__setattr__(self, name, _path(name.upper(), getattr(self, name)))
        _check_text("KEY_PASSWORD", self.key_password)
        _check_text("SERVER_HOSTNAME", self.server_hostname)
        if not isinstance(self.verify, bool):
            raise SettingsError(f"VERIFY in TLS must be True or False, not {shown(self.verify)}.")
        if self.certificate and not self.key:
            raise SettingsError(
                "TLS has a CERTIFICATE and no KEY. Give its private key's file, which may be the "
                "same one."
            )
        if self.key and not self.certificate:
            raise SettingsError("TLS has a KEY and no CERTIFICATE that it belongs to.")
        if self.key_password is not None and not self.key:
            raise SettingsError("TLS has a KEY_PASSWORD and no KEY that it opens.")


class TlsInUrls(NamedTuple):
    """What the URLs themselves say, or what is wrong with that."""

    tls: Tls | None = None
    problem: str = ""


KEYS = {f.name.upper(): f.name for f in fields(Tls)}
#: pika's names for them.
_KEYS_OF_PIKA = {
    "ca_certs": "ca",
    "cafile": "ca",
    "ca_path": "ca",
    "capath": "ca",
    "certfile": "certificate",
    "keyfile": "key",
    "password": "key_password",
    "server_hostname": "server_hostname",
}


def effective_tls(given: object, scheme: str, in_urls: TlsInUrls) -> Tls:
    """What counts: the setting, or what the URLs say. Raises `SettingsError`.

    It quotes no password. Schemes that are not RabbitMQ's have no use for it, and ignore it.
    """
    tls = _parse(given)
    if in_urls.problem:
        raise SettingsError(in_urls.problem)
    if in_urls.tls not in (None, tls) and tls != DEFAULT_TLS:
        raise SettingsError(f"TLS is given twice: leave ?{SSL_OPTIONS}= out of URL.")
    if scheme == PLAINTEXT and (tls != DEFAULT_TLS or in_urls.tls is not None):
        what = "TLS" if tls != DEFAULT_TLS else f"?{SSL_OPTIONS}="
        raise SettingsError(
            f"{what} is given, and the URL is {PLAINTEXT}://, which is not encrypted. Write "
            f"{ENCRYPTED}://, whose usual port is 5671."
        )
    return in_urls.tls or tls


def tls_in_urls(urls: Sequence[str]) -> TlsInUrls:
    """What pika's ``ssl_options`` in these URLs mean; raises nothing.

    Returned, not raised: the frames here hold the URLs, and debug pages show them.
    """
    found = {_tls_in_url(url) for url in urls}
    if len(found) == 1:
        return found.pop()
    problems = sorted(each.problem for each in found if each.problem)
    differ = f"URL lists nodes with different {SSL_OPTIONS}; give TLS instead, which is for all."
    return TlsInUrls(problem=problems[0] if problems else differ)


def _tls_in_url(url: str) -> TlsInUrls:
    values = parse_qs(urlsplit(url).query).get(SSL_OPTIONS, [])
    if not values:
        return TlsInUrls()
    try:
        (options,) = [ast.literal_eval(value) for value in values]
        if options is None:
            return TlsInUrls()
        return TlsInUrls(_from_pika(dict(options)))
    except SettingsError as error:
        return TlsInUrls(problem=f"?{SSL_OPTIONS}= in URL: {error}")
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return TlsInUrls(problem=f"?{SSL_OPTIONS}= in URL cannot be read. Give TLS instead.")


def _from_pika(options: dict[Any, Any]) -> Tls:
    """What would weaken the verification is refused, and so is what pika would ignore."""
    if options.get("protocol") == _PROTOCOL_TLS_CLIENT:
        del options["protocol"]
    for name in options:
        if name not in _KEYS_OF_PIKA:
            raise SettingsError(
                f"{shown(name)} is not taken, since with it the broker might not be verified. "
                "Give TLS instead."
            )
    given = [_KEYS_OF_PIKA[name] for name, value in options.items() if value is not None]
    if len(set(given)) < len(given):
        raise SettingsError("The authorities are given twice. Give TLS instead.")
    values = {_KEYS_OF_PIKA[name]: value for name, value in options.items() if value is not None}
    if values.get("certificate"):
        values.setdefault("key", values["certificate"])
    return Tls(**values)


def _parse(given: object) -> Tls:
    if given is None or isinstance(given, Tls):
        return given or DEFAULT_TLS
    if not isinstance(given, Mapping):
        raise SettingsError(
            f"TLS must be a dict such as {{'CA': '/etc/ssl/broker.pem'}}, not "
            f"{type(given).__name__}."
        )
    for key in given:
        if key not in KEYS:
            raise SettingsError(f"TLS: {unknown_key(key, KEYS)}")
    return Tls(**{KEYS[key]: value for key, value in given.items()})


def _path(key: str, value: object) -> str | None:
    if value is None:
        return None
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    # Not shown: it may be the private key itself.
    if not isinstance(path, str) or not path or not path.isprintable():
        raise SettingsError(f"{key} in TLS must be the path of a file, and not what is in it.")
    return path


def _check_text(key: str, value: object) -> None:
    # Not shown: it may be the password.
    if value is not None and (not isinstance(value, str) or not value):
        raise SettingsError(f"{key} in TLS must be a non-empty string, or left out.")


#: The system's authorities, the host's own name, and no client certificate.
DEFAULT_TLS = Tls()
