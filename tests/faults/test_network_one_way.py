"""The network loses what goes one way and carries what goes the other: one effect each."""

from __future__ import annotations

import pytest

from domain_event_broker import DomainEvent, Outcome, publish_domain_event, publish_domain_events
from domain_event_broker.errors import PublishUnconfirmed
from domain_event_broker.transports import close_all
from tests.support.proxy import TO_CLIENT, TO_SERVER, proxy_before
from tests.support.raw_amqp import bind_queue, take_all
from tests.support.waiting import wait_until

from .behind_proxy import site_behind_proxy, subscriber_behind_proxy
from .networks import PUBLISHER, SILENCE_SECONDS, link_of
from .project import PATIENCE_SECONDS, Shop
from .recovery import Fault, noted

pytestmark = pytest.mark.fault(row=9)

PUBLISH_SECONDS = 1.0
#: For the broker, which closes what is silent for two heartbeats, and for what comes then.
BROKERS_SECONDS = 10.0


def test_no_confirm_reaches_a_site(rabbitmq_shop: Shop) -> None:
    """Nor does any other answer of the broker, until that is mended."""
    with site_behind_proxy(rabbitmq_shop, PUBLISH_TIMEOUT=PUBLISH_SECONDS) as site:
        link = site.connected()
        site.proxy.drop(TO_CLIENT)
        delivery = site.order_handled()
        # It is given up, and comes again: from the relay, or the site itself once it can.
        wait_until(lambda: link.has_ended(TO_SERVER), PATIENCE_SECONDS, rabbitmq_shop.story)
        site.order_handled()
        site.wait_for_copy(delivery)
        site.proxy.reset()
        site.proxy.forward()
        with noted(Fault(9, "no confirm reaches a site, mended", 5.0)):
            site.connected()
    rabbitmq_shop.see_exactly_once()


def test_no_confirm_reaches_a_publisher(broker_url: str) -> None:
    """It is told that nobody knows, and publishes again under the same id."""
    bind_queue(broker_url, "seen", "user.*")
    with proxy_before(broker_url) as proxy:
        settings = {
            "URL": proxy.url_for(broker_url),
            "PUBLISH_TIMEOUT": PUBLISH_SECONDS,
            "UNROUTABLE": "ignore",
        }
        publish_domain_event("user.came", {}, connection_settings=settings)
        (link,) = proxy.links
        link.drop(TO_CLIENT)
        event = DomainEvent("user.left")
        with noted(Fault(9, "publisher is told", PUBLISH_SECONDS + 1)):
            (unknown,) = publish_domain_events([event], settings)
        assert isinstance(unknown.error, PublishUnconfirmed)
        assert unknown.outcome is Outcome.UNKNOWN
        again, other = publish_domain_events([event, DomainEvent("nobody.hears")], settings)
        close_all()

    assert (again.outcome, other.outcome) == (Outcome.CONFIRMED, Outcome.UNROUTABLE)
    _, first, *more = [each.properties.message_id for each in take_all(broker_url, "seen")]
    # One more where the second attempt still found the connection that was about to be dropped.
    assert len(more) in (1, 2)
    assert {first, *more} == {event.uuid_string}


def test_a_late_confirm_is_nobody_elses(broker_url: str) -> None:
    """What was held comes after the publisher has given up."""
    bind_queue(broker_url, "seen", "user.*")
    with proxy_before(broker_url) as proxy:
        settings = {
            "URL": proxy.url_for(broker_url),
            "PUBLISH_TIMEOUT": PUBLISH_SECONDS,
            "UNROUTABLE": "ignore",
        }
        publish_domain_event("user.came", {}, connection_settings=settings)
        (link,) = proxy.links
        for _ in range(3):
            link.hold(TO_CLIENT)
            (unknown,) = publish_domain_events([DomainEvent("user.left")], settings)
            assert unknown.outcome is Outcome.UNKNOWN
            link.forward()
            (other,) = publish_domain_events([DomainEvent("nobody.hears")], settings)
            assert other.outcome is Outcome.UNROUTABLE
            link = link_of(proxy, PUBLISHER)
        close_all()
    assert len(take_all(broker_url, "seen")) == 1 + 3


def test_a_subscriber_hears_nothing_or_says_nothing(rabbitmq_shop: Shop) -> None:
    with subscriber_behind_proxy(rabbitmq_shop) as subscriber:
        subscriber.order_handled()
        subscriber.link.drop(TO_SERVER)
        delivery = subscriber.order_handled()
        with noted(Fault(9, "no ack reaches the broker", BROKERS_SECONDS)):
            subscriber.wait_for_copy(delivery)
        subscriber.link.drop(TO_CLIENT)
        with noted(Fault(9, "nothing reaches a subscriber", SILENCE_SECONDS + 5.0)):
            subscriber.order_handled()
    rabbitmq_shop.see_exactly_once()
