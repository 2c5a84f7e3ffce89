"""Runs over several datasets in every executor; wrong joins are never skipped; one cache for all.

Small pairs whose truth is known by construction: the local files lack ``Muon``, whose ``pt`` is the
event's number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea import processor
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

import columnservice
from columnservice.client.report import LEDGER
from columnservice.nanoevents.ahead import AHEAD
from columnservice.nanoevents.memory import MEMORY

from .test_provenance import KEYS, write_nano

pytestmark = [
    pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Skipping bad file:UserWarning"),
    pytest.mark.filterwarnings("ignore:Performed attempt:UserWarning"),
]
EVENTS = len(KEYS)
SUM = float(sum(range(EVENTS)))


def of_events(events) -> dict[str, Any]:
    """Counts, and a sum that tells events apart; where no parent is, nothing is added."""
    name = events.metadata["dataset"]
    return {name: {"events": len(events), "sum": float(ak.sum(events.Muon.pt))}}


@dataclass
class Place:
    """Two datasets of one file each, with different values, and a client."""

    client: Any
    service: Any
    folder: Path
    files: dict[str, Path]

    def fileset(self, *names: str) -> dict[str, Any]:
        return {n: {"files": {str(self.files[n]): "Events"}} for n in names or self.files}


@pytest.fixture(scope="module")
def place(service, tmp_path_factory):
    folder = tmp_path_factory.mktemp("executors")
    files = {}
    for number, name in enumerate(("first", "second"), start=1):
        rho = np.linspace(10, 30, EVENTS).astype("f4") * number
        muons = [[float(e * number)] for e in range(EVENTS)]
        parent = write_nano(folder / f"{name}_parent.root", KEYS, rho, muons)
        files[name] = write_nano(folder / f"{name}.root", KEYS, rho)
        service.register(f"exec_{name}_parent", "nanoaod", [parent])
        service.register(f"exec_{name}", "nanoaod", [files[name]], parent=f"exec_{name}_parent")
    return Place(columnservice.connect(service.url), service, folder, files)


@pytest.fixture(scope="module")
def lacking(place, service):
    """A dataset whose last 10 events have no parent."""
    rho = np.linspace(10, 30, EVENTS).astype("f4")
    muons = [[float(e)] for e in range(EVENTS - 10)]
    parent = write_nano(place.folder / "less_parent.root", KEYS[:-10], rho[:-10], muons)
    local = write_nano(place.folder / "less.root", KEYS, rho)
    service.register("exec_less_parent", "nanoaod", [parent])
    service.register("exec_less", "nanoaod", [local], parent="exec_less_parent")
    return local


@pytest.fixture(autouse=True)
def forgetful():
    """Each test is a process of its own, as far as memory goes."""
    MEMORY.clear()
    AHEAD.renew()
    LEDGER.renew()


@pytest.fixture(scope="module")
def cluster():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as local,
        Client(local) as dask_client,
    ):
        yield dask_client


@pytest.fixture(params=["iterative", "futures", "dask"])
def executor(request):
    if request.param == "iterative":
        return processor.IterativeExecutor(status=False)
    if request.param == "futures":
        return processor.FuturesExecutor(workers=2, status=False)
    return processor.DaskExecutor(client=request.getfixturevalue("cluster"), status=False)


def run(place, executor, fileset, chunksize=30, skip=False, **more):
    runner = processor.Runner(
        executor=executor, schema=NanoAODSchema, chunksize=chunksize, skipbadfiles=skip
    )
    return place.client.run(runner, fileset, of_events, **more)


def test_a_fileset_of_several_datasets_in_every_executor(place, executor):
    found = run(place, executor, place.fileset())
    assert found == {
        "first": {"events": EVENTS, "sum": SUM},
        "second": {"events": EVENTS, "sum": 2 * SUM},
    }
    report = place.client.report()
    assert set(report.record["datasets"]) == {"exec_first", "exec_second"}
    for name in ("first", "second"):
        [file] = report.record["datasets"][f"exec_{name}"]["files"].values()
        assert (file["path"], file["ranges"]) == (str(place.files[name]), [[0, EVENTS]])
        assert file["traffic"]["requests"] >= 4
    assert set(report.columns) == {"Muon_pt", "nMuon"}


def test_a_missing_event_is_never_skipped_with_its_file(place, lacking, executor):
    fileset = {"less": {"files": {str(lacking): "Events"}}, **place.fileset("first")}
    with pytest.raises(Exception, match=r".") as caught:
        run(place, executor, fileset, skip=True)
    assert "have no parent" in _told(caught.value)


def test_without_skipping_and_with_a_mask_the_rest_is_counted(place, lacking, executor):
    fileset = {"less": {"files": {str(lacking): "Events"}}}
    found = run(place, executor, fileset, skip=True, missing="mask")
    assert found == {"less": {"events": EVENTS, "sum": float(sum(range(EVENTS - 10)))}}


def test_a_file_that_cannot_be_read_is_skipped_and_nothing_of_it_is_counted(place, executor):
    fileset = place.fileset("first")
    fileset["gone"] = {"files": {str(place.folder / "gone.root"): "Events"}}
    found = run(place, executor, fileset, skip=True)
    assert found == {"first": {"events": EVENTS, "sum": SUM}}


def _told(error: BaseException | None) -> str:
    """The messages of an exception's chain."""
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return " ".join(texts)


def test_several_local_files_merged_into_a_private_one(place, service, tmp_path):
    """Two registered files of one dataset, merged, in another order: as fast as known files."""
    half = EVENTS // 2
    rho = np.linspace(10, 30, EVENTS).astype("f4")
    muons = [[float(e)] * (e % 3) for e in range(EVENTS)]
    parts = [slice(0, half), slice(half, EVENTS)]
    parents = [
        write_nano(tmp_path / f"p{n}.root", KEYS[s], rho[s], muons[s]) for n, s in enumerate(parts)
    ]
    locals_ = [write_nano(tmp_path / f"l{n}.root", KEYS[s], rho[s]) for n, s in enumerate(parts)]
    service.register("exec_merge_parent", "nanoaod", parents)
    service.register("exec_merge", "nanoaod", locals_, parent="exec_merge_parent")
    order = np.random.default_rng(3).permutation(EVENTS)[: EVENTS - 7]
    merged = write_nano(tmp_path / "merged.root", [KEYS[i] for i in order], rho[order])
    truth = [muons[i] for i in order]
    told = place.client.nanoevents(NanoAODSchema, dataset="exec_merge", read_ahead=False)

    def values(chunk: int) -> list[list[float]]:
        MEMORY.clear()
        found = []
        for start in range(0, len(order), chunk):
            events = NanoEventsFactory.from_root(
                {str(merged): "Events"},
                entry_start=start,
                entry_stop=min(start + chunk, len(order)),
                **told,
            ).events()
            found += events.Muon.pt.to_list()
        return found

    assert values(len(order)) == truth
    misses = service.counter("columnservice_piece_misses_total")
    asked = place.client.report().requests
    assert values(31) == truth
    # Others ask for other chunks of the same file: nothing is made again, nothing uploaded again.
    assert service.counter("columnservice_piece_misses_total") == misses
    chunks = -(-len(order) // 31)
    assert place.client.report().requests - asked <= 2 * chunks
    with uproot.open(merged) as file:
        uuid = str(file.file.uuid)
    [mine] = place.client.report().record["datasets"]["exec_merge"]["files"]
    assert mine == uuid


@pytest.mark.parametrize("chunksize", [7, 33, 100])
def test_the_cache_is_one_for_all_chunk_sizes(place, service, chunksize):
    iterative = processor.IterativeExecutor(status=False)
    run(place, iterative, place.fileset("first"), chunksize=50)
    misses = service.counter("columnservice_piece_misses_total")
    hits = service.counter("columnservice_piece_hits_total")
    MEMORY.clear()
    found = run(place, iterative, place.fileset("first"), chunksize=chunksize)
    assert found["first"] == {"events": EVENTS, "sum": SUM}
    assert service.counter("columnservice_piece_misses_total") == misses
    assert service.counter("columnservice_piece_hits_total") > hits


def test_reports_of_processors_travel_and_add_up(place, executor):
    runner = processor.Runner(executor=executor, schema=NanoAODSchema, chunksize=40)
    found = place.client.run(runner, place.fileset("first"), reporting)
    report = found["report"]
    assert found["sum"] == SUM
    [file] = report.record["datasets"]["exec_first"]["files"].values()
    assert file["ranges"] == [[0, EVENTS]]
    [parent] = file["parents"]
    assert (Path(parent["lfn"]).name, parent["servers"]) == ("first_parent.root", ["local"])
    assert json.loads(report.to_json()) == report.record
    pinned = place.client.run(runner, place.fileset("first"), of_events, pin=report)
    assert pinned["first"]["sum"] == SUM


def reporting(events) -> dict[str, Any]:
    total = float(ak.sum(events.Muon.pt))
    return {"sum": total, "report": events.columnservice_report()}
