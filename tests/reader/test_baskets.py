from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.errors import DamagedFile, UnsupportedColumn
from columnservice.model import BranchRead, FileLocation
from columnservice.reader import FilePool, read_rows
from columnservice.reader import baskets as baskets_room
from columnservice.reader.baskets import basket_runs
from columnservice.reader.heldreads import coalesce
from tests.support.ragged import lists_of

pytestmark = pytest.mark.fast
EVENTS, BASKET = 1000, 50


@pytest.fixture(scope="module")
def baskets(tmp_path_factory):
    """A file of 20 baskets a branch: a scalar, a list and raw bytes."""
    path = tmp_path_factory.mktemp("reader") / "baskets.root"
    rng = np.random.default_rng(3)
    lists = ak.unflatten(rng.normal(size=4 * EVENTS).astype("f4"), [3, 5] * (EVENTS // 2))
    data = {"number": np.arange(EVENTS), "list": lists}
    with uproot.recreate(path) as file:
        file.mktree("Events", {"number": "int64", "list": "var * float32"})
        for start in range(0, EVENTS, BASKET):
            file["Events"].extend({k: v[start : start + BASKET] for k, v in data.items()})
    return FileLocation("baskets", (str(path),), "Events"), data


NUMBER, LIST = BranchRead("number"), BranchRead("list")


@settings(max_examples=50, deadline=None)
@given(rows=st.sets(st.integers(0, EVENTS - 1), max_size=40))
def test_rows_read_are_the_rows_of_a_direct_uproot_read(baskets, rows):
    location, data = baskets
    wanted = np.array(sorted(rows), np.int64)
    read = read_rows(FilePool(), location, [NUMBER, LIST, NUMBER], wanted)
    assert read.arrays[0].values.tolist() == wanted.tolist() == read.arrays[2].values.tolist()
    assert lists_of(read.arrays[1]) == ak.to_list(data["list"][wanted])


def test_only_the_baskets_that_hold_the_rows_are_read(baskets):
    location, _ = baskets
    pool = FilePool()
    with pool.tree(location) as opened:
        branch = opened.tree["list"]
        read_rows(pool, location, [LIST], np.array([0]))
        sizes = branch.member("fBasketBytes")
        before = opened.source.num_requested_bytes
        read = read_rows(pool, location, [LIST], np.array([3, 7, 120], np.int64))
        assert opened.source.num_requested_bytes - before == read.source_bytes
        assert read.source_bytes <= sizes[0] + sizes[2] + 8192
        whole = read_rows(pool, location, [LIST], np.arange(EVENTS))
        assert whole.source_bytes > 5 * read.source_bytes


def test_all_branches_are_fetched_in_one_request(baskets):
    location, _ = baskets
    pool = FilePool()
    with pool.tree(location) as opened:
        assert opened.tree["number"].num_entries == EVENTS
        before = opened.source.num_requests
        read_rows(pool, location, [NUMBER, LIST], np.arange(0, EVENTS, 100))
        assert opened.source.num_requests == before + 1


def test_a_whole_branch_is_not_copied_out_of_a_larger_window(baskets):
    location, data = baskets
    read = read_rows(FilePool(), location, [NUMBER], np.arange(EVENTS))
    assert np.array_equal(read.arrays[0].values, data["number"])


def test_raw_bytes_of_any_branch_can_be_read(data_dir):
    path = data_dir / "cms" / "miniaodsim_phys14_10ev.root"
    location = FileLocation("mini", (str(path),), "Events")
    raw = BranchRead("EventAuxiliary", raw=True)
    read = read_rows(FilePool(), location, [raw], np.array([0, 9]))
    assert read.arrays[0].depth == 1
    assert read.arrays[0].values.dtype == np.uint8
    assert len(read.arrays[0]) == 2


def test_a_branch_that_the_file_lacks_is_named(baskets):
    with pytest.raises(UnsupportedColumn, match="has no branch nothing"):
        read_rows(FilePool(), baskets[0], [BranchRead("nothing")], np.array([0]))


def test_rows_behind_the_end_are_refused(baskets):
    with pytest.raises(DamagedFile):
        read_rows(FilePool(), baskets[0], [NUMBER], np.array([EVENTS]))


@given(
    stops=st.lists(st.integers(1, 30), min_size=1, max_size=8, unique=True).map(sorted),
    data=st.data(),
)
def test_basket_runs_cover_exactly_the_baskets_that_hold_rows(stops, data):
    offsets = np.array([0, *stops], np.int64)
    rows = sorted(data.draw(st.sets(st.integers(0, stops[-1] - 1))))
    runs = basket_runs(offsets, np.array(rows, np.int64))
    covered = [i for first, last in runs for i in range(first, last)]
    holding = sorted({next(i for i, s in enumerate(stops) if r < s) for r in rows})
    assert covered == holding
    assert all(b < c for (_, b), (c, _) in pairwise(runs))


@given(
    ranges=st.lists(st.tuples(st.integers(0, 100), st.integers(1, 20)), max_size=10),
    gap=st.integers(0, 10),
)
def test_coalesced_ranges_cover_all_and_read_no_hole_wider_than_the_gap(ranges, gap):
    asked = [(start, start + length) for start, length in ranges]
    merged = coalesce(asked, gap)
    wanted = {b for start, stop in asked for b in range(start, stop)}
    read = [b for start, stop in merged for b in range(start, stop)]
    assert wanted <= set(read)
    assert len(read) == len(set(read))
    assert all(later[0] - earlier[1] > gap for earlier, later in pairwise(merged))
    holes = set(read) - wanted
    assert not any(all(h + k in holes for k in range(gap + 1)) for h in holes)


@pytest.mark.parametrize(
    ("first", "wrong"),
    [(50, b"\xa5" * 4), (50, b"\x7f" * 4), (50, b"\x00" * 4), (101, b"\xa5" * 404)],
)
def test_wrong_bytes_in_the_places_of_lists_are_damage(tmp_path, first, wrong):
    """They would be numbers of objects that nobody checks, where nothing is compressed."""
    lists = ak.Array([[float(n)] * 3 for n in range(100)])
    good, bad = tmp_path / "good.root", tmp_path / "bad.root"
    with uproot.recreate(good, compression=None) as file:
        file.mktree("Events", {"x": "var * float32"})
        file["Events"].extend({"x": lists})
    content = bytearray(good.read_bytes())
    with uproot.open({good: "Events"}) as tree:
        stop = int(tree["x"].member("fBasketSeek")[0]) + int(tree["x"].member("fBasketBytes")[0])
    at = stop - 4 * first
    assert content[at : at + 4] not in (b"\0" * 4, wrong)
    content[at : at + len(wrong)] = wrong
    bad.write_bytes(content)
    reads, rows, pool = (BranchRead("x"),), np.arange(100), FilePool()
    with pytest.raises(DamagedFile, match="end before they begin"):
        read_rows(pool, FileLocation("x", (str(bad),), "Events"), reads, rows)
    copied = FileLocation("x", (str(bad), str(good)), "Events")
    [found] = read_rows(pool, copied, reads, rows).arrays
    assert found.values.tolist() == [float(n) for n in range(100) for _ in range(3)]


@pytest.mark.parametrize(
    ("wrong", "counted"),
    [
        ([0, 12, 24, 360], False),
        ([0, 12, 60, 36], False),
        ([-12, 12, 24, 36], False),
        ([0, 12, 24, 360], True),
        ([0, 36, 24, 36], True),
    ],
)
def test_lists_that_are_left_to_uproot_are_looked_at_too(wrong, counted):
    """It makes rows of memory that nobody wrote out of them, and Awkward calls them valid."""
    kind = uproot.AsJagged(uproot.AsDtype(np.dtype((">f4", (3,)))))
    branch = SimpleNamespace(name="x")

    def made(offsets):
        told = np.array(offsets, np.int32)
        basket = SimpleNamespace(counts=np.diff(told) // 12 if counted else None)
        args = (basket, branch, {}, 0, uproot.interpretation.library.Awkward(), {})
        data = np.zeros(36, np.uint8)
        return baskets_room._lists(kind).basket_array(data, None if counted else told, *args)

    assert len(made([0, 12, 24, 36])) == 3
    with pytest.raises(ValueError, match="end before they begin"):
        made(wrong)
