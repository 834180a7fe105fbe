"""Which tags are acknowledged, and in how few frames, over every order of settling."""

from itertools import islice, permutations, product

import pytest

from domain_event_broker.transports.amqp.acknowledgements import Acknowledgements


def with_tags(count: int) -> Acknowledgements:
    acknowledgements = Acknowledgements()
    for tag in range(1, count + 1):
        acknowledgements.delivered(tag)
    return acknowledgements


def released(acknowledgements: Acknowledgements, tag: int) -> bool:
    return list(acknowledgements.release([tag])) == [(tag, False)]


def still_open(acknowledgements: Acknowledgements) -> list[int]:
    """The tags that can still be given back, in order; gives them back."""
    return [tag for tag in range(1, 101) if released(acknowledgements, tag)]


def acknowledged(taken: list[tuple[int, bool]], gone: set[int]) -> set[int]:
    """What the broker understands: ``multiple`` is every tag up to the named one."""
    tags: set[int] = set()
    for tag, multiple in taken:
        tags |= set(range(1, tag + 1)) - gone if multiple else {tag}
    return tags


def test_what_is_settled_in_a_row_goes_out_as_one() -> None:
    acknowledgements = with_tags(5)
    for tag in (1, 2, 3):
        assert acknowledgements.settled(tag)

    assert list(acknowledgements.take()) == [(3, True)]
    assert list(acknowledgements.take()) == []
    assert still_open(acknowledgements) == [4, 5]


def test_what_is_settled_behind_an_open_one_goes_out_alone() -> None:
    acknowledgements = with_tags(4)
    for tag in (1, 3, 4):
        acknowledgements.settled(tag)

    assert list(acknowledgements.take()) == [(1, False), (3, False), (4, False)]
    assert still_open(acknowledgements) == [2]


def test_a_tag_is_settled_or_released_once() -> None:
    acknowledgements = with_tags(3)
    assert acknowledgements.settled(1)
    assert not acknowledgements.settled(1)
    assert not released(acknowledgements, 1)
    assert released(acknowledgements, 2)
    assert not released(acknowledgements, 2)
    assert not acknowledgements.settled(2)
    assert not acknowledgements.settled(99)
    assert not released(acknowledgements, 99)

    assert list(acknowledgements.take()) == [(1, False)]
    assert len(acknowledgements) == 1
    assert still_open(acknowledgements) == [3]


def test_all_that_is_left_is_given_back_as_one() -> None:
    acknowledgements = with_tags(5)
    for tag in (1, 2):
        acknowledgements.settled(tag)
    assert list(acknowledgements.take()) == [(2, True)]

    assert list(acknowledgements.release([4, 3, 5])) == [(5, True)]
    assert len(acknowledgements) == 0


@pytest.mark.parametrize("is_settled", [True, False])
def test_nothing_else_is_given_back(is_settled: bool) -> None:
    acknowledgements = with_tags(3)
    if is_settled:  # but not told
        acknowledgements.settled(1)

    assert list(acknowledgements.release([2, 3])) == [(2, False), (3, False)]


@pytest.mark.parametrize("order", list(permutations(range(1, 5))))
def test_never_is_anything_acknowledged_that_is_not_settled(order: tuple[int, ...]) -> None:
    """Every order, every choice of what is released instead, and taking at every point."""
    for choices, taking in product(product([False, True], repeat=4), repeat=2):
        acknowledgements = with_tags(4)
        settled: set[int] = set()
        gone: set[int] = set()
        told: set[int] = set()
        for tag, is_released, takes in zip(order, choices, taking, strict=True):
            if is_released:
                assert released(acknowledgements, tag)
                gone.add(tag)
            else:
                acknowledgements.settled(tag)
                settled.add(tag)
            if takes:
                told |= acknowledged(list(acknowledgements.take()), gone | told)
        told |= acknowledged(list(acknowledgements.take()), gone | told)

        assert told == settled
        assert len(acknowledgements) == 0


def test_what_is_not_taken_stays_settled() -> None:
    """Who takes some, since no more may be under way, gets the others next."""
    acknowledgements = with_tags(6)
    for tag in (2, 3, 5, 6):
        acknowledgements.settled(tag)
    assert list(islice(acknowledgements.take(), 1)) == [(2, False)]
    assert acknowledgements.has_settled
    assert list(islice(acknowledgements.take(), 2)) == [(3, False), (5, False)]
    acknowledgements.settled(1)
    assert list(islice(acknowledgements.take(), 1)) == [(1, False)]
    assert acknowledgements.has_settled
    assert list(acknowledgements.take()) == [(6, False)]

    assert not acknowledgements.has_settled
    assert still_open(acknowledgements) == [4]
