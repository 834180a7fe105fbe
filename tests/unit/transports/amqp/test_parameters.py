"""From a URL to pika's parameters, with the settings and without its password in any error."""

import traceback

import pytest

from domain_event_broker.errors import SettingsError
from domain_event_broker.settings import Settings
from domain_event_broker.transports.amqp.parameters import connection_parameters

SECRET = "s3cr3t"


def test_a_url_is_read_with_its_escapes() -> None:
    parameters = connection_parameters(
        Settings(url="amqp://us%40er:s3cr3t%2F@host:1234/a%2Fb"), "publisher"
    )

    assert (parameters.host, parameters.port) == ("host", 1234)
    assert parameters.virtual_host == "a/b"
    assert parameters.credentials.username == "us@er"
    assert parameters.credentials.password == "s3cr3t/"
    assert parameters.ssl_options is None


def test_a_secure_url_verifies_its_peer() -> None:
    parameters = connection_parameters(Settings(url="amqps://u:p@host/"), "publisher")

    assert parameters.port == 5671
    assert parameters.ssl_options.context.check_hostname
    assert parameters.ssl_options.context.verify_mode.name == "CERT_REQUIRED"


def test_the_heartbeat_is_that_of_the_settings_unless_the_url_names_one() -> None:
    named = Settings(url="amqp://host/?heartbeat=7", heartbeat_seconds=9)
    silent = Settings(url="amqp://host/", heartbeat_seconds=9)

    assert connection_parameters(named, "publisher").heartbeat == 7
    assert connection_parameters(silent, "publisher").heartbeat == 9


def test_the_management_page_shows_what_a_connection_is_for() -> None:
    settings = Settings(url="amqp://host/", service="shop")
    name = connection_parameters(settings, "publisher").client_properties["connection_name"]

    assert name.startswith("shop: publisher (process ")


@pytest.mark.parametrize(
    "url",
    [
        "amqp://s3cr3t@host/",
        "amqp://u:s3cr3t@host/?heartbeat=never",
        "amqp://u:s3cr3t@host/?blocked_connection_timeout=-1",
        "amqp://u:s3cr3t@host/?ssl_options=s3cr3t",
    ],
)
def test_a_url_that_pika_cannot_read_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        connection_parameters(Settings(url=url), "publisher")

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    for frame, _ in traceback.walk_tb(caught.value.__traceback__):
        if "domain_event_broker" in frame.f_code.co_filename:
            assert SECRET not in repr(frame.f_locals)


def test_opening_is_bounded_unless_the_url_says_how_long_it_may_take() -> None:
    named = Settings(url="amqp://host/?stack_timeout=60&socket_timeout=50")
    silent = Settings(url="amqp://host/")

    def limits(settings: Settings, open_seconds: float | None) -> tuple[float, float]:
        parameters = connection_parameters(settings, "publisher", open_seconds)
        return parameters.socket_timeout, parameters.stack_timeout

    by_default = limits(silent, None)
    assert limits(silent, 2.5) == (2.5, 2.5)
    assert limits(silent, 1000.0) == by_default
    assert limits(named, 2.5) == limits(named, None) == (50, 60)
