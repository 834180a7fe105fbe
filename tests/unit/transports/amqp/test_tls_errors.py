"""What OpenSSL and pika say about TLS, as our errors; only what no broker does on demand."""

from __future__ import annotations

import ssl

import pytest
from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorSocketConnectError,
    AMQPConnectorTransportSetupError,
)

from domain_event_broker.errors import BrokerUnavailable, TlsFailed
from domain_event_broker.settings import Settings
from domain_event_broker.tls import Tls
from domain_event_broker.transports.amqp.errors import translate

SETTINGS = Settings(url="amqps://shop:s3cr3t@broker/")
WITH_CERTIFICATE = Settings(
    url="amqps://shop:s3cr3t@broker/", tls=Tls(certificate="/own.pem", key="/own.key")
)


def openssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] words")
    error.reason = reason
    return error


def verification_error(code: int, words: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, words)
    error.verify_code, error.verify_message = code, words
    return error


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_hosts_addresses_the_one_that_speaks_tells_what_is_wrong(order: int) -> None:
    """Often nobody listens at the host's IPv6 address."""
    attempts: list[BaseException] = [
        AMQPConnectorTransportSetupError(verification_error(10, "certificate has expired")),
        AMQPConnectorSocketConnectError(ConnectionRefusedError(111, "Connection refused")),
    ]
    error = translate(AMQPConnectionWorkflowFailed(attempts[::order]), SETTINGS)

    assert isinstance(error, TlsFailed)
    assert str(error).startswith("The certificate of amqps://broker/ has expired")
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (9, "is not valid yet. See whether the clocks are right."),
        (23, "was revoked. The broker needs a new one."),
        (24, "cannot be verified: some other reason."),
    ],
)
def test_other_faults_of_the_brokers_certificate(code: int, sentence: str) -> None:
    error = translate(verification_error(code, "some other reason"), SETTINGS)

    assert isinstance(error, TlsFailed)
    assert str(error) == f"The certificate of amqps://broker/ {sentence}"


@pytest.mark.parametrize(
    ("reason", "settings", "sentence"),
    [
        # Releases of OpenSSL begin the same alert by other words.
        ("SSL/TLS_ALERT_HANDSHAKE_FAILURE", SETTINGS, "amqps://broker/ ended the TLS handshake."),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", WITH_CERTIFICATE, "refused the client certificate"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", SETTINGS, "speaks no TLS 1.2 or later"),
        ("UNSUPPORTED_PROTOCOL", SETTINGS, "speaks no TLS 1.2 or later"),
        ("TLSV1_ALERT_ACCESS_DENIED", SETTINGS, "refused the TLS handshake (access denied)"),
        ("RECORD_LAYER_FAILURE", SETTINGS, "does not speak TLS at this port"),
    ],
)
def test_refusals(reason: str, settings: Settings, sentence: str) -> None:
    error = translate(openssl_error(reason), settings)

    assert isinstance(error, TlsFailed)
    assert sentence in str(error)


@pytest.mark.parametrize(
    "broken",
    [
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed"),
        openssl_error("TLSV1_ALERT_INTERNAL_ERROR"),
        openssl_error("TLSV1_ALERT_USER_CANCELLED"),
        openssl_error("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
    ],
)
def test_what_just_breaks_is_tried_again(broken: ssl.SSLError) -> None:
    assert isinstance(translate(broken, SETTINGS), BrokerUnavailable)
