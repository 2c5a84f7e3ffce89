"""Computations on lists of places, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.delivery.compute import compute
from columnservice.model import Derivation, plain

pytestmark = pytest.mark.fast
events = st.lists(st.lists(st.lists(st.integers(-1, 9), max_size=4), max_size=4), max_size=4)


def offsets_of(lists):
    return np.cumsum([0, *map(len, lists)]).astype(np.int64)


@given(events)
def test_lists_of_places_become_pairs_of_places(told):
    objects = [o for event in told for o in event]
    values = np.array([i for o in objects for i in o], np.int32)
    lists = plain(values, offsets_of(told), offsets_of(objects))
    right = [[(n, i) for n, o in enumerate(event) for i in o if i >= 0] for event in told]
    owners = compute(Derivation("a", ("x",), "list_owners"), [lists])
    items = compute(Derivation("b", ("x",), "list_items"), [lists])
    counts = compute(Derivation("n", ("a",), "lengths"), [owners])
    for found, place in [(owners, 0), (items, 1)]:
        assert found.offsets[0].tolist() == offsets_of(right).tolist()
        assert found.values.tolist() == [pair[place] for event in right for pair in event]
        assert found.values.dtype == np.int32
    assert counts.values.tolist() == [len(event) for event in right]


WINDOW = (("max_dr", 0.1), ("pt_low", 0.5), ("pt_high", 2.0), ("resolution", 0.001))
KEY, OTHER, NOWHERE = 733040294, 1006278415, 2**32 - 1


def matched(links, **parameters):
    """Of three objects in line with three of the parent's in reverse order: index and doubt."""
    offsets = np.array([0, 3])
    eta, flat = np.array([0.0, 0.02, 0.04], "f4"), np.full(3, 1.0, "f4")
    local = [plain(v, offsets) for v in (eta, flat, flat)]
    parent = [plain(v, offsets) for v in (eta[::-1], flat, flat)]
    told = [plain(np.array(part, "u4"), offsets) for part in zip(*links, strict=True)]
    given = (*WINDOW, ("link_key", KEY), *parameters.items())
    inputs = tuple("abcdefgh")
    return [
        compute(Derivation("i", inputs, name, given), [*local, *parent, *told]).values.tolist()
        for name in ("match_index", "match_ambiguous")
    ]


BY_DIRECTION = [[2, 1, 0], [False] * 3]


def test_links_are_believed_by_the_key_of_the_container():
    assert matched([(KEY, 0), (KEY, 1), (KEY, 2)]) == [[0, 1, 2], [False] * 3]
    # Some lead elsewhere, to nothing, or nowhere: the others are believed all the same.
    for other in [(0, 0), (OTHER, 1), (KEY, NOWHERE), (NOWHERE, NOWHERE), (NOWHERE, 0)]:
        assert matched([(KEY, 0), other, (KEY, 2)])[0] == [0, 1, 2]
        assert matched([other] * 3) == BY_DIRECTION
    assert matched([(OTHER, 0), (OTHER, 1), (OTHER, 2)]) == BY_DIRECTION


def test_two_objects_that_claim_one_are_in_doubt():
    assert matched([(KEY, 1), (KEY, 1), (KEY, 0)]) == [[-1, -1, 0], [True, True, False]]


def test_where_links_tell_containers_apart_only_linked_objects_match():
    for other in [(0, 0), (OTHER, 1), (NOWHERE, NOWHERE)]:
        index, doubt = matched([(KEY, 0), other, (KEY, 2)], by_link=True)
        assert (index, doubt) == ([0, -1, 2], [False] * 3)


def test_an_event_with_all_of_the_parents_objects_is_known_by_its_order():
    offsets, near = np.array([0, 2]), np.zeros(2, "f4")
    side = [plain(v, offsets) for v in (near, near, near + 5)]
    for ordered, right in [(True, [0, 1]), (False, [-1, -1])]:
        given = (*WINDOW, ("in_order", ordered))
        index = compute(Derivation("i", tuple("abcdef"), "match_index", given), [*side, *side])
        assert index.values.tolist() == right
