"""Indexing real files: what is found equals a direct read; what cannot be used is told."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import uproot

from columnservice.catalogue.indexing import MOST_CLUSTER_STOPS, index_file, thinned
from columnservice.catalogue.records import columns_to_json, columnset_of
from columnservice.errors import (
    ColumnServiceError,
    DamagedFile,
    FileError,
    NoEventKeys,
    NoTree,
    NotRoot,
    Unreachable,
)
from columnservice.model import LumiRange
from columnservice.reader import FilePool
from tests.support.ntuples import write_ntuple

GOOD = [
    ("cms/nano_dy.root", "nanoaod", ("run", "luminosityBlock")),
    ("cms_demo_mini/local_nano_like_8ev.root", "nanoaod", ("run", "luminosityBlock")),
    (
        "atlas_demo_derived/local_60ev.root",
        "physlite",
        ("EventInfoAuxDyn.runNumber", "EventInfoAuxDyn.lumiBlock"),
    ),
    ("rntuple/nano_dy_rntuple.root", "nanoaod", ("run", "luminosityBlock")),
    (
        "rntuple/uproot-physlite-rntuple_v1-0-0-0.root",
        "physlite",
        ("EventInfoAuxDyn:runNumber", "EventInfoAuxDyn:lumiBlock"),
    ),
]


@pytest.mark.parametrize(("name", "format_name", "branches"), GOOD)
def test_a_file_is_what_a_direct_read_says(data_dir, name, format_name, branches):
    path = data_dir / name
    record, columnset = index_file(str(path), format_name, {})
    with uproot.open(path) as file:
        tree = file[record.tree]
        run, lumi = (tree[b].array(library="np") for b in branches)
        assert record.identity.uuid == str(file.file.uuid)
        assert record.entries == tree.num_entries
    assert (record.lfn, record.url) == (str(path), str(path))
    assert record.identity.size_bytes == path.stat().st_size
    assert record.mtime_seconds == int(path.stat().st_mtime)
    assert record.cluster_stops[-1] == record.entries
    held = {(r.run, b) for r in record.lumis for b in range(r.first, r.last + 1)}
    assert set(zip(run.tolist(), lumi.tolist(), strict=True)) <= held
    assert columnset.digest == record.columnset
    assert {o.column.support for o in columnset.columns} >= {"ok"}


@pytest.mark.fast
def test_a_file_without_a_uuid_is_refused_with_what_to_do():
    path = Path(__file__).parents[1] / "reader" / "data" / "root_ntuple.root"
    with pytest.raises(FileError, match=r"has no UUID.*RNTupleWriter::Append"):
        index_file(str(path), "nanoaod", {})


@pytest.mark.fast
def test_clusters_and_luminosity_blocks_of_an_rntuple_are_those_written(tmp_path):
    events = {
        "run": np.ones(25, np.uint32),
        "luminosityBlock": np.arange(25, dtype=np.uint32) // 5,
        "event": np.arange(25, dtype=np.uint64),
    }
    blocks = {"run": np.ones(7, np.uint32), "luminosityBlock": np.arange(7, dtype=np.uint32)}
    path = write_ntuple(tmp_path / "a.root", "Events", events, cluster_rows=10)
    record, _ = index_file(str(path), "nanoaod", {})
    assert record.cluster_stops == (10, 20, 25)
    assert record.lumis == (LumiRange(1, 0, 4),)
    with uproot.update(path) as file:
        file["LuminosityBlocks"] = blocks
    record, _ = index_file(str(path), "nanoaod", {})
    assert record.lumis == (LumiRange(1, 0, 6),)


def test_an_edm_parent_has_the_luminosity_blocks_of_the_truth(data_dir):
    truth = json.loads((data_dir / "cms_demo_mini" / "truth.json").read_text())
    record, _ = index_file(str(data_dir / "cms/miniaodsim_phys14_10ev.root"), "miniaod", {})
    held = {(r.run, b) for r in record.lumis for b in range(r.first, r.last + 1)}
    assert {(run, lumi) for run, lumi, _ in truth["ids"]} <= held


@pytest.mark.fast
def test_columns_survive_the_catalogue(data_dir):
    _, columnset = index_file(str(data_dir / "cms_demo_syn/parent_0.root"), "miniaod", {})
    document = json.loads(json.dumps(columns_to_json(columnset.columns)))
    assert columnset_of(columnset.digest, document) == columnset


@pytest.mark.fast
def test_files_of_one_layout_share_their_columns(data_dir):
    names = [str(data_dir / f"cms_demo_syn/parent_{n}.root") for n in (0, 1)]
    (_, first), (_, second) = (index_file(name, "miniaod", {}) for name in names)
    assert second is first
    _, other = index_file(str(data_dir / "edm_unit/run3scouting_14_0_split_0.root"), "miniaod", {})
    assert other.digest != first.digest


def test_an_empty_file_is_registered_with_its_columns(data_dir):
    record, columnset = index_file(
        str(data_dir / "cms/miniaodsim_2018_schema_0ev.root"), "miniaod", {}
    )
    assert (record.entries, record.lumis, record.cluster_stops) == (0, (), ())
    assert columnset.columns


def test_files_that_cannot_be_used_are_told_apart(data_dir, tmp_path):
    def failure(path, format_name="nanoaod"):
        with pytest.raises(ColumnServiceError) as caught:
            index_file(str(path), format_name, {})
        assert "\n" not in str(caught.value)
        return caught.value

    good = data_dir / "cms/nano_dy.root"
    (tmp_path / "text.root").write_text("no ROOT file at all, but long enough to look at\n" * 100)
    (tmp_path / "empty.root").write_bytes(b"")
    assert isinstance(failure(tmp_path / "text.root"), NotRoot)
    assert isinstance(failure(tmp_path / "empty.root"), FileError)
    for size_bytes in (100, 1000, good.stat().st_size // 2, good.stat().st_size - 1):
        (tmp_path / "cut.root").write_bytes(good.read_bytes()[:size_bytes])
        assert isinstance(failure(tmp_path / "cut.root"), DamagedFile), size_bytes
    assert isinstance(failure(tmp_path / "absent.root"), Unreachable)
    assert isinstance(failure(tmp_path), ColumnServiceError)
    assert isinstance(failure(good, "physlite"), NoTree)
    missing = failure(data_dir / "cms/missing_luminosityBlock.root")
    assert isinstance(missing, NoEventKeys)
    assert "luminosityBlock" in missing.message


@pytest.mark.fast
def test_a_pool_may_be_given_and_stays_usable(data_dir, tmp_path):
    copy = tmp_path / "copy.root"
    shutil.copy(data_dir / "cms_demo_mini/local_nano_like_8ev.root", copy)
    pool = FilePool(open_files=2)
    assert index_file(str(copy), "nanoaod", {}, pool) == index_file(str(copy), "nanoaod", {}, pool)
    pool.close()


@pytest.mark.fast
@pytest.mark.parametrize("clusters", [1, 7, MOST_CLUSTER_STOPS, 100_000])
def test_cluster_stops_stay_few_ascending_and_end_at_the_end(clusters):
    offsets = np.arange(clusters + 1) * 10
    stops = thinned(offsets.tolist(), clusters * 10)
    assert len(stops) == min(clusters, MOST_CLUSTER_STOPS)
    assert stops[-1] == clusters * 10
    assert all(a < b for a, b in itertools.pairwise((0, *stops)))
    assert set(stops) <= set(offsets.tolist())


@pytest.mark.fast
def test_cluster_stops_without_a_common_basket_are_the_end():
    assert thinned([0], 50) == (50,)
    assert thinned([0, 50], 50) == (50,)
    assert thinned([0], 0) == ()
