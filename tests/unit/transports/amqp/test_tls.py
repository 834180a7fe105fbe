"""From ``TLS`` and the files that it names to what pika encrypts with."""

from __future__ import annotations

import ssl
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from domain_event_broker.errors import SettingsError
from domain_event_broker.settings import parse
from domain_event_broker.transports.amqp.parameters import connection_parameters
from tests.support.certificates import Authority, Identity

SECRET = "s3cr3t"
URL = "amqps://u:p@host/"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def own(authority: Authority) -> Identity:
    return authority.issue("own", "shop")


@pytest.fixture(scope="module")
def encrypted(own: Identity) -> Identity:
    """The same, its key encrypted by the password `SECRET`."""
    key = load_pem_private_key(own.key.read_bytes(), None)
    file = own.key.with_suffix(".encrypted")
    encryption = BestAvailableEncryption(SECRET.encode())
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return Identity(own.certificate, file)


def parameters_of(tls: dict[str, Any], url: str = URL) -> Any:
    settings = parse({"URL": url, "TLS": tls})
    assert settings is not None
    return connection_parameters(settings, "test")


def context_of(tls: dict[str, Any]) -> ssl.SSLContext:
    context: ssl.SSLContext = parameters_of(tls).ssl_options.context
    return context


def refusal_of(tls: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught:
        context_of(tls)
    assert caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    return str(caught.value)


def authorities(context: ssl.SSLContext) -> int:
    return context.cert_store_stats()["x509_ca"]


def test_by_default_the_broker_is_verified_by_name_with_the_systems_authorities() -> None:
    context = context_of({})

    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert authorities(context) == authorities(ssl.create_default_context())
    assert parameters_of({}).ssl_options.server_hostname is None


def test_an_authority_of_ones_own_is_the_only_one(authority: Authority) -> None:
    context = context_of({"CA": authority.path})

    assert authorities(context) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_file_may_hold_several_and_words_between(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    bundle = tmp_path / "bundle.pem"
    words = "\nÜnser Vertrauen\n".encode("latin-1")
    bundle.write_bytes(words + authority.path.read_bytes() + words + other.path.read_bytes())

    assert authorities(context_of({"CA": bundle})) == 2


def test_of_a_folder_the_files_count_that_hold_some(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    (tmp_path / "one.crt").write_bytes(authority.path.read_bytes())
    (tmp_path / "0123abcd.0").write_bytes(other.path.read_bytes())
    (tmp_path / "README").write_text("Authorities.")
    other.issue("own", "shop").key.rename(tmp_path / "own.pem")

    assert authorities(context_of({"CA": tmp_path})) == 2


def test_the_hosts_other_name_is_what_is_verified() -> None:
    options = parameters_of({"SERVER_HOSTNAME": "broker.internal"}).ssl_options

    assert options.server_hostname == "broker.internal"
    assert options.context.check_hostname


def test_only_verify_false_trusts_everybody() -> None:
    context = context_of({"VERIFY": False})

    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


def test_a_client_certificate_is_loaded(own: Identity, encrypted: Identity) -> None:
    context_of(own.settings)
    context_of({**encrypted.settings, "KEY_PASSWORD": SECRET})


def test_certificate_and_key_may_be_one_file(own: Identity, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(own.key.read_bytes() + own.certificate.read_bytes())

    context_of({"CERTIFICATE": both, "KEY": both})


def test_pika_is_given_none_of_its_own_options(own: Identity) -> None:
    options = {"certfile": str(own.certificate), "keyfile": str(own.key)}
    url = f"amqps://u:p%2F@host/a%2Fb?heartbeat=7&ssl_options={quote(repr(options))}"
    parameters = parameters_of({}, url)

    assert (parameters.host, parameters.port, parameters.virtual_host) == ("host", 5671, "a/b")
    assert (parameters.heartbeat, parameters.credentials.password) == (7, "p/")
    assert parameters.ssl_options.context.check_hostname


@pytest.mark.parametrize("url", ["amqps://host/", "AMQPS://host:5671/?ssl_options=None"])
def test_without_a_user_the_client_certificate_is_one(own: Identity, url: str) -> None:
    assert parameters_of(own.settings, url).credentials.TYPE == "EXTERNAL"
    assert parameters_of(own.settings).credentials.TYPE == "PLAIN"
    assert parameters_of({}, url).credentials.username == "guest"


def test_files_that_are_not_there_are_named(own: Identity, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.pem")

    assert refusal_of({"CA": gone}) == (
        f"CA in TLS: {gone} cannot be read: No such file or directory."
    )
    assert f"CERTIFICATE in TLS: {gone} cannot be read" in refusal_of(
        {**own.settings, "CERTIFICATE": gone}
    )
    assert f"KEY in TLS: {gone} cannot be read" in refusal_of({**own.settings, "KEY": gone})


def test_files_that_hold_something_else_are_named(own: Identity, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text(SECRET)
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n")
    folder = tmp_path / "folder"
    folder.mkdir()

    assert refusal_of({"CA": nothing}) == f"CA in TLS: {nothing} holds no certificate in PEM form."
    assert f"CA in TLS: {broken} holds a certificate that cannot be read" in refusal_of(
        {"CA": broken}
    )
    assert refusal_of({"CA": folder}) == f"CA in TLS: {folder} holds no certificate in PEM form."
    assert refusal_of({**own.settings, "CERTIFICATE": nothing}) == (
        f"CERTIFICATE in TLS: {nothing} holds no certificate in PEM form."
    )
    assert refusal_of({**own.settings, "KEY": nothing}) == (
        f"KEY in TLS: {nothing} holds no private key in PEM form."
    )
    assert refusal_of({"CERTIFICATE": broken, "KEY": own.key}).startswith(
        "CERTIFICATE or KEY in TLS cannot be read"
    )
    assert refusal_of({**own.settings, "CERTIFICATE": folder}) == (
        f"CERTIFICATE in TLS: {folder} cannot be read: Is a directory."
    )


def test_a_key_of_another_certificate_is_refused(own: Identity, authority: Authority) -> None:
    other = authority.issue("other", "shop")
    expected = f"KEY in TLS: {other.key} is not the key of the certificate {own.certificate}."

    assert refusal_of({**own.settings, "KEY": other.key}) == expected


def test_a_key_of_another_kind_is_refused(own: Identity, tmp_path: Path) -> None:
    other = Authority(tmp_path, rsa=True).issue("other", "shop")
    expected = f"KEY in TLS: {other.key} is not the key of the certificate {own.certificate}."

    assert refusal_of({**own.settings, "KEY": other.key}) == expected


def test_nobody_is_asked_for_a_password(encrypted: Identity) -> None:
    assert refusal_of(encrypted.settings) == (
        f"KEY in TLS: {encrypted.key} is encrypted. Give KEY_PASSWORD, too."
    )
    assert refusal_of({**encrypted.settings, "KEY_PASSWORD": "wrong"}) == (
        f"KEY_PASSWORD in TLS does not open {encrypted.key}."
    )
    assert refusal_of({**encrypted.settings, "KEY_PASSWORD": SECRET * 1000}) == (
        f"KEY_PASSWORD in TLS does not open {encrypted.key}."
    )


def test_renewed_files_count_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    tls = {"CA": file}
    assert "cannot be read" in refusal_of(tls)
    file.write_bytes(authority.path.read_bytes())

    assert authorities(context_of(tls)) == 1
