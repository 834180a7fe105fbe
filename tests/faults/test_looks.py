"""Two people look at the same dead letters again and again: all of them stay.

While one looks the other may see fewer. A queue counts each look as a delivery: nothing is to be
expelled from it for that.
"""

from __future__ import annotations

import pytest

from tests.support.waiting import wait_until

from .project import PATIENCE_SECONDS, Shop
from .repairs import collect_the_rest

pytestmark = pytest.mark.fault(row=23)

#: More than a look into a queue takes at once.
LETTERS = 120
#: Of each.
LOOKS = "30"


@pytest.mark.parametrize("places", ["queue queue", "table table", "queue table"])
class TestThirtyLooksOfTwo:
    def test_on_rabbitmq(self, rabbitmq_shop: Shop, places: str) -> None:
        see_all_stay(rabbitmq_shop, *places.split())

    def test_on_the_database_transport(self, sqlite_shop: Shop, places: str) -> None:
        see_all_stay(sqlite_shop, *places.split())


def test_both_at_once_on_the_database_transport_and_postgresql(postgresql_shop: Shop) -> None:
    see_all_stay(postgresql_shop, "queue", "table")


def see_all_stay(shop: Shop, *places: str) -> None:
    """Have somebody look into each of these places at the same time."""
    shop.do("make_dead_letters", "place_backlog", str(LETTERS), "--until-sent")
    looks = [shop.begin("look", place, LOOKS) for place in places]
    assert [look.wait() for look in looks] == [0, 0], shop.story()
    if "table" not in places:
        assert not shop.dead_letters()
        wait_until(lambda: shop.broker.waiting() == LETTERS, PATIENCE_SECONDS, shop.story)

    collect_the_rest(shop)
    letters = shop.dead_letters()
    assert {each.event_id for each in letters} == shop.committed().keys()
    assert {(each.handler, each.state) for each in letters} == {("reserve", "waiting")}
    assert len(letters) == LETTERS
