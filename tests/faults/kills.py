"""Runs in which one process is killed at a named point, and others finish what it began."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .brokers import Rabbitmq
from .plans import Plan, drawn
from .project import Shop, see_killed
from .runs import SEEDS

#: The points of a publisher, and how often it passes them.
PUBLISHER: dict[str, Callable[[Plan], int]] = {
    "before the commit": lambda plan: plan.commits,
    "before the hand-over": lambda plan: plan.events,
    "before the rows are deleted": lambda plan: len(plan.waves),
}
#: The points of a subscriber, which it passes with each delivery.
SUBSCRIBER = ("before the handler's commit", "before the ack")


def kill_at(point: str, shop: Shop, random: Random) -> None:
    """Kill who passes the point; return when everything has settled."""
    if point in PUBLISHER:
        kill_publisher(point, shop, random)
    else:
        kill_subscriber(point, shop, random)
    shop.settle()


def kill_publisher(point: str, shop: Shop, random: Random) -> None:
    """Kill a publisher; its events are with the handlers, wait to be sent, or are nowhere."""
    helpers = ["a running subscriber", "another publisher"]
    if isinstance(shop.broker, Rabbitmq):
        helpers.append("a relay")
    helper = random.choice(helpers)
    if helper == "a running subscriber":
        with shop.subscriber():
            publish_until_killed(point, shop, random)
    else:
        publish_until_killed(point, shop, random)
    if helper == "another publisher":
        publish(shop, random, "--until-sent")
    if helper == "a relay":
        shop.do("relay_outbox", "--once")
        assert not shop.outbox_count()


def publish_until_killed(point: str, shop: Shop, random: Random) -> None:
    seed, plan = draw(random)
    nth = random.randint(1, PUBLISHER[point](plan))
    shop.do_killed(point, nth, "place_orders", seed)


def kill_subscriber(point: str, shop: Shop, random: Random) -> None:
    """Kill a subscriber that began before its events came, or after that."""
    seed, plan = draw(random)
    see_killed_while_handling(shop, random, point, random.randint(1, plan.deliveries), seed)


def see_killed_while_handling(shop: Shop, random: Random, point: str, nth: int, seed: str) -> None:
    """Have a plan's events handled by a subscriber that dies at its n-th pass of the point."""
    if random.random() < 0.5:
        dying = shop.begin_dying(point, nth, "run_subscriber")
        shop.do("place_orders", seed)
        see_killed(dying)
    else:
        shop.do("place_orders", seed)
        shop.do_killed(point, nth, "run_subscriber")


def publish(shop: Shop, random: Random, *options: str) -> None:
    """Have a publisher carry out a plan to its end."""
    seed, _ = draw(random)
    shop.do("place_orders", seed, *options)


def draw(random: Random) -> tuple[str, Plan]:
    """A plan, and the seed that it comes from."""
    seed = random.randrange(SEEDS)
    return str(seed), drawn(seed)


def make_backlog(shop: Shop, count: int, key: str = "order.one") -> None:
    """Have so many events committed that nobody has sent, or will before their lease ends."""
    shop.do_killed("before the hand-over", 1, "place_backlog", str(count), "--key", key)
