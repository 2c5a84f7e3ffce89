"""``events.columnservice_report()``: what the events of one file were given, in every mode."""

from __future__ import annotations

import copy
import pickle

import awkward as ak
import cloudpickle
import pytest
from coffea import processor
from coffea.nanoevents import BaseSchema, NanoAODSchema, NanoEventsFactory
from coffea.nanoevents.methods import nanoaod

from columnservice.client.report import Report
from columnservice.errors import ProvenanceChanged, RequestError
from columnservice.nanoevents.memory import MEMORY

from .small import ROWS, serve_small, write_small

pytestmark = [
    pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Exception during typetracer tracing:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Performed attempt:UserWarning"),
]

TOLD = {
    "parent": "mini",
    "take": "t1",
    "parents": [{"lfn": "/store/m.root", "uuid": "m", "size_bytes": 3, "servers": ["root://far"]}],
    "recipes": {"rho": ["r1"], "npu": ["r2"], "PFCands_pt": ["r3"]},
    "derived": {},
}


@pytest.fixture
def other(server, tmp_path):
    """A second file, of another dataset."""
    path = tmp_path / "other.root"
    server.add(serve_small(path, write_small(path), "other"))
    return path


def events_of(path, service, schema=NanoAODSchema, dataset=None, columns=None, **more):
    options = service.nanoevents(schema, dataset=dataset, columns=columns)
    return NanoEventsFactory.from_root({str(path): "Events"}, **options, **more).events()


@pytest.mark.parametrize("schema", [NanoAODSchema, BaseSchema])
def test_it_tells_of_its_own_file_only(small, other, service, schema):
    small.served.provenance = TOLD
    events, others = (events_of(p, service, schema) for p in (small.path, other))
    assert events.columnservice_report().record["datasets"] == {}
    ak.sum(others.npu)
    ak.sum(events.rho)
    report = events.columnservice_report()
    assert isinstance(report, Report)
    assert report.record["service"] == service.url
    assert (report.requests, report.columns) == (1, ["rho"])
    assert report.received_bytes > 0
    assert report.record["traffic"]["seconds"] > 0
    assert set(report.record["datasets"]) == {"small"}
    dataset = report.record["datasets"]["small"]
    assert dataset["parent"] == "mini"
    assert dataset["recipes"] == {"rho": ["r1"]}
    assert dataset["columns"]["rho"] == {"type": "float64", "origin": "parent", "source": ""}
    file = dataset["files"][small.uuid]
    assert (file["path"], file["ranges"]) == (str(small.path), [[0, ROWS]])
    assert file["parents"] == TOLD["parents"]
    assert others.columnservice_report().columns == ["npu"]
    assert service.report().requests == 2


def test_selected_events_and_single_ones_have_it_and_collections_do_not(small, service):
    events = events_of(small.path, service)
    chosen = events[events.rho > 3]
    for some in (chosen, events[2:5], events[0], ak.with_field(events, events.rho * 2, "twice")):
        assert some.columnservice_report().columns == ["rho"]
    assert not hasattr(events.Muon, "columnservice_report")
    assert repr(events[0]) == "<NanoAOD event>"


def test_eager_mode_has_it(small, service):
    columns = ["rho", "PFCands_pt"]
    report = events_of(small.path, service, columns=columns, mode="eager").columnservice_report()
    assert set(report.columns) == {"rho", "PFCands_pt", "nPFCands"}
    assert report.received_bytes == service.report().received_bytes > 0


def test_dask_mode_tells_of_the_service_once_it_has_computed(small, service):
    events = events_of(small.path, service, mode="dask")
    assert events.columnservice_report().columns == []
    ak.sum(events.rho).compute(scheduler="synchronous")
    report = events.columnservice_report()
    assert "rho" in report.columns
    assert report.requests == 1


def test_a_processor_sees_what_its_own_file_was_given(small, other, service, tmp_path):
    def process(events):
        ak.sum(events.rho)
        return {events.metadata["dataset"]: events.columnservice_report()}

    fileset = {p.stem: {"files": {str(p): "Events"}} for p in (small.path, other)}
    runner = processor.Runner(
        executor=processor.IterativeExecutor(status=False), schema=NanoAODSchema, chunksize=10
    )
    seen = service.run(runner, fileset, process)
    for name, report in seen.items():
        # Chunks, and so coffea's accumulation, add up.
        assert set(report.record["datasets"]) == {name}
        [file] = report.record["datasets"][name]["files"].values()
        assert file["ranges"] == [[0, ROWS]]
    assert [r.requests for r in seen.values()] == [2, 2]
    seen["small"].save(tmp_path / "beside.json")
    assert Report.load(tmp_path / "beside.json").record == seen["small"].record


def test_events_that_travelled_still_have_it(small, service):
    """Behaviors of coffea pickle with cloudpickle only; so do ours, and they stay what they are."""
    events = events_of(small.path, service, BaseSchema, columns=["rho"])
    travelled = cloudpickle.loads(cloudpickle.dumps(events))
    assert type(travelled).__name__ == type(events).__name__
    assert travelled.columnservice_report().columns == ["rho"]
    assert travelled.MET_pt.to_list() == events.MET_pt.to_list()
    for kind in ("NanoEvents", ("*", "NanoEvents")):
        named = events.behavior[kind]
        assert pickle.loads(pickle.dumps(named)) is named
    assert copy.copy(events).columnservice_report().columns == ["rho"]


def test_a_behavior_of_the_user_s_own_keeps_what_it_has(small, service):
    class Mine(nanoaod.behavior["*", "NanoEvents"]):
        def twice(self):
            return self.rho * 2

    class MySchema(NanoAODSchema):
        @classmethod
        def behavior(cls):
            return {**super().behavior(), ("*", "NanoEvents"): Mine}

    events = events_of(small.path, service, MySchema, columns=["rho"])
    assert events.twice().to_list() == (events.rho * 2).to_list()
    assert events.columnservice_report().columns == ["rho"]
    assert nanoaod.behavior["*", "NanoEvents"] is Mine.__mro__[1]


def test_without_the_service_events_are_as_ever(small, service):
    """Nothing is added to coffea's own behavior."""
    events_of(small.path, service)
    plain = NanoEventsFactory.from_root(
        {str(small.path): "Events"}, schemaclass=NanoAODSchema
    ).events()
    assert not hasattr(plain, "columnservice_report")


def test_a_pinned_report_refuses_what_is_made_otherwise(small, service, tmp_path):
    small.served.provenance = TOLD
    events = events_of(small.path, service)
    ak.sum(events.rho)
    events.columnservice_report().save(tmp_path / "pin.json")
    pin = Report.load(tmp_path / "pin.json")
    options = service.nanoevents(BaseSchema, dataset="small", pin=pin, read_ahead=False)
    options = cloudpickle.loads(cloudpickle.dumps(options))
    MEMORY.clear()
    assert len(small.tree(options)["rho"].array()) == ROWS
    small.served.provenance = {**TOLD, "recipes": {**TOLD["recipes"], "rho": ["r9"]}}
    assert len(small.tree(options)["rho"].array()) == ROWS  # from memory, as it was made
    MEMORY.clear()
    with pytest.raises(ProvenanceChanged, match="the recipe of rho"):
        small.tree(options)["rho"].array()
    # What another analysis of this process has read since is held against the pin, too.
    assert len(small.tree(service.nanoevents(BaseSchema, dataset="small"))["rho"].array()) == ROWS
    with pytest.raises(ProvenanceChanged):
        small.tree(options)["rho"].array()
    assert len(small.tree(options)["npu"].array()) == ROWS


def test_counts_that_come_with_their_list_are_not_bound_by_a_pin_that_knows_their_recipe(
    small, service
):
    small.served.provenance = {**TOLD, "recipes": {**TOLD["recipes"], "nPFCands": ["r4"]}}
    first = small.tree(service.nanoevents(BaseSchema, dataset="small", read_ahead=False))
    counts = first["nPFCands"].array().to_list()
    total = ak.sum(first["PFCands_pt"].array())
    pin = service.report()
    assert pin.record["datasets"]["small"]["recipes"]["nPFCands"] == ["r4"]
    MEMORY.clear()
    small.served.provenance = TOLD  # a reply to PFCands_pt alone names no recipe of nPFCands
    options = service.nanoevents(BaseSchema, dataset="small", pin=pin, read_ahead=False)
    again = small.tree(options)
    assert ak.sum(again["PFCands_pt"].array()) == total
    assert again["nPFCands"].array().to_list() == counts


def test_a_pinned_run_stops_even_where_bad_files_are_skipped(small, service):
    small.served.provenance = TOLD
    fileset = {"small": {"files": {str(small.path): "Events"}}}
    runner = processor.Runner(
        executor=processor.IterativeExecutor(status=False), schema=NanoAODSchema, skipbadfiles=True
    )

    def total(events):
        return {"rho": float(ak.sum(events.rho))}

    found = service.run(runner, fileset, total)
    pin = service.report()
    assert service.run(runner, fileset, total, pin=pin) == found
    MEMORY.clear()
    small.served.provenance = {**TOLD, "take": "t2", "parents": []}
    with pytest.raises(Exception, match="Failed processing") as caught:
        service.run(runner, fileset, total, pin=pin)
    assert "m.root gone" in str(caught.value.__cause__)


def test_a_pin_is_a_report(service):
    with pytest.raises(RequestError, match=r"Report.load") as caught:
        service.nanoevents(NanoAODSchema, pin="report.json")
    assert "report.json" in str(caught.value)


@pytest.mark.parametrize("old", [{"format": 1}, {"format": 99}])
def test_a_report_of_another_format_is_refused_as_a_pin_at_once(small, service, server, old):
    small.served.provenance = TOLD
    small.tree(service.nanoevents(BaseSchema, dataset="small"))["rho"].array()
    report = service.report()
    before = Report({**report.record, **old})
    for pin in (before, before + report, report + before):
        with pytest.raises(RequestError, match="another version of columnservice") as caught:
            service.nanoevents(BaseSchema, dataset="small", pin=pin)
        assert "without pin=" in caught.value.remedy
    service.nanoevents(BaseSchema, dataset="small", pin=report + report)
    service.nanoevents(BaseSchema, dataset="small", prefetch=before)
