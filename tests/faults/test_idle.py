"""A connection dies while nobody uses it: the next publish succeeds, by one new connection.

RST and FIN are noticed at once, or by the publish; silence only by missing heartbeats. RabbitMQ
misses ours first, and closes on its side, of which nothing gets through: so the tests know when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from domain_event_broker import publish_domain_event
from domain_event_broker.settings import BrokerSetting
from domain_event_broker.transports import close_all
from tests.support.proxy import TO_CLIENT, Link, Proxy, proxy_before
from tests.support.raw_amqp import bind_queue, ready_count
from tests.support.waiting import wait_until

from .behind_proxy import site_behind_proxy
from .networks import BEFORE_SILENCE_SECONDS, BREAKS, HEARTBEAT_SECONDS, SILENCE_SECONDS
from .project import PATIENCE_SECONDS, Shop
from .recovery import Fault, noted

pytestmark = pytest.mark.fault(row=10)

BOUND_SECONDS = 5.0


def die(link: Link, how: str) -> None:
    """Break it, and return once heartbeats are missed, but before it is dropped."""
    BREAKS[how](link)
    if how == "silent":
        wait_until(lambda: link.has_ended(TO_CLIENT), PATIENCE_SECONDS)


def in_this_thread(work: Callable[[], object]) -> None:
    work()


def in_another_thread(work: Callable[[], object]) -> None:
    thread = Thread(target=work)
    thread.start()
    thread.join()


@pytest.fixture
def proxy(broker_url: str) -> Iterator[Proxy]:
    bind_queue(broker_url, "seen", "#")
    with proxy_before(broker_url) as proxy:
        yield proxy
        close_all()


@pytest.fixture
def settings(proxy: Proxy, broker_url: str) -> BrokerSetting:
    return {
        "URL": proxy.url_for(broker_url),
        "HEARTBEAT": HEARTBEAT_SECONDS,
        "PUBLISH_TIMEOUT": BEFORE_SILENCE_SECONDS,
    }


@pytest.mark.parametrize("run", [in_this_thread, in_another_thread])
@pytest.mark.parametrize("how", BREAKS)
def test_the_first_publish_succeeds(
    proxy: Proxy,
    settings: BrokerSetting,
    broker_url: str,
    how: str,
    run: Callable[[Callable[[], object]], None],
) -> None:
    published = []

    def publish() -> None:
        published.append(publish_domain_event("user.left", {}, connection_settings=settings))

    publish()
    (link,) = proxy.links
    die(link, how)
    with noted(Fault(10, f"publish after idling, {how}", BOUND_SECONDS)):
        run(publish)

    assert len(published) == 2
    assert proxy.accepted == 2
    assert ready_count(broker_url, "seen") == 2


def test_heartbeats_that_were_missed_by_all(
    proxy: Proxy,
    settings: BrokerSetting,
    broker_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The connection was dropped, sooner than pika does, and nobody asked for another one."""
    publish_domain_event("user.left", {}, connection_settings=settings)
    (link,) = proxy.links
    with noted(Fault(10, "silence is noticed", SILENCE_SECONDS)):
        link.drop()
        wait_until(lambda: not link.is_open, PATIENCE_SECONDS)
    assert "publisher: dropping the connection: its heartbeats are missing." in caplog.text
    assert proxy.accepted == 1
    publish_domain_event("user.left", {}, connection_settings=settings)
    assert proxy.accepted == 2
    assert ready_count(broker_url, "seen") == 2


@pytest.mark.parametrize("outbox", [True, False], ids=["outbox", "no outbox"])
def test_the_first_order_of_an_idle_site(rabbitmq_shop: Shop, outbox: bool) -> None:
    settings = {"OUTBOX": outbox, "PUBLISH_TIMEOUT": BEFORE_SILENCE_SECONDS}
    with site_behind_proxy(rabbitmq_shop, **settings) as site:
        for how in BREAKS:
            link = site.connected()
            accepted = site.proxy.accepted
            die(link, how)
            with noted(Fault(10, f"order after idling, {how}", BOUND_SECONDS)):
                site.order_handled()
            assert site.proxy.accepted <= accepted + 1
    rabbitmq_shop.see_exactly_once()
