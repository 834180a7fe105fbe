"""A site, or a subscriber, whose connections to the broker pass a proxy, while others' do not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.proxy import Link, Proxy, proxy_before
from tests.support.waiting import wait_until

from .ledgers import Fact
from .networks import HEARTBEAT_SECONDS, SUBSCRIBER, link_of
from .project import PATIENCE_SECONDS, Process, Shop
from .site import CREATED, Site


class Orders:
    """Orders that are placed on a site, and what comes of them."""

    def __init__(self, shop: Shop, site: Site) -> None:
        self.shop = shop
        self._site = site

    def order(self) -> None:
        assert self._site.order() == CREATED

    def wait_until_handled(self) -> None:
        wait_until(lambda: not self.shop.verdict().lost, PATIENCE_SECONDS, self.shop.story)

    def order_handled(self) -> Fact:
        """Place an order, wait until it is handled, and return one of its deliveries."""
        before = self.shop.committed().keys()
        self.order()
        (event,) = self.shop.committed().keys() - before
        self.wait_until_handled()
        return next(fact for fact in self.shop.ledgers.deliveries.read() if fact["event"] == event)

    def wait_for_copy(self, delivery: Fact) -> None:
        """Wait until it came again."""
        wait_until(
            lambda: self.shop.ledgers.deliveries.read().count(delivery) > 1,
            PATIENCE_SECONDS,
            self.shop.story,
        )


class SiteBehindProxy(Orders):
    """With a subscriber that is connected to the broker itself, and may relay what waits."""

    def __init__(self, shop: Shop, site: Site, proxy: Proxy) -> None:
        super().__init__(shop, site)
        self.pid = site.process.pid
        self.proxy = proxy

    def wait_until_sent(self) -> None:
        wait_until(lambda: not self.shop.outbox_count(), PATIENCE_SECONDS, self.shop.story)

    def connected(self) -> Link:
        """The site's connection; orders are placed until it has one."""

        def whole() -> list[Link]:
            self.order()
            self.wait_until_sent()
            return [link for link in self.proxy.links if link.is_whole]

        (link,) = wait_until(whole, PATIENCE_SECONDS, self.shop.story)
        self.wait_until_handled()
        return link


@contextmanager
def site_behind_proxy(shop: Shop, **settings: object) -> Iterator[SiteBehindProxy]:
    with proxy_before(shop.broker.url) as proxy, shop.subscriber():
        shop.set_broker(
            **{"URL": proxy.url_for(shop.broker.url), "HEARTBEAT": HEARTBEAT_SECONDS, **settings}
        )
        site = Site(shop)
        shop.set_broker()
        yield SiteBehindProxy(shop, site, proxy)


class SubscriberBehindProxy(Orders):
    """With a site that is connected to the broker itself."""

    def __init__(self, shop: Shop, site: Site, proxy: Proxy, process: Process) -> None:
        super().__init__(shop, site)
        self.pid = process.pid
        self._proxy = proxy

    @property
    def link(self) -> Link:
        return link_of(self._proxy, SUBSCRIBER)


@contextmanager
def subscriber_behind_proxy(shop: Shop) -> Iterator[SubscriberBehindProxy]:
    """It ends well after the block, and has left nothing at the broker."""
    site = Site(shop)
    with proxy_before(shop.broker.url) as proxy:
        shop.set_broker(URL=proxy.url_for(shop.broker.url), HEARTBEAT=HEARTBEAT_SECONDS)
        with shop.subscriber() as process:
            yield SubscriberBehindProxy(shop, site, proxy, process)
        shop.set_broker()
    wait_until(lambda: shop.broker.waiting() == 0, PATIENCE_SECONDS, shop.story)
