"""From ``TLS`` in the settings to what pika encrypts and verifies with.

The files are read for each connection, so that renewed ones count without a restart.
"""

from __future__ import annotations

import logging
import re
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pika

from ...errors import SettingsError
from ...settings import Settings
from ...tls import ENCRYPTED, Tls

log = logging.getLogger(__name__)

_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:(?:X509|TRUSTED) )?CERTIFICATE-----.+?-----END [A-Z0-9 ]*CERTIFICATE-----",
    re.DOTALL,
)
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
#: Which files of a folder hold authorities: the usual suffixes, and OpenSSL's hashes of names.
_AUTHORITY_FILE = re.compile(r".+\.(pem|crt|cer)|[0-9a-f]{8}\.\d+", re.IGNORECASE)
#: OpenSSL's words where a key is another certificate's.
_MISFITS = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


def ssl_options(settings: Settings) -> pika.SSLOptions | None:
    """What pika encrypts with; ``None`` for plaintext.

    Raises `SettingsError` for a file that is not there or does not hold what it should.
    """
    if settings.scheme != ENCRYPTED:
        return None
    tls = settings.tls
    return pika.SSLOptions(_context(tls), server_hostname=tls.server_hostname)


def logs_in_by_certificate(settings: Settings) -> bool:
    """Whether the client certificate stands for user and password, which the URL leaves out."""
    is_anonymous = urlsplit(settings.urls[0]).username is None
    return settings.scheme == ENCRYPTED and settings.tls.certificate is not None and is_anonymous


_told: set[str] = set()


def warn_of_unverified(settings: Settings) -> None:
    """Say once that anybody could be the broker."""
    where = settings.safe_url
    if settings.scheme == ENCRYPTED and not settings.tls.verify and where not in _told:
        _told.add(where)
        log.warning(
            "VERIFY in TLS is False: whoever answers as %s gets the password and the events. "
            "(Said once.)",
            where,
        )


def _context(tls: Tls) -> ssl.SSLContext:
    context = _trusting(tls.ca) if tls.ca else ssl.create_default_context()
    # The system's policy may ask for more, and on an old system for less.
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate and tls.key:
        _load_own(context, tls, tls.certificate, tls.key)
    return context


def _trusting(path: str) -> ssl.SSLContext:
    """Trusts the authorities in a file, or in those files of a folder that hold some."""
    found = b"\n".join(
        certificate
        for file in _authority_files(Path(path))
        for certificate in _CERTIFICATE.findall(_read("CA", file))
    )
    problem = "holds no certificate in PEM form"
    if found:
        try:
            return ssl.create_default_context(cadata=found.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError) as error:
            problem = f"holds a certificate that cannot be read ({_reason(error)})"
    raise SettingsError(f"CA in TLS: {path} {problem}.")


def _authority_files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        files = [each for each in path.iterdir() if _AUTHORITY_FILE.fullmatch(each.name)]
        return sorted(each for each in files if each.is_file())
    except OSError as error:
        problem = error.strerror
    raise SettingsError(f"CA in TLS: {path} cannot be read: {problem}.")


def _load_own(context: ssl.SSLContext, tls: Tls, certificate: str, key: str) -> None:
    if not _CERTIFICATE.search(_read("CERTIFICATE", Path(certificate))):
        raise SettingsError(f"CERTIFICATE in TLS: {certificate} holds no certificate in PEM form.")
    if not _PRIVATE_KEY.search(_read("KEY", Path(key))):
        raise SettingsError(f"KEY in TLS: {key} holds no private key in PEM form.")
    asked: list[bool] = []

    def password() -> str:
        # Without it, OpenSSL would ask at the terminal, and wait.
        asked.append(True)
        return tls.key_password or ""

    try:
        context.load_cert_chain(certificate, key, password)
        return
    except (ssl.SSLError, ValueError, OSError) as error:
        reason = _reason(error)
    if reason in _MISFITS:
        raise SettingsError(f"KEY in TLS: {key} is not the key of the certificate {certificate}.")
    if asked and not tls.key_password:
        raise SettingsError(f"KEY in TLS: {key} is encrypted. Give KEY_PASSWORD, too.")
    if asked:
        raise SettingsError(f"KEY_PASSWORD in TLS does not open {key}.")
    raise SettingsError(
        f"CERTIFICATE or KEY in TLS cannot be read ({reason}): {certificate}, {key}."
    )


def _read(key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        problem = error.strerror
    raise SettingsError(f"{key} in TLS: {path} cannot be read: {problem}.")


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or type(error).__name__
