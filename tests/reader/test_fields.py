"""Rows of RNTuples: of one that ROOT wrote against what ROOT reads; of uproot's by clusters."""

from __future__ import annotations

import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.errors import DamagedFile, UnsupportedColumn
from columnservice.formats.discovery import Readable, Refused
from columnservice.model import BranchRead, FileLocation
from columnservice.reader import FilePool, fields, heldreads, read_rows
from columnservice.reader.pages import Spans
from tests.support.ntuples import write_ntuple
from tests.support.truth import as_awkward

pytestmark = pytest.mark.fast
DATA = Path(__file__).parent / "data"
ROWS = 300
LATE = 150  # row from which on some fields exist


@pytest.fixture(scope="module")
def location():
    return FileLocation("root", (str(DATA / "root_ntuple.root"),), "Events")


@pytest.fixture(scope="module")
def truth():
    """What ROOT read, per field."""
    tree = uproot.open(DATA / "root_tree.root")["Events"]
    found = {name: tree[name].array() for name in tree.keys()}  # noqa: SIM118
    items = ak.flatten(found.pop("vv_items"))
    found["vv"] = ak.unflatten(
        ak.unflatten(items, ak.flatten(found["vv_counts"])), ak.num(found["vv_counts"])
    )
    del found["vv_counts"]
    pairs = {"_0": found.pop("vp_first"), "_1": found.pop("vp_second")}
    found |= {"vp": ak.zip(pairs), "vp._0": pairs["_0"], "vp._1": pairs["_1"]}
    first, second = found.pop("varr_0"), found.pop("varr_1")
    found["varr"] = ak.concatenate([first[:, :, None], second[:, :, None]], axis=2)
    return found


def read(location, names, rows, pool=None):
    found = read_rows(pool or FilePool(), location, [BranchRead(n) for n in names], rows)
    return dict(zip(names, found.arrays, strict=True)), found


@settings(max_examples=30, deadline=None)
@given(rows=st.sets(st.integers(0, ROWS - 1), max_size=60), ahead=st.booleans())
def test_rows_are_what_root_reads_however_they_are_stored(location, truth, rows, ahead):
    wanted = np.array(sorted(rows), np.int64)
    with pytest.MonkeyPatch.context() as patch:
        if not ahead:
            never_ahead(patch)
        found, _ = read(location, list(truth), wanted)
    for name, values in found.items():
        array = as_awkward(values) if values.offsets else ak.Array(values.values)
        assert array.to_list() == truth[name][wanted].to_list(), name
    assert found["c"].values.dtype == np.int8
    assert found["qu"].values.dtype == np.float32
    assert [o.dtype for o in found["vv"].offsets] == [np.int64, np.int64]


def never_ahead(patch):
    patch.setattr(fields, "AHEAD_BYTES", -1)
    patch.setattr(fields, "AHEAD_PART", 2.0)


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_event_numbers_stay_what_they_are_where_clusters_store_them_differently(dtype):
    """A column may have several representations; int64 beside uint64 would become float64."""
    parts = [np.array([2**53 + 1], np.int64), np.array([2**60 + 3, 7], np.uint64)]
    found = fields._together(parts, np.dtype(dtype))
    assert found.dtype == dtype
    assert found.tolist() == [2**53 + 1, 2**60 + 3, 7]
    assert fields._together(parts[1:], np.dtype(dtype)).tolist() == [2**60 + 3, 7]
    assert fields._together([], np.dtype(dtype)).tolist() == []


def test_every_field_is_read_or_refused_with_a_reason(location, truth):
    with FilePool().tree(location) as opened:
        found = {path: field.found for path, field in opened.tree.fields.items()}
    assert {path for path, one in found.items() if isinstance(one, Readable)} == set(truth)
    refused = {path: one.reason for path, one in found.items() if isinstance(one, Refused)}
    assert refused == {
        "opt": "std::optional<float>: an item that may be absent",
        "s": "text: only numbers are delivered",
    }


def pages_that_hold(model, column, elements):
    """Brute force: (start, stop) of each page of a column, in its cluster, that holds elements."""
    found = set()
    for cluster, summary in enumerate(model.cluster_summaries):
        link = model.page_link_list[cluster]
        at = summary.num_first_entry
        for page in link[column].pages:
            if any(at <= e < at + page.num_elements for e in elements):
                found.add((page.locator.offset, page.locator.offset + page.locator.num_bytes))
            at += page.num_elements
    return found


def test_only_pages_that_hold_the_rows_are_asked_for(location, monkeypatch):
    never_ahead(monkeypatch)
    asked = []
    hold = heldreads.HeldReads.hold
    monkeypatch.setattr(
        heldreads.HeldReads,
        "hold",
        lambda self, ranges: asked.append(set(ranges)) or hold(self, ranges),
    )
    pool, rows = FilePool(), [5, 6, 149, 250, 281]
    with pool.tree(location) as opened:
        model = opened.tree.model
        asked.clear()
        read(location, ["event"], np.array(rows, np.int64), pool)
        (column,) = opened.tree.columns_of[opened.tree.fields["event"].leaves[0].field]
    pages = pages_that_hold(model, column, rows)
    assert len(pages) == 4
    assert sum(len(cluster[column].pages) for cluster in model.page_link_list) > 10
    assert asked == [pages | {(start, stop + 8) for start, stop in pages}]


def test_offsets_come_first_and_then_the_items_of_the_wanted_rows_only(
    location, truth, monkeypatch
):
    never_ahead(monkeypatch)
    pool, rows = FilePool(), np.array([60], np.int64)
    with pool.tree(location) as opened:
        assert opened.tree.num_entries == ROWS
        before = opened.source.num_requests
        found, _ = read(location, ["vv"], rows, pool)
        # two list axes and the items; a column of one page in a cluster is read along
        assert 1 < opened.source.num_requests - before <= 3
    assert as_awkward(found["vv"]).to_list() == truth["vv"][rows].to_list()


def test_one_request_does_where_little_is_stored_or_most_is_wanted(location, truth):
    pool = FilePool()
    with pool.tree(location) as opened:
        assert opened.tree.num_entries == ROWS
        for rows in (np.arange(ROWS), np.array([3, 299], np.int64)):
            before = opened.source.num_requests
            read(location, list(truth), rows, pool)
            assert opened.source.num_requests == before + 1


def test_fields_added_later_are_empty_before(location, truth):
    found, _ = read(location, ["late", "lateNumber", "lateArray"], np.arange(ROWS))
    assert not found["lateNumber"].values[:LATE].any()
    assert np.diff(found["late"].offsets[0])[:LATE].sum() == 0
    assert found["lateArray"].offsets[0].tolist() == list(range(0, 2 * ROWS + 1, 2))
    assert found["lateNumber"].values[LATE:].tolist() == list(range(LATE, ROWS))


@pytest.mark.parametrize("seed", range(6))
def test_a_flipped_byte_is_damage_and_never_a_wrong_number(location, truth, tmp_path, seed):
    data = bytearray(Path(location.replicas[0]).read_bytes())
    names, rows = list(truth), np.arange(ROWS)
    whole, _ = read(location, names, rows)
    rng = np.random.default_rng(seed)
    seen = 0
    for at in rng.integers(300, len(data) - 300, 12):
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(rng.integers(8))
        path = tmp_path / "flipped.root"
        path.write_bytes(flipped)
        try:
            found, _ = read(FileLocation("flipped", (str(path),), "Events"), names, rows)
        except DamagedFile:
            seen += 1
            continue
        for name in names:  # it hit what is not read
            for one, other in zip(found[name].offsets, whole[name].offsets, strict=True):
                assert np.array_equal(one, other), name
            for member, values in whole[name].content.items():
                assert found[name].content[member].tobytes() == values.tobytes(), name
    assert seen > 6


def test_a_truncated_file_is_damaged(location, tmp_path):
    data = Path(location.replicas[0]).read_bytes()
    path = tmp_path / "short.root"
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DamagedFile):
        read(FileLocation("short", (str(path),), "Events"), ["event"], np.arange(ROWS))


def test_a_field_that_the_file_lacks_or_that_is_refused_is_named(location):
    for name in ("nothing", "s"):
        with pytest.raises(UnsupportedColumn, match=f"no readable field {name}"):
            read(location, [name], np.array([0], np.int64))


def test_rows_behind_the_end_are_refused(location):
    with pytest.raises(DamagedFile):
        read(location, ["event"], np.array([ROWS], np.int64))


def test_the_next_replica_serves_when_a_page_of_the_first_is_damaged(location, tmp_path):
    with FilePool().tree(location) as opened:
        model = opened.tree.model
        (column,) = opened.tree.columns_of[opened.tree.fields["d"].leaves[0].field]
        place = model.page_link_list[0][column].pages[0].locator.offset
    bad, good = tmp_path / "bad.root", tmp_path / "good.root"
    shutil.copy(location.replicas[0], good)
    data = bytearray(good.read_bytes())
    data[place + 11] ^= 4
    bad.write_bytes(data)
    both = FileLocation("both", (str(bad), str(good)), "Events")
    assert read(both, ["d"], np.array([0], np.int64))[1].url == str(good)


EVENTS, CLUSTER = 4000, 500


@pytest.fixture(scope="module")
def clusters(tmp_path_factory):
    """An RNTuple of uproot: eight clusters, each column one page of each, without checksums."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(6, EVENTS)
    arrays = {
        "event": ak.Array(np.arange(EVENTS, dtype=np.uint64)),
        "Muon": ak.unflatten(
            ak.zip({f: rng.normal(size=counts.sum()).astype("f4") for f in ("pt", "eta")}), counts
        ),
        "a.b": ak.Array(rng.normal(size=EVENTS)),
    }
    path = write_ntuple(
        tmp_path_factory.mktemp("fields") / "clusters.root", "Events", arrays, CLUSTER
    )
    return FileLocation("clusters", (str(path),), "Events"), arrays


def test_only_the_clusters_that_hold_the_rows_are_read(clusters):
    location, arrays = clusters
    pool = FilePool()
    with pool.tree(location) as opened:
        assert opened.tree.cluster_starts == tuple(range(0, EVENTS + 1, CLUSTER))
        whole = read(location, ["Muon.pt"], np.arange(EVENTS), pool)[1]
        before = opened.source.num_requested_bytes
        rows = np.array([501, 502, 3999], np.int64)
        found, part = read(location, ["Muon.pt"], rows, pool)
        assert opened.source.num_requested_bytes - before == part.source_bytes
    assert part.source_bytes < whole.source_bytes * 2.2 / 8
    assert as_awkward(found["Muon.pt"]).to_list() == arrays["Muon"].pt[rows].to_list()


def test_a_field_with_a_dot_in_its_name_is_read_all_the_same(clusters):
    """uproot takes the dot for a step down and does not find it."""
    location, arrays = clusters
    found, _ = read(location, ["a.b"], np.arange(EVENTS))
    assert found["a.b"].values.tolist() == arrays["a.b"].to_list()


@given(
    lengths=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=12),
)
def test_spans_are_the_elements_that_they_stand_for(lengths):
    starts, stops, at, want = [], [], 0, []
    for hole, length in lengths:
        starts.append(at + hole)
        stops.append(at + hole + length)
        want += range(at + hole, at + hole + length)
        at += hole + length
    spans = Spans.joined(np.array(starts, np.int64), np.array(stops, np.int64))
    assert spans.elements().tolist() == want
    assert len(spans) == len(want)
    assert (spans.starts[1:] > spans.stops[:-1]).all()
    before = spans.with_ones_before().elements().tolist()
    assert before == sorted({e for w in want for e in (max(w - 1, 0), w)})
