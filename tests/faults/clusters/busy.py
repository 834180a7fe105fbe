"""A cluster that is busy: with the test project, and with the core alone, in one virtual host."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.support.cluster import RabbitmqCluster
from tests.support.waiting import wait_until

from .. import recovery
from ..figures import figures_of
from ..project import PATIENCE_SECONDS, Shop
from ..steady import Load
from .traffic import Traffic, longest_pause

#: Events a second. Few, so that what is placed next is handled soon on a busy machine, too.
RATE = 10
#: So many effects show that handling goes on.
ENOUGH_EFFECTS = 20


class Bounds(NamedTuple):
    """How soon each should go on."""

    publishing_seconds: float
    handling_seconds: float


class Busy:
    """The shop's processes and the core's threads, from `with` on until `see_nothing_lost`."""

    def __init__(self, cluster: RabbitmqCluster, shop: Shop, settings: dict[str, Any]) -> None:
        self.cluster = cluster
        self.shop = shop
        self.traffic = Traffic(cluster, settings)
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            ends.enter_context(self.traffic)
            self.subscriber = ends.enter_context(self.shop.subscriber())
            self.load = Load(self.shop, RATE)
            self._ends = ends.pop_all()
        self.wait_for_effects(self.orders())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.__exit__(kind, error, traceback)

    # How it goes on

    def orders(self) -> int:
        """How many were placed; they are numbered."""
        return int(self.shop.database.rows("SELECT COALESCE(MAX(id), 0) FROM orders_order")[0][0])

    def wait_for_effects(self, orders: int) -> None:
        """Wait until enough of what was placed after so many orders had its effect."""
        query = (
            "SELECT COUNT(*) FROM orders_effect AS effect JOIN orders_order AS placed "
            f"ON placed.event_id = effect.event_id WHERE placed.id > {orders}"
        )
        wait_until(
            lambda: self.shop.database.rows(query)[0][0] >= ENOUGH_EFFECTS,
            PATIENCE_SECONDS,
            self.story,
        )

    def see_going_on(self, row: int, what: str, since: float, orders: int, bounds: Bounds) -> None:
        """Wait until all goes on, and note how long nothing did after that moment."""
        self.traffic.wait_for_both(since)
        self.wait_for_effects(orders)
        for part, moments, bound in (
            ("publishing", self.traffic.confirmed_at, bounds.publishing_seconds),
            ("handling", self.traffic.handled_at, bounds.handling_seconds),
        ):
            fault = recovery.Fault(row, f"{what}: {part} goes on", bound)
            recovery.note(fault, longest_pause(since, moments))

    def see_nothing_lost(self, title: str) -> None:
        """End it all, and see that it came to what was committed; print figures."""
        figures = self.load.stop()
        self.traffic.see_none_lost()
        self._ends.close()
        self.shop.settle()
        self.shop.see_exactly_once()
        print(f"{title}: {figures_of(self.shop)}; {figures}; core: {self.traffic.told()}")

    def story(self) -> str:
        return f"{self.shop.story()}\n{self.traffic.story()}"
