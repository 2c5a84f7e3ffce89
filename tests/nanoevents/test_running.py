"""``service.run``: each file gets its own Dataset's columns, and an account of it all remains."""

from __future__ import annotations

import json
from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
from coffea import processor
from coffea.nanoevents import NanoAODSchema
from coffea.nanoevents.trace import trace

from columnservice.client.report import LEDGER, Fetched, Ledger
from columnservice.errors import (
    NotAllowed,
    ProofMismatch,
    ProvenanceChanged,
    RequestError,
    TransportError,
    UnknownDataset,
)
from columnservice.model import Column, Member, plain
from columnservice.nanoevents.running import _Accounted, demand_one_version, named_datasets

from .small import ROWS, remote_columns, serve_small, write_small

pytestmark = [
    pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Skipping bad file:UserWarning"),
    pytest.mark.filterwarnings("ignore:Performed attempt:UserWarning"),
    pytest.mark.filterwarnings("ignore:Exception during typetracer tracing:RuntimeWarning"),
]


class Rho(processor.ProcessorABC):
    """Sums one column per dataset of the fileset."""

    def process(self, events):
        name = events.metadata["dataset"]
        return {name: {"events": len(events), "rho": float(ak.sum(events.rho))}}

    def postprocess(self, accumulator):
        return {**accumulator, "done": True}


def total(events):
    """A processor that is a plain function."""
    return {"events": len(events), "rho": float(ak.sum(events.rho))}


SUM = float(np.arange(ROWS).sum() + ROWS / 2)


@pytest.fixture
def other(server, tmp_path):
    """A second dataset whose file has the same layout and columns ten times as large."""
    path = tmp_path / "other.root"
    served = serve_small(path, write_small(path), "other")
    [table] = served.tables.values()
    table.values["rho"].values[:] *= 10
    server.add(served)
    return path


@pytest.fixture
def fileset(small, other):
    return {
        "a": {"files": {str(small.path): "Events"}},
        "b": {"files": [str(other)], "treename": "Events"},
    }


def runner(**more):
    return processor.Runner(
        **{
            "executor": processor.IterativeExecutor(status=False),
            "schema": NanoAODSchema,
            "chunksize": 8,
            **more,
        }
    )


def test_the_uuid_decides_which_columns_a_file_gets(fileset, service):
    mine = runner()
    found = service.run(mine, fileset, Rho())
    assert found == {
        "a": {"events": ROWS, "rho": SUM},
        "b": {"events": ROWS, "rho": 10 * SUM},
        "done": True,
    }
    assert mine.schema is NanoAODSchema
    report = service.report()
    assert set(report.record["datasets"]) == {"small", "other"}
    assert report.requests == 6


def test_metadata_decide_where_the_uuid_would_not(fileset, service, server, small_file):
    server.add(serve_small(*small_file, "twin"))
    with pytest.raises(Exception, match="belongs to 2 datasets: small, twin"):
        service.run(runner(), fileset, Rho())
    fileset["a"]["metadata"] = {"columnservice": "twin"}
    assert service.run(runner(), fileset, Rho())["a"]["rho"] == SUM
    assert set(service.report().record["datasets"]) == {"twin", "other"}


def test_a_file_that_nobody_knows_is_introduced_to_the_dataset_that_metadata_name(
    fileset, small, service, server, tmp_path
):
    path = tmp_path / "private.root"
    write_small(path)
    fileset["a"] = {
        "files": {str(path): "Events"},
        "metadata": {"columnservice": "small"},
    }
    assert service.run(runner(), fileset, Rho())["a"]["rho"] == SUM
    assert len(server.uploads) == 1


def test_a_fileset_in_a_file_a_plain_function_and_arguments_of_the_runner(
    fileset, service, tmp_path
):
    path = tmp_path / "fileset.json"
    path.write_text(json.dumps(fileset))
    found = service.run(runner(), path, total, trace=trace, uproot_options={"num_workers": 1})
    assert found == {"events": 2 * ROWS, "rho": 11 * SUM}
    assert service.report().requests == 6


def test_metrics_and_results_keep_their_shape(fileset, service):
    found, metrics = service.run(runner(savemetrics=True), fileset, Rho())
    assert found["done"]
    assert metrics["entries"] == 2 * ROWS
    wrapped = service.run(runner(use_result_type=True, skipbadfiles=True), fileset, total)
    assert wrapped.is_ok()
    assert wrapped.unwrap()["rho"] == 11 * SUM


def test_columns_and_prefetch_are_passed_on(fileset, service, server):
    found = service.run(runner(), fileset, total, columns=["rho", "npu"], prefetch=["npu", "rho"])
    assert found["rho"] == 11 * SUM
    assert all(set(r.columns) == {"rho", "npu"} for r in server.data_requests)
    with pytest.raises(Exception, match="no field"):
        service.run(runner(), fileset, lambda events: {"x": ak.sum(events.good)}, columns="rho")


def test_a_file_that_cannot_be_reached_is_skipped_and_a_wrong_join_is_not(
    fileset, small, service, server
):
    def gone(request):
        known = request.query.get("file")
        if request.path.endswith("/data") and known != [small.uuid]:
            return 503, "text/plain", b""
        return None

    server.answer = gone
    found = service.run(runner(skipbadfiles=True), fileset, total)
    assert found == {"events": ROWS, "rho": SUM}
    rows = np.arange(ROWS)
    rows[[3, 4]] = rows[[4, 3]]
    small.table.rows = rows
    from columnservice.nanoevents.memory import MEMORY

    MEMORY.clear()
    with pytest.raises(Exception, match="Failed processing") as caught:
        service.run(runner(skipbadfiles=True), fileset, total)
    assert isinstance(caught.value.__cause__, ProofMismatch | AttributeError)
    assert service.report().requests > 0


def test_what_was_noted_before_a_run_stays_in_the_report(fileset, small, service):
    small.tree(service.nanoevents(NanoAODSchema, dataset="small"))["npu"].array()
    service.run(runner(), fileset, total)
    assert set(service.report().columns) == {"npu", "rho"}
    assert service.report(clear=True).requests == 7
    assert service.report().requests == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "parquet"}, "fetch"),
        ({}, "custom_classes"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_way_out(fileset, service, change, says):
    more = {} if change else {"uproot_options": {"custom_classes": {}}}
    with pytest.raises(RequestError, match=says):
        service.run(runner(**change), fileset, total, **more)


def test_an_unknown_dataset_in_the_metadata_is_an_error_at_once(fileset, service):
    fileset["a"]["metadata"] = {"columnservice": "smal"}
    with pytest.raises(UnknownDataset):
        service.run(runner(), fileset, total)


def test_a_refused_service_is_no_transport_error(fileset, service, server):
    server.answer_with(403, "text/plain", b"")
    with pytest.raises(Exception, match="does not allow") as caught:
        service.run(runner(skipbadfiles=True), fileset, total)
    link = caught.value
    while link.__cause__ is not None:
        link = link.__cause__
    assert isinstance(link, NotAllowed)


@pytest.mark.fast
def test_entries_of_a_fileset_name_datasets_in_any_form():
    entry = {"files": {"/a": "Events"}, "metadata": {"columnservice": "x"}}
    as_object = SimpleNamespace(files={"/b": {"object_path": "Events"}}, metadata=entry["metadata"])
    assert named_datasets({"p": entry, "q": as_object, "r": ["/c"], "s": {"files": ["/d"]}}) == {
        "/a": "x",
        "/b": "x",
    }
    assert named_datasets([]) == {}
    twice = {"p": entry, "q": {**entry, "metadata": {"columnservice": "y"}}}
    with pytest.raises(RequestError, match="'x' and to 'y'"):
        named_datasets(twice)


def test_the_double_serves_what_these_tests_use():
    assert {"rho", "npu", "good"} <= {c.name for c in remote_columns()[0]}


@pytest.mark.fast
def test_two_versions_that_came_to_different_processes_are_noticed_in_the_end():
    def chunk(**recipes):
        noted = Ledger()
        told = {"take": "t", "recipes": recipes, "derived": {"iso": ["x"], "unused": ["rho"]}}
        noted.fetched("http://here", Fetched("nano", "u", 0, 5, 10, 1.0, provenance=told))
        noted.used("http://here", "nano", "u", "/data/x.root", columns_named("iso", "rho"), told)
        return noted.computed("")

    first = chunk(iso=["1"], rho=["r15"], x=["1"], unused=["1"])
    assert first == {("nano", "iso", "1")}
    demand_one_version([])
    demand_one_version([*first, *first, *chunk(iso=["1"], rho=["r17"], x=["1"], unused=["2"])])
    with pytest.raises(ProvenanceChanged, match=r"than others: iso of nano\.") as caught:
        demand_one_version([*first, *chunk(iso=["2"], rho=["r15"], x=["1"], unused=["1"])])
    assert not isinstance(caught.value, TransportError)


def columns_named(*names):
    return [Column(name, (Member("", "float32"),), 0) for name in names]


@pytest.fixture
def ledger():
    LEDGER.renew()
    yield LEDGER
    LEDGER.renew()


def one_chunk(run, *given, fails=False):
    """A run of one chunk in this process, which is given columns with what a service told."""

    def work(_):
        for told, *names in given:
            LEDGER.used("http://here", "nano", "u", "/x.root", columns_named(*names), told, run)
        if fails:
            raise OSError("a bug of the user")
        return len(given)

    found = _Accounted(work, "http://here", run).process(None)
    demand_one_version(found["computed"])
    return found["report"].record["datasets"]["nano"]["recipes"]


def told_of(iso, take="t"):
    return {
        "take": take,
        "recipes": {"iso": [iso], "slim": ["s"], "pt": ["p"]},
        "derived": {"iso": ["pt"], "slim": ["pt"]},
    }


@pytest.mark.fast
@pytest.mark.parametrize("turn", [1, -1])
def test_what_came_with_an_old_version_is_used_beside_the_new_one(ledger, turn):
    """``slim`` did not change and stays in memory; the reply that it came with held old ``iso``."""
    assert one_chunk("1", (told_of("v1"), "iso", "slim"))["iso"] == ["v1"]
    for run in "23":
        given = [(told_of("v2"), "iso"), (told_of("v1"), "slim")][::turn]
        assert one_chunk(run, *given) == {"iso": ["v2"], "slim": ["s"], "pt": ["p"]}


@pytest.mark.fast
def test_what_a_process_was_given_in_an_earlier_run_is_not_held_against_a_later_one(ledger):
    with pytest.raises(OSError, match="a bug"):
        one_chunk("1", (told_of("v1"), "iso"), fails=True)
    one_chunk("2", (told_of("v2"), "iso"))
    ahead = Fetched("nano", "u", 5, 9, 1, 0.0, ahead=True, provenance=told_of("v2", "later"))
    ledger.fetched("http://here", ahead)
    assert one_chunk("3", (told_of("v3"), "iso"))["iso"] == ["v3"]
    with pytest.raises(ProvenanceChanged, match="iso of nano"):
        one_chunk("4", (told_of("v3"), "iso"), (told_of("v4"), "iso"))


@pytest.mark.fast
def test_runs_that_ended_long_ago_are_forgotten():
    noted = Ledger()
    for run in range(40):
        told = told_of(str(run))
        noted.used("http://here", "nano", "u", "/x.root", columns_named("iso"), told, str(run))
    assert noted.computed("39") == {("nano", "iso", "39")}
    assert noted.computed("1") == set()


def test_a_column_that_is_redefined_between_two_runs_is_given_to_the_second(small, service):
    def define(recipe, value):
        made = {"rho": [recipe * 8], "npu": ["same" * 8]}
        small.served.made = {n: {"recipes": d, "inputs": ["good"]} for n, d in made.items()}
        derived = {"rho": ["good"], "npu": ["good"]}
        small.served.provenance = {"take": "t", "recipes": made, "derived": derived}
        small.table.values["rho"] = plain(np.full(ROWS, value))

    def work(events):
        return {"npu": int(ak.sum(events.npu)), "rho": float(ak.sum(events.rho))}

    metadata = {"columnservice": "small"}
    fileset = {"d": {"files": {str(small.path): "Events"}, "metadata": metadata}}
    define("v1", 1.0)
    first = service.run(runner(), fileset, work, prefetch=["npu", "rho"])
    for value in (2.0, 3.0):
        define(f"v{value}", value)
        service.report(clear=True)
        found = service.run(runner(), fileset, work)
        assert found == {"npu": first["npu"], "rho": value * ROWS}
        recipes = service.report().record["datasets"]["small"]["recipes"]
        assert recipes["rho"] == [f"v{value}" * 8]
