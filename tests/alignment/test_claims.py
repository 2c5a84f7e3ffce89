"""What local objects say they are: links of all kinds, and whole events in the parent's order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from columnservice.alignment.claims import NOWHERE, in_order, linked
from columnservice.alignment.match import match
from columnservice.model import plain
from tests.alignment.test_match import WINDOW, events, near, objects, windows

pytestmark = pytest.mark.fast


def test_only_links_with_the_containers_key_lead_into_it():
    offsets = np.array([0, 4, 6])
    keys = plain(np.array([7, 0, 8, 7, 2**32 - 1, 7], "u4"), offsets)
    places = plain(np.array([2, 0, 1, NOWHERE, 3, 0], "u4"), offsets)
    claim = linked(keys, places, 7)
    assert claim.values.tolist() == [2, -1, -1, -1, -1, 0]
    assert claim.offsets[0].tolist() == offsets.tolist()


@settings(max_examples=300, deadline=None)
@given(events, windows)
def test_events_that_lack_none_of_the_parents_objects_are_known_by_their_order(told, window):
    local, parent = [e[0] for e in told], [e[1] for e in told]
    for theirs in (parent, local):
        claim = in_order(objects(local), objects(theirs), window)
        right = []
        for ours, others in zip(local, theirs, strict=True):
            same = len(ours) == len(others) and all(
                near(a, b, window) for a, b in zip(ours, others, strict=True)
            )
            right += [i if same else -1 for i in range(len(ours))]
        assert claim.values.tolist() == right


def test_objects_that_nothing_else_tells_apart_are_told_apart_by_their_order():
    event = [(0.1, 0.2, 30.0, 0), (0.1, 0.2, 30.0, 0), (1.0, 0.2, 30.0, 0)]
    whole = objects([event])
    index, doubt = match(whole, whole, WINDOW)
    assert (index.values.tolist(), doubt.values.tolist()) == ([-1, -1, 2], [True, True, False])
    claim = in_order(whole, whole, WINDOW)
    index, doubt = match(objects([event], [claim.values.tolist()]), whole, WINDOW)
    assert (index.values.tolist(), doubt.values.any()) == ([0, 1, 2], False)
    # A selection of them says nothing by its order.
    assert in_order(objects([event[1:]]), whole, WINDOW).values.tolist() == [-1, -1]


def test_local_objects_that_say_they_are_the_same_one_have_no_match():
    local = [(0.0, 0.0, 30.0, 0), (0.0003, 0.0, 30.0, 0), (2.0, 0.0, 30.0, 0)]
    parent = [(0.0, 0.0, 30.0, 0), (0.0004, 0.0, 30.0, 0), (2.0, 0.0, 30.0, 0)]
    index, doubt = match(objects([local], [[0, 0, 2]]), objects([parent]), WINDOW)
    assert (index.values.tolist(), doubt.values.tolist()) == ([-1, -1, 2], [True, True, False])
    index, doubt = match(objects([local], [[0, 1, 2]]), objects([parent]), WINDOW)
    assert (index.values.tolist(), doubt.values.any()) == ([0, 1, 2], False)
