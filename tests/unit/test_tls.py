"""``TLS`` in the settings: what is taken, what is refused by which sentence, what is hidden."""

from __future__ import annotations

import dataclasses
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from domain_event_broker.errors import SettingsError
from domain_event_broker.settings import Settings, parse, resolve
from domain_event_broker.tls import DEFAULT_TLS, Tls

SECRET = "s3cr3t"
URL = "amqps://u:p@host/"
OWN = {"CERTIFICATE": "/tls/own.pem", "KEY": "/tls/own.key"}


def tls_of(setting: Any, url: str = URL) -> Tls:
    settings = parse({"URL": url, "TLS": setting})
    assert settings is not None
    return settings.tls


def with_options(options: object, url: str = URL) -> str:
    """The URL with pika's `ssl_options`."""
    return f"{url}?ssl_options={quote(repr(options))}"


def test_without_it_the_broker_is_verified() -> None:
    assert Settings(url=URL).tls == DEFAULT_TLS == tls_of({}) == tls_of(None)
    assert dataclasses.astuple(DEFAULT_TLS) == (None, None, None, None, None, True)


def test_each_key_is_taken() -> None:
    assert tls_of(
        {
            **OWN,
            "CA": Path("/tls/ca.pem"),
            "KEY_PASSWORD": SECRET,
            "SERVER_HOSTNAME": "broker.internal",
            "VERIFY": False,
        }
    ) == Tls(
        ca="/tls/ca.pem",
        certificate="/tls/own.pem",
        key="/tls/own.key",
        key_password=SECRET,
        server_hostname="broker.internal",
        verify=False,
    )


def test_settings_with_it_are_equal_and_hashable() -> None:
    setting = {"URL": URL, "TLS": {"CA": "/tls/ca.pem"}}
    one, two = parse(setting), parse({**setting, "TLS": {"CA": Path("/tls/ca.pem")}})

    assert one == two
    assert len({one, two, parse(URL)}) == 2


def test_the_password_of_the_key_is_in_no_repr() -> None:
    settings = parse({"URL": URL, "TLS": {**OWN, "KEY_PASSWORD": SECRET}})

    assert SECRET not in repr(settings)


def test_a_setting_changed_in_place_counts() -> None:
    setting: dict[str, Any] = {"URL": URL, "TLS": {"CA": "/tls/one.pem"}}
    first = resolve(setting)
    setting["TLS"]["CA"] = "/tls/two.pem"
    second = resolve(setting)

    assert first is not None
    assert second is not None
    assert (first.tls.ca, second.tls.ca) == ("/tls/one.pem", "/tls/two.pem")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("/tls/ca.pem", "TLS must be a dict such as {'CA': '/etc/ssl/broker.pem'}, not str."),
        ({"CERTIFICATE": "/tls/own.pem"}, "TLS has a CERTIFICATE and no KEY."),
        ({"KEY": "/tls/own.key"}, "TLS has a KEY and no CERTIFICATE"),
        ({"KEY_PASSWORD": SECRET}, "TLS has a KEY_PASSWORD and no KEY"),
        ({"CERT": "/tls/own.pem"}, "TLS: Unknown key 'CERT'. Did you mean 'CERTIFICATE'? Known"),
        ({"ca": "/tls/ca.pem"}, "Did you mean 'CA'?"),
        ({5: "x"}, "TLS: Unknown key 5. Known keys: CA, CERTIFICATE, KEY, KEY_PASSWORD, "),
        ({"CA": ""}, "CA in TLS must be the path of a file"),
        ({"CA": 5}, "CA in TLS must be the path of a file"),
        ({"KEY": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n", "CERTIFICATE": "x"}, "KEY in TLS"),
        ({**OWN, "KEY_PASSWORD": 5}, "KEY_PASSWORD in TLS must be a non-empty string"),
        ({"SERVER_HOSTNAME": ""}, "SERVER_HOSTNAME in TLS must be a non-empty string"),
        ({"VERIFY": 0}, "VERIFY in TLS must be True or False, not 0."),
        ({"VERIFY": None}, "VERIFY in TLS must be True or False, not None."),
    ],
)
def test_what_is_wrong_is_refused_by_a_sentence(setting: Any, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        tls_of(setting)

    assert sentence in str(caught.value)
    assert SECRET not in str(caught.value)


def test_plaintext_with_it_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        tls_of({"CA": "/tls/ca.pem"}, "amqp://u:p@host/")

    assert str(caught.value) == (
        "TLS is given, and the URL is amqp://, which is not encrypted. Write amqps://, whose "
        "usual port is 5671."
    )
    assert tls_of({}, "amqp://u:p@host/") == DEFAULT_TLS


@pytest.mark.parametrize("url", ["memory://name", "database://"])
def test_other_transports_ignore_it(url: str) -> None:
    assert tls_of({"CA": "/tls/ca.pem"}, url).ca == "/tls/ca.pem"


# pika's ssl_options in the URL


@pytest.mark.parametrize(
    ("options", "means"),
    [
        (None, DEFAULT_TLS),
        ({}, DEFAULT_TLS),
        ({"ca_certs": "/tls/ca.pem"}, Tls(ca="/tls/ca.pem")),
        ({"capath": "/tls", "protocol": int(ssl.PROTOCOL_TLS_CLIENT)}, Tls(ca="/tls")),
        ({"certfile": "/own.pem"}, Tls(certificate="/own.pem", key="/own.pem")),
        (
            {
                "certfile": "/own.pem",
                "keyfile": "/own.key",
                "password": SECRET,
                "server_hostname": "broker.internal",
                "cafile": None,
            },
            Tls(None, "/own.pem", "/own.key", SECRET, "broker.internal"),
        ),
    ],
)
def test_harmless_options_of_pika_mean_the_same(options: Any, means: Tls) -> None:
    settings = Settings(url=with_options(options))

    assert settings.tls == means
    assert settings.with_exchange("other", "topic").tls == means


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"protocol": 5}, "'protocol' is not taken, since with it the broker might not be"),
        ({"cert_reqs": 0}, "'cert_reqs' is not taken"),
        ({"ciphers": "ALL:@SECLEVEL=0"}, "'ciphers' is not taken"),
        ({"ca_certs": "/a.pem", "capath": "/b"}, "The authorities are given twice."),
        ({"keyfile": SECRET}, "TLS has a KEY and no CERTIFICATE"),
        ([1], "cannot be read"),
        ({"ca_certs"}, "cannot be read"),
    ],
)
def test_others_are_refused(options: object, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(url=with_options(options))

    assert str(caught.value).startswith("?ssl_options= in URL")
    assert sentence in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", ["{", "s3cr3t", "(" * 5000, "{}&ssl_options={}"])
def test_options_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="cannot be read") as caught:
        Settings(url=f"{URL}?ssl_options={value}")

    assert SECRET not in str(caught.value)


def test_options_beside_the_setting_are_refused() -> None:
    url = with_options({"ca_certs": "/tls/ca.pem"})

    assert tls_of({"CA": "/tls/ca.pem"}, url).ca == "/tls/ca.pem"
    with pytest.raises(SettingsError, match="TLS is given twice"):
        tls_of({"CA": "/tls/other.pem"}, url)


def test_options_on_a_plaintext_url_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"\?ssl_options= is given, and the URL is amqp://"):
        Settings(url=with_options({}, "amqp://u:p@host:5671/"))

    assert Settings(url=with_options(None, "amqp://u:p@host/")).tls == DEFAULT_TLS


def test_nodes_may_not_differ_in_their_options() -> None:
    one, two = with_options({"cafile": "/one.pem"}), with_options({"cafile": "/two.pem"})

    assert Settings(url=[one, one]).tls == Tls(ca="/one.pem")
    with pytest.raises(SettingsError, match="URL lists nodes with different ssl_options"):
        Settings(url=[one, two])
    with pytest.raises(SettingsError, match="'protocol' is not taken"):
        Settings(url=[one, with_options({"protocol": 5})])
