"""The match of objects, held against a plain Python twin and against what must always be true."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.alignment.match import Objects, Window, match
from columnservice.alignment.taken import distance, nothing, take_matched
from columnservice.errors import CountsMismatch
from columnservice.formats.matches import COMPARABLE
from columnservice.model import Ragged, plain

pytestmark = pytest.mark.fast

WINDOW = Window(0.01, 0.8, 1.25, 0.001)


def far(one, other):
    turn = abs(one[1] - other[1]) % (2 * math.pi)
    return math.hypot(one[0] - other[0], min(turn, 2 * math.pi - turn))


def near(one, other, window):
    """Whether two objects (eta, phi, pt, label) may be the same."""
    if not all(map(math.isfinite, (*one[:2], *other[:2]))) or one[3] != other[3]:
        return False
    any_pt = window.pt_low <= 0 and window.pt_high == math.inf
    ratio = any_pt or one[2] * window.pt_low <= other[2] <= one[2] * window.pt_high
    return far(one, other) <= window.max_dr and ratio


def twin(local, parent, window, links=None):
    """Index and ambiguity of one event, by sorting all pairs."""
    links = links or [-1] * len(local)
    pairs = sorted(
        (far(a, b), i, j)
        for i, a in enumerate(local)
        for j, b in enumerate(parent)
        if near(a, b, window)
    )
    index, taken, held, sure = [-1] * len(local), {}, {}, set()
    claims = [(i, j) for _, i, j in pairs if links[i] == j]
    claimed = Counter(j for _, j in claims)
    doubt = [False] * len(local)
    for i, j in claims:
        taken[j] = i
        if claimed[j] == 1:
            index[i] = j
            sure.add(i)
        else:
            doubt[i] = True
    for d, i, j in pairs:
        if index[i] < 0 and not doubt[i] and j not in taken:
            index[i], taken[j], held[i] = j, i, d
    for d, i, j in pairs:
        if j in claimed or i in sure:
            continue
        if index[i] < 0 or (index[i] != j and d <= max(COMPARABLE * held[i], window.resolution)):
            doubt[i] = True
        rival = taken.get(j, i)
        if rival != i and d <= max(COMPARABLE * held[rival], window.resolution):
            doubt[rival] = True
    return [-1 if d else i for i, d in zip(index, doubt, strict=True)], doubt


def ragged(events, column, dtype=np.float64):
    values = np.array([o[column] for event in events for o in event], dtype)
    return plain(values, np.cumsum([0, *map(len, events)]).astype(np.int64))


def objects(events, links=None):
    eta, phi, pt = (ragged(events, c) for c in range(3))
    link = None if links is None else plain(
        np.array([i for event in links for i in event], np.int64), eta.offsets[0]
    )  # fmt: skip
    return Objects(eta, phi, pt, (ragged(events, 3, np.int64),), link)


def frozen(ragged_):
    for array in (*ragged_.offsets, *ragged_.content.values()):
        array.setflags(write=False)
    return ragged_


angles = st.sampled_from([-math.pi, math.pi, 3.1415, -3.1415, 0.0, 0.0004, 0.001, 0.004, math.nan])
etas = st.sampled_from([0.0, 0.0003, 0.0007, 0.002, 0.005, 0.009, -2.4, 1e300, math.inf, math.nan])
momenta = st.sampled_from([0.0, 10.0, 10.5, 12.0, 30.0, -1.0, math.inf, math.nan])
found = st.tuples(etas, angles, momenta, st.integers(-1, 1))
smooth = st.tuples(st.floats(-0.01, 0.01), st.floats(3.13, 3.15), st.floats(9, 11), st.just(2**40))
events = st.lists(
    st.tuples(st.lists(found | smooth, max_size=6), st.lists(found | smooth, max_size=6)),
    max_size=4,
)
windows = st.sampled_from(
    [WINDOW, Window(0.005), Window(0.02, 0.9, 1.1, 0.0), Window(0.0, 0.0, math.inf, 1.0)]
)


@settings(max_examples=300, deadline=None)
@given(events, windows)
def test_the_kernel_says_what_sorting_all_pairs_says(told, window):
    local, parent = [e[0] for e in told], [e[1] for e in told]
    index, doubt = match(objects(local), objects(parent), window)
    right = [twin(a, b, window) for a, b in told]
    assert index.values.tolist() == [i for one in right for i in one[0]]
    assert doubt.values.tolist() == [d for one in right for d in one[1]]
    assert index.values.dtype == np.int32


@settings(max_examples=200, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_links_are_believed_where_the_window_allows_it(told, random):
    local, parent = [e[0] for e in told], [e[1] for e in told]
    links = [[random.randint(-1, 6) for _ in event] for event in local]
    index, doubt = match(objects(local, links), objects(parent), WINDOW)
    right = [twin(*e, WINDOW, link) for e, link in zip(told, links, strict=True)]
    assert index.values.tolist() == [i for one in right for i in one[0]]
    assert doubt.values.tolist() == [d for one in right for d in one[1]]


@settings(max_examples=100, deadline=None)
@given(events, windows)
def test_matches_are_one_to_one_and_within_the_window(told, window):
    local, parent = [e[0] for e in told], [e[1] for e in told]
    mine, theirs = objects(local), objects(parent)
    index, _ = match(mine, theirs, window)
    dr = distance(index, mine.eta, mine.phi, theirs.eta, theirs.phi)
    at = 0
    for ours, others in told:
        got = index.values[at : at + len(ours)]
        matched = got[got >= 0]
        assert len(set(matched.tolist())) == len(matched)
        for one, j, d in zip(ours, got, dr.values[at : at + len(ours)], strict=True):
            assert math.isnan(d) if j < 0 else near(one, others[j], window)
            assert j < 0 or math.isclose(d, far(one, others[j]), rel_tol=1e-4, abs_tol=1e-7)
        at += len(ours)


@settings(max_examples=100, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_the_order_of_objects_does_not_matter_but_for_equal_distances(told, random):
    local, parent = [e[0] for e in told], [e[1] for e in told]
    index, doubt = match(objects(local), objects(parent), WINDOW)
    orders = [random.sample(range(len(event)), len(event)) for event in parent]
    turned = [[e[i] for i in o] for e, o in zip(parent, orders, strict=True)]
    again, doubt_again = match(objects(local), objects(turned), WINDOW)
    numbers = np.repeat(np.arange(len(local)), [len(e) for e in local])
    back = [orders[n][i] if i >= 0 else -1 for n, i in zip(numbers, again.values, strict=True)]
    # What is not in doubt either way is the same object; ties are in doubt, so none is decided.
    sure = ~doubt.values & ~doubt_again.values
    assert np.array_equal(np.array(back, int)[sure], index.values[sure])


def test_read_only_arrays_will_do():
    one = [[(0.1, 0.2, 30.0, 0)]]
    side = objects(one)
    held = Objects(*(frozen(r) for r in (side.eta, side.phi, side.pt)), (frozen(side.labels[0]),))
    assert match(held, held, WINDOW)[0].values.tolist() == [0]


def test_phi_wraps():
    local, parent = [[(0.0, 3.1415, 30.0, 0)]], [[(0.0, -3.1415, 30.0, 0)]]
    index, _ = match(objects(local), objects(parent), WINDOW)
    assert index.values.tolist() == [0]


def test_two_candidates_that_cannot_be_told_apart_make_no_match():
    local = [[(0.0, 0.0, 30.0, 0)]]
    parent = [[(0.0002, 0.0, 30.0, 0), (0.0, 0.0004, 30.0, 0)]]
    index, doubt = match(objects(local), objects(parent), WINDOW)
    assert (index.values.tolist(), doubt.values.tolist()) == ([-1], [True])
    # … but a label, or the pt, may tell them apart.
    for other in [(0.0, 0.0004, 30.0, 1), (0.0, 0.0004, 90.0, 0)]:
        index, doubt = match(objects(local), objects([[parent[0][0], other]]), WINDOW)
        assert (index.values.tolist(), doubt.values.tolist()) == ([0], [False])


def test_two_local_objects_that_compete_for_one_make_no_match():
    local = [[(0.0, 0.0, 30.0, 0), (0.0003, 0.0, 30.0, 0)]]
    index, doubt = match(objects(local), objects([[(0.0, 0.0, 30.0, 0)]]), WINDOW)
    assert (index.values.tolist(), doubt.values.tolist()) == ([-1, -1], [True, True])


def test_labels_beyond_32_bits_are_told_apart():
    local = [[(0.0, 0.0, 30.0, 1), (1.0, 0.0, 30.0, 2**40 + 1)]]
    parent = [[(1.0, 0.0, 30.0, 2**40 + 1), (0.0, 0.0, 30.0, 2**41 + 1)]]
    index, _ = match(objects(local), objects(parent), WINDOW)
    assert index.values.tolist() == [-1, 0]


def test_many_candidates_of_one_event_are_all_seen():
    rng = np.random.default_rng(3)
    event = [(float(e), float(p), 10.0, 0) for e, p in rng.uniform(-0.05, 0.05, (200, 2))]
    window = Window(0.02, resolution=1e-4)
    index, doubt = match(objects([event]), objects([event[::-1]]), window)
    assert (index.values.tolist(), doubt.values.tolist()) == twin(event, event[::-1], window)


def test_columns_of_other_lengths_are_refused():
    two, one = ragged([[(0, 0, 0, 0)] * 2], 0), ragged([[(0, 0, 0, 0)]], 0)
    with pytest.raises(CountsMismatch, match="different numbers"):
        Objects(two, two, one)


def test_what_has_no_match_has_the_value_for_nothing():
    index = plain(np.array([1, -1, 0], np.int32), np.array([0, 2, 3]))
    offsets = np.array([0, 2, 4])
    for dtype, absent in [
        ("f4", None),
        ("f8", None),
        ("i4", -(2**31)),
        ("u2", 65535),
        ("?", False),
    ]:
        values = np.array([1, 0, 1, 1], dtype)
        got = take_matched(index, plain(values, offsets)).values
        assert got.dtype == values.dtype
        assert got[[0, 2]].tolist() == values[[1, 2]].tolist()
        assert np.isnan(got[1]) if absent is None else got[1] == absent
        assert np.array_equal(got[1], nothing(values.dtype), equal_nan=absent is None)
    records = Ragged((offsets,), {"key": np.arange(4, dtype="u4"), "x": np.arange(4.0)})
    got = take_matched(index, records)
    assert got.content["key"].tolist() == [1, 2**32 - 1, 2]
    lists = plain(np.arange(6), offsets, np.array([0, 1, 3, 3, 6]))
    got = take_matched(index, lists)
    assert [o.tolist() for o in got.offsets] == [[0, 2, 3], [0, 2, 2, 2]]
    assert got.values.tolist() == [1, 2]
