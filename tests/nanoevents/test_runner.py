"""coffea's Runner, its executors, tracing, dask mode and preprocessing, with remote columns."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from coffea import processor
from coffea.dataset_tools import apply_to_fileset, preprocess
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory
from coffea.nanoevents.trace import trace

from .small import PARTS, ROWS

pytestmark = pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning")


class Sums(processor.ProcessorABC):
    """Local and remote columns, a new collection and its vectors."""

    def process(self, events):
        pairs = ak.combinations(events.PFCands, 2)
        return {
            "events": len(events),
            "rho": float(ak.sum(events.rho)),
            "dxy": float(ak.sum(events.Muon.dxy * events.Muon.charge)),
            "parts": float(ak.sum(events.PFCands.pt)),
            "pairs": float(ak.sum((pairs["0"] + pairs["1"]).pt)),
            "met": float(ak.sum(events.MET.pt)),
        }

    def postprocess(self, accumulator):
        pass


def truth() -> dict[str, float]:
    parts = int(PARTS.sum())
    return {
        "events": ROWS,
        "rho": float(np.arange(ROWS).sum() + ROWS / 2),
        "dxy": 0.0,
        "parts": parts * (parts + 1) / 2,
    }


@pytest.fixture
def options(small, service):
    return service.nanoevents(NanoAODSchema, dataset="small")


@pytest.fixture
def fileset(small):
    return {"d": {"treename": "Events", "files": [str(small.path)]}}


def agree(found: dict[str, float]) -> None:
    for name, value in truth().items():
        assert found[name] == pytest.approx(value), name
    assert found["pairs"] > 0
    assert found["met"] == pytest.approx(np.linspace(0, 9, ROWS).sum(), rel=1e-5)


def run(executor, options, fileset, **more):
    runner = processor.Runner(executor=executor, schema=options["schemaclass"], chunksize=8)
    return runner(fileset, Sums(), uproot_options=options["uproot_options"], **more)


def test_the_iterative_executor_needs_few_requests(options, fileset, server):
    agree(run(processor.IterativeExecutor(status=False), options, fileset))
    by_range: dict[tuple[int, int], int] = {}
    for request in server.data_requests:
        by_range[request.rows] = by_range.get(request.rows, 0) + 1
    assert next(iter(by_range)) == (0, 8)
    assert list(by_range.values())[1:] == [1, 1]


@pytest.mark.filterwarnings("ignore:Exception during typetracer tracing:RuntimeWarning")
def test_tracing_gives_one_request_per_range(options, fileset, server):
    executor = processor.IterativeExecutor(status=False)
    agree(run(executor, options, fileset, trace=trace))
    assert [r.rows for r in server.data_requests] == [(0, 8), (8, 16), (16, 24)]


def test_processes_of_their_own_are_given_everything_they_need(options, fileset):
    """The futures executor pickles schema and options to its processes."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        agree(run(processor.FuturesExecutor(pool=pool, status=False), options, fileset))


def test_dask_mode_computes_the_same(small, options, server):
    files = {str(small.path): {"object_path": "Events", "steps": [[0, 10], [10, 24]]}}
    events = NanoEventsFactory.from_root(files, mode="dask", **options).events()
    assert server.data_requests == []
    total = ak.sum(events.PFCands.pt) + 0 * ak.sum(events.Muon.dxy)
    assert float(total.compute(scheduler="synchronous")) == pytest.approx(truth()["parts"])
    asked = [set(r.columns) for r in server.data_requests]
    assert len(asked) == 2
    assert all("PFCands_pt" in columns and "Muon_dxy" in columns for columns in asked)


@pytest.mark.filterwarnings("ignore:Passing a dict to preprocess:DeprecationWarning")
def test_preprocessed_filesets_take_the_options(small, options):
    files = {"d": {"files": {str(small.path): "Events"}}}
    runnable, _ = preprocess(
        files, step_size=8, uproot_options=options["uproot_options"], scheduler="synchronous"
    )
    out = apply_to_fileset(
        lambda events: ak.sum(events.rho),
        runnable,
        schemaclass=options["schemaclass"],
        uproot_options=options["uproot_options"],
    )
    assert float(out["d"].compute(scheduler="synchronous")) == pytest.approx(truth()["rho"])


def test_an_open_file_can_be_handed_over(small, options):
    import uproot

    file = uproot.open(small.path, **options["uproot_options"])
    events = NanoEventsFactory.from_root(
        file, treepath="Events", schemaclass=options["schemaclass"]
    ).events()
    assert ak.sum(events.rho) == pytest.approx(truth()["rho"])


def test_preloading_names_is_one_request(small, options, server):
    names = ["rho", "Muon_dxy", "nPFCands", "PFCands_pt", "MET_pt"]
    events = NanoEventsFactory.from_root(
        {str(small.path): "Events"}, preload=names, **options
    ).events()
    assert [set(r.columns) for r in server.data_requests] == [set(names) - {"MET_pt"}]
    assert ak.sum(events.PFCands.pt) == pytest.approx(truth()["parts"])
    assert len(server.data_requests) == 1
