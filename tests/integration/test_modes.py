"""One analysis gives the same histograms in every mode and executor: those of the full files."""

from __future__ import annotations

import json
import pickle
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import hist.dask
import numpy as np
import pytest
import uproot
from coffea import processor
from coffea.dataset_tools import apply_to_fileset, preprocess
from coffea.nanoevents import NanoEventsFactory, PHYSLITESchema
from coffea.nanoevents.trace import trace

import columnservice
from columnservice.client.report import LEDGER, Report
from columnservice.nanoevents.ahead import AHEAD
from columnservice.nanoevents.memory import MEMORY
from tests.nanoevents.conftest import atlas_is_remote, nano_is_remote
from tests.nanoevents.files import write_nanoaod, write_physlite

from .modes import ANALYSES, Histograms, PFNano, fill, muons

pytestmark = [
    pytest.mark.filterwarnings("ignore:Skipping .* as it is:UserWarning"),
    pytest.mark.filterwarnings("ignore:Branch .* already exists:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Exception during typetracer tracing:RuntimeWarning"),
]


@dataclass
class Case:
    """A local file that lacks columns, its Dataset, and the file that has them all."""

    dataset: str
    local: Path
    full: Path
    tree: str
    schema: Any
    entries: int
    client: Any

    @property
    def analysis(self):
        return ANALYSES[self.schema]

    def options(self, **more) -> dict[str, Any]:
        return self.client.nanoevents(self.schema, dataset=self.dataset, **more)

    def fileset(self, **more) -> dict[str, Any]:
        return {"d": {"files": {str(self.local): self.tree}, **more}}

    def events(self, mode="virtual", **more):
        chosen = more.pop("columns", None)
        options = self.options(columns=chosen)
        files = {str(self.local): self.tree}
        return NanoEventsFactory.from_root(files, mode=mode, **options, **more).events()


@pytest.fixture(scope="module")
def client(service):
    return columnservice.connect(service.url)


@pytest.fixture(scope="module")
def cases(service, client, data_dir, tmp_path_factory) -> dict[str, Case]:
    folder = tmp_path_factory.mktemp("modes")
    pf, lite = data_dir / "cms/pfnano.root", data_dir / "atlas/PHYSLITE_example.root"
    write_nanoaod(pf, folder / "pf.root", nano_is_remote)
    write_physlite(lite, folder / "lite.root", lambda name: not atlas_is_remote(name))
    service.register("modes_pfnano", "nanoaod", [pf])
    service.register("modes_pf", "nanoaod", [folder / "pf.root"], parent="modes_pfnano")
    service.register("modes_physlite", "physlite", [lite])
    service.register("modes_lite", "physlite", [folder / "lite.root"], parent="modes_physlite")
    return {
        "cms": Case("modes_pf", folder / "pf.root", pf, "Events", PFNano, 10, client),
        "atlas": Case(
            "modes_lite", folder / "lite.root", lite, "CollectionTree", PHYSLITESchema, 100, client
        ),
    }


@pytest.fixture(params=["cms", "atlas"])
def case(request, cases) -> Case:
    return cases[request.param]


@pytest.fixture(autouse=True)
def forgetful():
    """Each test is a process of its own, as far as memory goes."""
    MEMORY.clear()
    AHEAD.renew()
    LEDGER.renew()


_truths: dict[Path, dict[str, Any]] = {}


def truth(case: Case) -> dict[str, Any]:
    if case.full not in _truths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            events = NanoEventsFactory.from_root(
                {str(case.full): case.tree}, schemaclass=case.schema
            ).events()
            _truths[case.full] = fill(case.analysis(events))
    return _truths[case.full]


def agree(found: dict[str, Any], case: Case) -> None:
    """Bin by bin, and no histogram is empty."""
    wanted = truth(case)
    assert found.keys() == wanted.keys()
    for name, histogram in wanted.items():
        assert histogram.sum(flow=True) > 0, name
        assert np.array_equal(found[name].values(flow=True), histogram.values(flow=True)), name


def remote_columns(case: Case) -> list[str]:
    """Those that the analysis uses, by a virtual run."""
    fill(case.analysis(case.events()))
    names = case.client.report(clear=True).columns
    MEMORY.clear()
    return names


def demand_bytes(case: Case, service, before: float) -> None:
    """What the report counts is what the service sent: the values used, and little beside."""
    report = case.client.report()
    until = time.monotonic() + 10
    while sent_bytes(service) - before != report.received_bytes and time.monotonic() < until:
        time.sleep(0.05)  # the service counts just after it has sent
    assert sent_bytes(service) - before == report.received_bytes
    told = report.record["datasets"][case.dataset]
    [uuid] = told["files"]
    names = sorted(told["recipes"])  # with what shows that objects are the same
    values = case.client.fetch(case.dataset, uuid, 0, case.entries, names).table.nbytes
    assert values < report.received_bytes < 1.1 * values + 20_000 * report.requests


def sent_bytes(service) -> float:
    return service.counter("columnservice_sent_bytes_total")


def test_virtual_mode_asks_once_per_group_of_columns(case, service):
    before = sent_bytes(service)
    agree(fill(case.analysis(case.events())), case)
    report = case.client.report()
    assert 0 < report.requests <= len(report.columns)
    demand_bytes(case, service, before)


def test_eager_mode_is_two_requests_one_of_them_to_measure(case):
    names = remote_columns(case)
    # With all fields of its containers, coffea makes of them what it makes of the full file.
    patterns = sorted({f"{n.partition('.')[0]}.*" for n in names}) if "." in names[0] else names
    agree(fill(case.analysis(case.events(mode="eager", columns=patterns))), case)
    assert case.client.report().requests == 2


def test_dask_mode_is_one_exact_request_per_partition(case, service):
    names = set(remote_columns(case))
    half = case.entries // 2
    files = {
        str(case.local): {"object_path": case.tree, "steps": [[0, half], [half, case.entries]]}
    }
    events = NanoEventsFactory.from_root(
        files, mode="dask", **case.options(read_ahead=False)
    ).events()
    promised = fill(case.analysis(events), hist.dask.Hist)
    import dask

    before = sent_bytes(service)
    (found,) = dask.compute(promised, scheduler="synchronous")
    agree(found, case)
    report = case.client.report()
    assert set(report.columns) == names
    assert report.requests == 2
    demand_bytes(case, service, before)


def run(case: Case, executor, *, chunksize: int, told=None, **more):
    told = told or case.options()
    how = {k: more.pop(k) for k in ("savemetrics", "skipbadfiles") if k in more}
    runner = processor.Runner(
        executor=executor, schema=told["schemaclass"], chunksize=chunksize, **how
    )
    return runner(
        case.fileset(), Histograms(case.analysis), uproot_options=told["uproot_options"], **more
    )


@pytest.mark.parametrize("part", [1, 3, 7, 100])
def test_any_chunk_size_gives_the_same(case, part):
    chunksize = max(1, case.entries * part // 10)
    found = run(case, processor.IterativeExecutor(status=False), chunksize=chunksize)
    agree(found["d"], case)


def test_after_the_first_chunk_each_is_one_request(case):
    names = remote_columns(case)
    found = run(case, processor.IterativeExecutor(status=False), chunksize=case.entries // 5)
    agree(found["d"], case)
    report = case.client.report()
    assert report.requests <= len(names) + 4
    assert report.record["traffic"]["ahead"] == 3


@pytest.mark.parametrize("how", ["trace", "prefetch", "report"])
def test_columns_known_beforehand_make_one_request_per_chunk(case, how):
    names = remote_columns(case)
    executor = processor.IterativeExecutor(status=False)
    if how == "trace":
        found = run(case, executor, chunksize=case.entries // 2, trace=trace)
    else:
        fill(case.analysis(case.events()))
        report = case.client.report(clear=True)
        told = report if how == "report" else names
        MEMORY.clear()
        found = run(case, executor, chunksize=case.entries // 2, told=case.options(prefetch=told))
    agree(found["d"], case)
    assert case.client.report().requests == 2


def test_the_metrics_of_a_run_are_enough_to_prefetch_the_next(case):
    executor = processor.IterativeExecutor(status=False)
    found, metrics = run(case, executor, chunksize=case.entries, savemetrics=True)
    agree(found["d"], case)
    assert metrics["entries"] == case.entries
    MEMORY.clear()
    case.client.report(clear=True)
    told = case.options(prefetch=metrics["columns"])
    found = run(case, executor, chunksize=case.entries, told=told)
    agree(found["d"], case)
    assert case.client.report().requests == 1


def test_processes_of_the_futures_executor_report_what_they_fetched(case):
    runner = processor.Runner(
        executor=processor.FuturesExecutor(workers=2, status=False),
        schema=case.schema,
        chunksize=case.entries // 4,
    )
    found = case.client.run(runner, case.fileset(), Histograms(case.analysis))
    agree(found["d"], case)
    report = case.client.report()
    [file] = report.record["datasets"][case.dataset]["files"].values()
    assert file["ranges"] == [[0, case.entries]]
    assert file["path"] == str(case.local)
    assert report.requests >= 4
    assert set(report.columns) == set(remote_columns(case))


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


def test_dask_workers_are_sent_schema_and_options(case, cluster):
    runner = processor.Runner(
        executor=processor.DaskExecutor(client=cluster, status=False),
        schema=case.schema,
        chunksize=case.entries // 4,
    )
    found = case.client.run(runner, case.fileset(), Histograms(case.analysis))
    agree(found["d"], case)
    report = case.client.report()
    assert report.requests >= 4
    assert report.received_bytes > 0


@pytest.mark.filterwarnings("ignore:Passing a dict to preprocess:DeprecationWarning")
def test_preprocessed_filesets_with_saved_forms_compute_on_a_cluster(case, cluster):
    told = case.options()
    runnable, _ = preprocess(
        case.fileset(),
        step_size=case.entries // 3,
        save_form=True,
        uproot_options=told["uproot_options"],
        scheduler=cluster,
    )
    promised = apply_to_fileset(
        lambda events: fill(case.analysis(events), hist.dask.Hist),
        runnable,
        schemaclass=told["schemaclass"],
        uproot_options=told["uproot_options"],
    )
    found = cluster.gather(cluster.compute(promised["d"]))
    agree(found, case)


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_pickled_options_give_the_same(case, pickler):
    told = pickler.loads(pickler.dumps(case.options()))
    files = {str(case.local): case.tree}
    events = NanoEventsFactory.from_root(files, **told).events()
    agree(fill(case.analysis(events)), case)


def test_a_fileset_of_several_datasets_gives_each_file_its_own_columns(
    cases, client, service, data_dir, tmp_path
):
    full = data_dir / "cms/nano_dy.root"
    lacking = ("Muon_dxy", "Muon_dz")
    write_nanoaod(full, tmp_path / "dy.root", lambda name: name in lacking)
    service.register("modes_dyfull", "nanoaod", [full])
    service.register("modes_dy", "nanoaod", [tmp_path / "dy.root"], parent="modes_dyfull")
    pf = cases["cms"]
    fileset = {
        "pf": {"files": {str(pf.local): "Events"}},
        "dy": {
            "files": [str(tmp_path / "dy.root")],
            "treename": "Events",
            "metadata": {"columnservice": "modes_dy"},
        },
    }
    runner = processor.Runner(
        executor=processor.IterativeExecutor(status=False), schema=PFNano, chunksize=6
    )
    found = client.run(runner, fileset, Histograms(muons))
    for name, path in (("pf", pf.full), ("dy", full)):
        flat = uproot.open(path)["Events"]["Muon_dxy"].array()
        wanted = fill({"dxy": np.concatenate([np.asarray(x) for x in flat])})["dxy"]
        assert np.array_equal(found[name]["dxy"].values(flow=True), wanted.values(flow=True))
    report = client.report()
    assert report.record["datasets"].keys() == {"modes_pf", "modes_dy"}
    assert report.columns == ["Muon_dxy"]
    path = tmp_path / "fileset.json"
    path.write_text(json.dumps(fileset))
    again = client.run(runner, path, Histograms(muons))
    assert again == found


def test_a_private_skim_in_another_order_gets_its_columns(cases, client, tmp_path):
    pf = cases["cms"]
    order = np.array([7, 2, 9, 0, 4])
    tree = uproot.open(pf.local)["Events"]
    wanted = uproot.open(pf.full)["Events"]["PFCands_pt"].array()[order]
    arrays = {k: tree[k].array()[order] for k in ("run", "luminosityBlock", "event")}
    path = tmp_path / "skim.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {k: a.type.content for k, a in arrays.items()})
        file["Events"].extend(arrays)
    told = client.nanoevents(PFNano, dataset=pf.dataset)
    for _ in range(2):
        skim = uproot.open(path, **told["uproot_options"])["Events"]
        assert skim["PFCands_pt"].array().to_list() == wanted.to_list()
        MEMORY.clear()
    assert client.report().requests == 2


def test_a_report_is_saved_with_a_result_and_read_again(case, tmp_path):
    agree(fill(case.analysis(case.events())), case)
    report = case.client.report()
    report.save(tmp_path / "report.json")
    again = Report.load(tmp_path / "report.json")
    assert again.record == report.record
    columns = again.record["datasets"][case.dataset]["columns"]
    assert all(about["source"] and about["origin"] == "parent" for about in columns.values())
    assert case.dataset in repr(again)


def test_coverage_is_told_and_drawn(case):
    coverage = case.client.dataset(case.dataset).coverage()
    assert (coverage.events, coverage.with_parent) == (case.entries, case.entries)
    assert coverage.fraction == 1
    assert coverage.witnesses
    import matplotlib as mpl

    mpl.use("Agg")
    axes = coverage.plot()
    assert axes.get_title() == f"{case.dataset} in {coverage.parent}"
