from __future__ import annotations

import pickle

import awkward as ak
import cloudpickle
import numpy as np
import pytest
import uproot
from coffea.nanoevents import BaseSchema, NanoAODSchema, NanoEventsFactory, PFNanoAODSchema

from columnservice.errors import RequestError, Unreachable, UnsupportedColumn

from .files import TRIGGERS, same, serve_nanoaod


def events(path, schema=PFNanoAODSchema, tree="Events", options=None, **more):
    if options is None:
        options = {"schemaclass": schema}
    return NanoEventsFactory.from_root({str(path): tree}, **options, **more).events()


# What coffea says of the local file itself, with or without the service.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Branch .* already exists:RuntimeWarning"),
]


def test_every_offered_column_equals_the_full_file(nano, full_nano, nano_served, service):
    options = service.nanoevents(BaseSchema, dataset="nano")["uproot_options"]
    local = uproot.open(nano[0], **options)["Events"]
    full = uproot.open(full_nano)["Events"]
    assert set(local.keys()) == {k for k in full.keys() if not k.startswith(TRIGGERS)}  # noqa: SIM118
    for name in nano[2]:
        assert same(local[name].array(), full[name].array()), name
        part = {"entry_start": 3, "entry_stop": 8}
        assert same(local[name].array(**part), full[name].array(**part)), name
        assert local[name].typename == full[name].typename
        assert repr(local[name].interpretation.awkward_form(None)) == repr(
            full[name].interpretation.awkward_form(None)
        )


def test_collections_and_references_behave_as_in_the_full_file(
    nano, full_nano, nano_served, service
):
    found = events(nano[0], options=service.nanoevents(PFNanoAODSchema, dataset="nano"))
    truth = events(full_nano)
    assert type(found.PFCands) is type(truth.PFCands)
    assert set(found.PFCands.fields) == set(truth.PFCands.fields)
    assert set(found.fields) == set(truth.fields) - {"HLT", "L1"}  # TRIGGERS are left out
    assert same(found.Muon.dxy, truth.Muon.dxy)
    assert same(found.Muon.isGlobal, truth.Muon.isGlobal)
    assert same(found.PV.npvs, truth.PV.npvs)
    constituents = [e.Jet.constituents.pf.pt for e in (found, truth)]
    assert same(*constituents)
    masses = [(e.PFCands[:, 0] + e.PFCands[:, 1]).mass for e in (found, truth)]
    assert same(*masses)
    near = [ak.min(e.Muon.metric_table(e.PFCands), axis=-1) for e in (found, truth)]
    assert same(*near)
    some = [e[ak.num(e.Muon) > 0].Jet[:, :1].constituents.pf.eta for e in (found, truth)]
    assert same(*some)


def test_nothing_is_fetched_before_a_value_is_needed(nano, nano_served, server, service):
    options = service.nanoevents(PFNanoAODSchema, dataset="nano")
    lists = len(server.log)
    found = events(nano[0], options=options)
    repr(found)
    assert "PFCands" in found.fields
    assert "pt" in found.PFCands.fields
    assert ak.any(found.Muon.pt > 0)
    _ = found.Muon.dxy
    assert server.data_requests == []
    assert len(server.log) == lists == 1
    ak.sum(found.Muon.dxy)
    assert [r.columns for r in server.data_requests] == [["Muon_dxy"]]


def test_on_the_next_range_all_columns_used_so_far_come_in_one_request(
    nano, nano_served, server, service
):
    options = service.nanoevents(PFNanoAODSchema, dataset="nano")

    def analysis(start, stop):
        some = events(nano[0], options=options, entry_start=start, entry_stop=stop)
        return ak.sum(some.PFCands.pt), ak.sum(some.Muon.dxy), ak.sum(some.Jet.constituents.pf.eta)

    analysis(0, 4)
    first = len(server.data_requests)
    analysis(4, 10)
    later = server.data_requests[first:]
    assert first > 1
    assert [r.rows for r in later] == [(4, 10)]
    assert {"PFCands_pt", "PFCands_eta", "nPFCands", "Muon_dxy"} <= set(later[0].columns)


def test_counts_come_with_the_first_column_of_a_collection(nano, nano_served, server, service):
    options = service.nanoevents(BaseSchema, dataset="nano")
    found = events(nano[0], options=options)
    ak.sum(found.PFCands_pt)
    counts = ak.num(found.PFCands_pt)
    assert found.nPFCands.to_list() == counts.to_list()
    assert len(server.data_requests) == 1


def test_a_column_is_fetched_once_however_often_it_is_used(nano, nano_served, server, service):
    options = service.nanoevents(PFNanoAODSchema, dataset="nano")
    for _ in range(3):
        ak.sum(events(nano[0], options=options).Muon.dxy)
    assert len(server.data_requests) == 1


def test_a_nanoaod_schema_learns_of_the_new_collections(nano, full_nano, nano_served, service):
    found = events(nano[0], options=service.nanoevents(NanoAODSchema, dataset="nano"))
    truth = events(full_nano)
    assert type(found.PFCands).__name__ == "PFCandArray"
    assert type(found.JetPFCands).__name__ == "AssociatedPFCandArray"
    assert same(found.JetPFCands.pf.pt, truth.JetPFCands.pf.pt)
    assert same(found.JetPFCands.jet.pt, truth.JetPFCands.jet.pt)
    assert same(found.FatJetPFCands.jet.pt, truth.FatJetPFCands.jet.pt)


def test_a_restriction_offers_only_what_it_names(nano, nano_served, server, service):
    options = service.nanoevents(PFNanoAODSchema, dataset="nano", columns=["PFCands_pt", "Muon_d*"])
    found = events(nano[0], options=options)
    assert found.PFCands.fields == ["pt"]
    assert "dxy" in found.Muon.fields
    assert "pfRelIso04_all" not in found.Muon.fields
    assert "JetPFCands" not in found.fields
    assert type(found.PFCands).__name__ == "NanoCollectionArray"
    ak.sum(found.PFCands.pt)
    assert {c for r in server.data_requests for c in r.columns} == {"nPFCands", "PFCands_pt"}


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
@pytest.mark.parametrize("schema", [NanoAODSchema, PFNanoAODSchema, BaseSchema])
def test_options_pickle_with_the_column_list(nano, nano_served, server, service, pickler, schema):
    body = pickler.dumps(service.nanoevents(schema, dataset="nano"))
    asked = len(server.log)
    options = pickler.loads(body)
    total = ak.sum(ak.flatten(uproot.open(nano[0])["Events"]["Muon_pt"].array()))
    found = events(nano[0], options=options)
    muons = found.Muon_pt if schema is BaseSchema else found.Muon.pt
    assert np.isclose(ak.sum(muons), total)
    assert len(server.log) == asked
    assert len(body) < 20_000


def test_a_columns_service_that_is_down_leaves_local_columns_alone(nano, nano_served, service):
    options = service.nanoevents(PFNanoAODSchema, dataset="nano")
    from dataclasses import replace

    from columnservice.nanoevents.branches import ColumnClasses

    offer = options["uproot_options"]["custom_classes"]._offer
    gone = replace(service, transport=replace(service.transport, url="http://127.0.0.1:9"))
    options["uproot_options"]["custom_classes"] = ColumnClasses(replace(offer, service=gone))
    found = events(nano[0], options=options)
    assert ak.sum(found.Muon.pt) > 0
    with pytest.raises(Unreachable):
        ak.sum(found.PFCands.pt)


def test_eager_mode_is_refused_unless_columns_are_named(
    nano, full_nano, nano_served, server, service
):
    options = service.nanoevents(NanoAODSchema, dataset="nano")
    with pytest.raises(RequestError, match="Eager"):
        events(nano[0], options=options, mode="eager")
    assert server.data_requests == []
    options = service.nanoevents(BaseSchema, dataset="nano", columns="Muon_dxy")
    found = events(
        nano[0],
        options=options,
        mode="eager",
        iteritems_options={"filter_name": ["Muon_*", "nMuon", "event"]},
    )
    truth = uproot.open(full_nano)["Events"]["Muon_dxy"].array()
    assert found.Muon_dxy.to_list() == truth.to_list()


def test_a_field_without_number_of_objects_in_common_is_not_offered(
    server, nano, full_nano, service
):
    served = serve_nanoaod("nano", full_nano, nano[1], nano[2])
    from columnservice.model import Column, Member

    served.columns += [
        Column("Muon_weight", (Member("", "float32"),), 0),
        Column("MET_parts", (Member("", "float32"),), 1, shape="MET"),
        Column("nMET", (Member("", "int32"),), 0, counts_of="MET"),
        Column("Jet_charge", (Member("", "float32"),), 1, shape="Jet"),
    ]
    server.add(served)
    options = service.nanoevents(NanoAODSchema, dataset="nano")
    found = events(nano[0], options=options)
    plain = events(nano[0], schema=NanoAODSchema)
    assert "weight" not in found.Muon.fields
    assert found.MET.fields == plain.MET.fields
    assert type(found.MET) is type(plain.MET)
    assert "nMET" not in found.fields
    assert ak.all(found.Jet.charge == 0)
    assert server.data_requests == []
    tree = uproot.open(nano[0], **options["uproot_options"])["Events"]
    with pytest.raises(UnsupportedColumn, match="list per event"):
        tree["Muon_weight"]
    assert "Muon_weight" not in tree
