"""What TLS refused, told in a sentence: what is wrong, and what to do."""

from __future__ import annotations

import ssl

from ...errors import TlsFailed
from ...settings import Settings
from .pika_connection import SpeaksTls, reason_of

# OpenSSL's X509_V_ERR_..., https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
_NOT_YET_VALID, _EXPIRED, _REVOKED = 9, 10, 23
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_OTHER_NAME = (62, 64)

#: What the broker says of our certificate.
_OWN_REFUSED = (
    "UNKNOWN_CA",
    "BAD_CERTIFICATE",
    "UNSUPPORTED_CERTIFICATE",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN",
    "ACCESS_DENIED",
    "DECRYPT_ERROR",
)
#: How OpenSSL calls an answer that is no TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")
_NO_COMMON_VERSION = ("UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION", "VERSION_TOO_LOW")


def is_about_tls(error: BaseException | None) -> bool:
    return isinstance(error, ssl.SSLError | SpeaksTls)


def tls_failure(error: BaseException | None, settings: Settings) -> TlsFailed | None:
    """Our error for one of OpenSSL's; ``None`` for others, and where the connection just broke."""
    if isinstance(error, SpeaksTls):
        return TlsFailed(
            f"{settings.safe_url} speaks TLS at this port. Write amqps:// in URL, or give the port "
            "without TLS, which is 5672 unless the broker was told otherwise."
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsFailed(_about_theirs(error, settings))
    if not isinstance(error, ssl.SSLError):
        return None
    reason = reason_of(error)
    _, _, alert = reason.partition("ALERT_")
    sentence = _about_alert(alert, settings) if alert else _about_reason(reason, settings)
    return TlsFailed(sentence) if sentence else None


def _about_theirs(error: ssl.SSLCertVerificationError, settings: Settings) -> str:
    where, code = settings.safe_url, error.verify_code
    if code in _OTHER_NAME:
        return (
            f"The certificate of {where} is for another name: "
            f"{error.verify_message.removesuffix('.')}. Connect by a name that it is for, or give "
            "that as SERVER_HOSTNAME in TLS."
        )
    if code == _EXPIRED:
        return (
            f"The certificate of {where} has expired, or one that signed it. Renew it on the "
            "broker; see also whether the clock here is right."
        )
    if code == _NOT_YET_VALID:
        return f"The certificate of {where} is not valid yet. See whether the clocks are right."
    if code == _REVOKED:
        return f"The certificate of {where} was revoked. The broker needs a new one."
    if code in _UNKNOWN_AUTHORITY:
        known = f"no authority in {settings.tls.ca}" if settings.tls.ca else "no authority known"
        return (
            f"The certificate of {where} is signed by {known} here ({error.verify_message}). Give "
            "the certificate of the broker's authority as CA in TLS."
        )
    return f"The certificate of {where} cannot be verified: {error.verify_message}."


def _about_alert(alert: str, settings: Settings) -> str | None:
    where, own = settings.safe_url, settings.tls.certificate
    why = alert.lower().replace("_", " ")
    if own is None and alert in ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE"):
        return f"{where} demands a client certificate. Give CERTIFICATE and KEY in TLS."
    if own is None and alert == "HANDSHAKE_FAILURE":
        return (
            f"{where} ended the TLS handshake. Most likely it demands a client certificate: give "
            "CERTIFICATE and KEY in TLS. Else it has no cipher in common with this machine."
        )
    if own is not None and alert in ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", *_OWN_REFUSED):
        return (
            f"{where} refused the client certificate {own} ({why}). See whether it has expired, "
            "and whether the broker knows the authority that signed it."
        )
    if alert == "PROTOCOL_VERSION":
        return _no_common_version(settings)
    if alert in _OWN_REFUSED:
        return f"{where} refused the TLS handshake ({why}). Its log may tell why."
    return None


def _about_reason(reason: str, settings: Settings) -> str | None:
    if reason in _NO_TLS:
        return (
            f"{settings.safe_url} does not speak TLS at this port. Give the port with TLS, which "
            "is 5671 unless the broker was told otherwise; 5672 is the one without."
        )
    return _no_common_version(settings) if reason in _NO_COMMON_VERSION else None


def _no_common_version(settings: Settings) -> str:
    return f"{settings.safe_url} speaks no TLS 1.2 or later, which is the least that is taken here."
