"""Places are bounded, and a reply that has begun keeps one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.delivery.places import Places, Share

pytestmark = pytest.mark.fast


def test_no_more_places_are_given_than_there_are():
    places = Places(2)
    assert [places.take() for _ in range(3)] == [True, True, False]
    places.give_back()
    assert places.take()
    assert places.taken == 2


def test_a_reply_that_has_begun_gets_a_place_even_if_all_are_taken():
    places = Places(1)
    first, second = Share(places), Share(places)
    assert first.take()
    assert not second.take()
    assert second.take(even_if_full=True)
    assert places.taken == 2
    second.give_back()
    second.close()
    assert places.taken == 1
    assert not Share(places).take()


def test_a_reply_keeps_one_place_between_its_partitions():
    places = Places(1)
    first, second = Share(places), Share(places)
    assert first.take()
    first.give_back()
    assert not second.take()
    assert first.take()
    first.give_back()
    first.close()
    assert second.take()


def test_a_reply_that_was_left_keeps_its_places_until_its_partitions_are_made():
    places = Places(3)
    share = Share(places)
    assert share.take()
    assert share.take()
    share.close()
    assert places.taken == 2
    share.give_back()
    assert places.taken == 1
    share.give_back()
    assert places.taken == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["take", "back", "close"]))))
def test_whatever_replies_do_places_are_never_lost_nor_made(steps):
    places, limit = Places(4), 4
    shares, used, closed = [Share(places) for _ in range(3)], [0, 0, 0], set()
    for who, what in steps:
        if what == "take" and who not in closed:
            used[who] += shares[who].take()
        elif what == "back" and used[who]:
            shares[who].give_back()
            used[who] -= 1
        elif what == "close":
            shares[who].close()
            closed.add(who)
        assert sum(used) <= places.taken <= limit
    for share, count in zip(shares, used, strict=True):
        for _ in range(count):
            share.give_back()
        share.close()
    assert places.taken == 0
