"""Eager mode: what it would load is told before it is loaded."""

from __future__ import annotations

import awkward as ak
import pytest
import uproot
from coffea.nanoevents import BaseSchema, NanoAODSchema, NanoEventsFactory, PHYSLITESchema

from columnservice.errors import MissingParent, RequestError
from columnservice.nanoevents.eager import estimate

from .small import ROWS

pytestmark = [
    pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Skipping .* as it is:UserWarning"),
]


def events(path, options, tree="Events", **more):
    return NanoEventsFactory.from_root({str(path): tree}, mode="eager", **options, **more).events()


def size_of(arrays) -> int:
    """Bytes of the buffers of what was loaded."""
    return sum(ak.to_packed(a).nbytes for a in arrays)


@pytest.mark.parametrize(
    "names",
    [
        ["rho"],
        ["rho", "npu", "good"],
        ["PFCands_pt", "PFCands_charge"],
        ["Muon_dxy", "Muon_times", "Muon_link", "rho"],
    ],
)
def test_the_estimate_of_a_whole_range_is_what_is_loaded(small, service, names):
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    size, rows = estimate(tree.columnservice_friend, names, 0, ROWS)
    assert rows == ROWS
    assert size == pytest.approx(size_of([tree[n].array() for n in names]), rel=0.3)


def test_the_estimate_asks_for_few_columns_of_few_events(small, service, server):
    tree = small.tree(service.nanoevents(BaseSchema, dataset="small"))
    estimate(tree.columnservice_friend, ["PFCands_pt", "PFCands_eta", "rho"], 0, ROWS)
    assert [r.columns for r in server.data_requests] == [["nPFCands"]]


def test_containers_of_atlas_are_judged_by_one_column_each(atlas, atlas_served, service, server):
    tree = uproot.open(
        atlas[0], **service.nanoevents(BaseSchema, dataset="atlas")["uproot_options"]
    )["CollectionTree"]
    names = [f"AnalysisElectronsAuxDyn.{n}" for n in ("pt", "eta", "phi", "m", "charge")]
    names += ["InDetTrackParticlesAuxDyn.z0", "InDetTrackParticlesAuxDyn.d0"]
    size, _ = estimate(tree.columnservice_friend, names, 0, 100)
    [asked] = server.data_requests
    # One of its columns, and the one that coffea takes the container's offsets from.
    assert len([c for c in asked.columns if c.startswith("InDet")]) == 2
    assert len([c for c in asked.columns if c.startswith("AnalysisEl")]) <= 2
    assert size == pytest.approx(size_of([tree[n].array() for n in names]), rel=0.3)


def test_what_is_chosen_is_measured_and_loaded_in_one_request_each(small, service, server):
    options = service.nanoevents(
        NanoAODSchema, dataset="small", columns=["PFCands_*", "Muon_dxy", "rho"]
    )
    found = events(small.path, options)
    measured, loaded = server.data_requests
    assert set(measured.columns) == {"nPFCands", "Muon_dxy"}
    # The file is so small that what was measured need not be loaded again.
    assert {"PFCands_pt", "rho"} <= set(loaded.columns)
    assert not {*measured.columns} & {*loaded.columns}
    assert ak.flatten(found.PFCands.pt).to_list() == (
        small.table.values["PFCands_pt"].values.tolist()
    )
    assert found.rho.to_list() == small.table.values["rho"].values.tolist()
    assert len(server.data_requests) == 2


def test_a_range_and_a_filter_limit_what_is_loaded(small, service, server):
    options = service.nanoevents(BaseSchema, dataset="small", columns=["rho", "npu"])
    found = events(
        small.path,
        options,
        entry_start=3,
        entry_stop=9,
        iteritems_options={"filter_name": ["rho", "event"]},
    )
    assert found.rho.to_list() == small.table.values["rho"].values[3:9].tolist()
    assert [(r.rows, r.columns) for r in server.data_requests] == [((3, 9), ["rho"])]


def test_too_much_is_refused_with_the_estimate_and_the_ways_out(small, service, server):
    options = service.nanoevents(
        BaseSchema, dataset="small", columns=["PFCands_*", "rho"], eager_limit_bytes=500
    )
    with pytest.raises(RequestError, match=r"about .* GB: 7 columns of 24 events") as caught:
        events(small.path, options)
    assert "eager_limit_bytes" in str(caught.value)
    assert 'mode="virtual"' in str(caught.value)
    assert [r.columns for r in server.data_requests] == [["nPFCands"]]
    found = events(small.path, options, entry_stop=2)
    assert len(found) == 2


def test_without_a_selection_it_is_refused_at_once(small, service, server):
    options = service.nanoevents(BaseSchema, dataset="small")
    with pytest.raises(RequestError, match="every column"):
        events(small.path, options)
    assert server.data_requests == []


def test_other_modes_are_not_measured(small, service, server):
    options = service.nanoevents(
        BaseSchema, dataset="small", columns=["PFCands_*"], eager_limit_bytes=1
    )
    NanoEventsFactory.from_root({str(small.path): "Events"}, **options).events()
    NanoEventsFactory.from_root({str(small.path): "Events"}, mode="dask", **options).events()
    assert server.data_requests == []


def test_missing_events_are_told_or_masked(small, service):
    small.table.present[5] = False
    chosen = {"dataset": "small", "columns": ["rho"]}
    with pytest.raises(MissingParent, match="1 of 24"):
        events(small.path, service.nanoevents(BaseSchema, **chosen))
    found = events(small.path, service.nanoevents(BaseSchema, missing="mask", **chosen))
    assert found.hasParent.to_list() == small.table.present.tolist()


def test_physlite_is_loaded_eagerly_too(atlas, atlas_served, service, full_atlas):
    options = service.nanoevents(
        PHYSLITESchema, dataset="atlas", columns=["AnalysisElectronsAuxDyn.*"]
    )
    found = events(atlas[0], options, "CollectionTree")
    truth = uproot.open(full_atlas)["CollectionTree"]["AnalysisElectronsAuxDyn.pt"].array()
    assert found.Electrons.pt.to_list() == truth.to_list()
