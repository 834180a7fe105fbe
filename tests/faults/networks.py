"""How a network breaks a connection, and our connections as the proxy and the broker see them.

Who breaks one waits for what the break is about, such as a stored event: nothing is left to luck.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.support.proxy import Link, Proxy
from tests.support.rabbitmq import RabbitmqNode
from tests.support.waiting import wait_until

from .project import PATIENCE_SECONDS

Break = Callable[[Link], None]

#: By what a client is told: RST, FIN, or nothing at all.
BREAKS: dict[str, Break] = {"reset": Link.reset, "closed": Link.cut, "silent": Link.drop}
#: The shortest there is, for those who wait until it is noticed that nobody answers.
HEARTBEAT_SECONDS = 1
#: How long that takes, with a second to spare.
SILENCE_SECONDS = HEARTBEAT_SECONDS + 5 + 1
#: A publish that is written to a dead connection fails before that is noticed, even if it was dead
#: for a while.
BEFORE_SILENCE_SECONDS = 1.5

#: What our connections call themselves.
PUBLISHER, SUBSCRIBER = "publisher (process ", "subscriber (process "


def link_of(proxy: Proxy, purpose: str) -> Link:
    """The one connection of this purpose that passes the proxy and is whole, once it is there."""

    def whole() -> list[Link]:
        links = [link for link in proxy.links_with(purpose.encode()) if link.is_whole]
        return links if len(links) == 1 else []

    (link,) = wait_until(whole, PATIENCE_SECONDS, f"There is not one connection of the {purpose}")
    return link


class Held(NamedTuple):
    """What a broker holds."""

    connections: int
    channels: int


def see_held(node: RabbitmqNode, vhost: str, purpose: str, pid: int, held: Held) -> None:
    """See that the broker comes to hold this for a process's connections of that purpose."""
    name = f"{purpose}{pid})"

    def now() -> Held:
        rows = node.connections(vhost)
        ours = [each for each in rows if name in each.get("user_provided_name", "")]
        return Held(len(ours), sum(each.get("channels", 0) for each in ours))

    wait_until(lambda: now() == held, PATIENCE_SECONDS, lambda: f"{name}: {now()}")
