from __future__ import annotations

import pickle
from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoEventsFactory, PHYSLITESchema

from columnservice.errors import CountsMismatch, UnsupportedColumn
from columnservice.model import Column, Member, Ragged, plain

from .conftest import ATLAS_EXTRA
from .files import physlite_columns, referring, same, serve_physlite, write_physlite

TREE = "CollectionTree"
# What coffea says of the experiment's file itself.
pytestmark = pytest.mark.filterwarnings("ignore:Skipping .* as it is:UserWarning")


def events(path, options, **more):
    return NanoEventsFactory.from_root({str(path): TREE}, **options, **more).events()


@pytest.fixture
def options(atlas_served, service):
    return service.nanoevents(PHYSLITESchema, dataset="atlas")


@pytest.fixture
def found(atlas, options):
    return events(atlas[0], options)


@pytest.fixture(scope="module")
def truth(full_atlas):
    return events(full_atlas, {"schemaclass": PHYSLITESchema})


def test_every_offered_column_equals_the_full_file(atlas, full_atlas, options):
    local = uproot.open(atlas[0], **options["uproot_options"])[TREE]
    full = uproot.open(full_atlas)[TREE]
    # They lead into local containers, of which nothing shows that they are the parent's.
    refused = {f"TruthMuonsAuxDyn.{links}" for links in ("childLinks", "parentLinks")}
    assert {name for name in atlas[2] if name not in local} == refused
    for name in (n for n in atlas[2] if n not in refused):
        other = full[name].array()
        if any("." in field for field in other.fields):
            other = ak.zip({f.rpartition(".")[2]: other[f] for f in other.fields})
        one = local[name].array()
        assert same(one, other), name
        part = local[name].array(entry_start=17, entry_stop=71)
        assert same(part, other[17:71]), name


def test_nested_links_have_the_form_of_a_local_branch(atlas, full_atlas, options):
    local = uproot.open(atlas[0], **options["uproot_options"])[TREE]
    full = uproot.open(full_atlas)[TREE]
    for name in ("AnalysisElectronsAuxDyn.trackParticleLinks", "AnalysisElectronsAuxDyn.pt"):
        form = local[name].interpretation.awkward_form(None)
        truth = full[name].interpretation.awkward_form(None)
        # uproot names the C++ class of a link; coffea drops that name
        assert ak.forms.form.from_type(form.type) == ak.forms.form.from_type(
            ak.without_parameters(truth.length_zero_array()).layout.form.type
        )
        assert local[name].array().layout.form == form


def test_links_are_followed_between_remote_and_local_containers(found, truth):
    assert type(found.Electrons) is type(truth.Electrons)
    assert type(found.GSFTrackParticles) is type(truth.GSFTrackParticles)
    assert same(found.Electrons.trackParticles.pt, truth.Electrons.trackParticles.pt)
    assert same(found.Electrons.caloClusters.calE, truth.Electrons.caloClusters.calE)
    assert same(found.Muons.combinedTrackParticle.pt, truth.Muons.combinedTrackParticle.pt)
    assert same(found.Electrons.truthParticleLink, truth.Electrons.truthParticleLink)
    some = [e[5:50].Electrons[:, :1].trackParticles.z0 for e in (found, truth)]
    assert same(*some)


def test_vectors_and_scalars_behave_as_in_the_full_file(found, truth):
    masses = [(e.Electrons[:, :1] + e.Electrons[:, :1]).mass for e in (found, truth)]
    assert same(*masses)
    assert same(found.Muons.charge, truth.Muons.charge)
    assert same(found.Muons.muonSegmentLinks, truth.Muons.muonSegmentLinks)
    assert same(found.EventInfo.mcEventWeights, truth.EventInfo.mcEventWeights)
    assert same(found.EventInfo.mcChannelNumber, truth.EventInfo.mcChannelNumber)


def test_a_field_of_a_new_container_brings_the_column_that_gives_its_offsets(
    atlas, options, server
):
    tree = uproot.open(atlas[0], **options["uproot_options"])[TREE]
    tree["AnalysisElectronsAuxDyn.eta"].array()
    tree["AnalysisElectronsAuxDyn.pt"].array()
    assert [r.columns for r in server.data_requests] == [
        ["AnalysisElectronsAuxDyn.eta", "AnalysisElectronsAuxDyn.pt"]
    ]


def test_the_schema_pickles_with_everything(atlas, options, truth):
    again = events(atlas[0], pickle.loads(pickle.dumps(options)))
    assert same(again.Electrons.pt, truth.Electrons.pt)


def longer(value: Ragged, row: int) -> Ragged:
    """The same with one more object in one event."""
    counts = np.diff(value.offsets[0])
    at = value.offsets[0][row]
    counts[row] += 1
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Ragged((offsets,), {m: np.insert(v, at, 0) for m, v in value.content.items()})


def test_a_remote_column_that_disagrees_with_the_local_container_is_caught(
    atlas, atlas_served, options
):
    table = atlas_served.tables[atlas[1]]
    name = "AnalysisMuonsAuxDyn.charge"
    table.values[name] = longer(table.values[name], 40)
    tree = uproot.open(atlas[0], **options["uproot_options"])[TREE]
    with pytest.raises(CountsMismatch, match=r"AnalysisMuonsAuxDyn\.charge .* entry 40 ") as caught:
        tree[name].array()
    assert caught.value.__context__ is None
    assert len(tree[name].array(entry_stop=40)) == 40


def test_remote_columns_that_disagree_with_each_other_are_caught(atlas, atlas_served, options):
    table = atlas_served.tables[atlas[1]]
    name = "AnalysisElectronsAuxDyn.eta"
    table.values[name] = longer(table.values[name], 7)
    some = events(atlas[0], options)
    assert ak.sum(some.Electrons.pt) > 0
    with pytest.raises(CountsMismatch, match=r"AnalysisElectronsAuxDyn\.pt says"):
        ak.sum(some.Electrons.eta)


def test_missing_events_mask_containers_and_fields(atlas, atlas_served, service, truth):
    table = atlas_served.tables[atlas[1]]
    present = np.arange(100) % 9 != 4
    atlas_served.tables[atlas[1]] = replace(table, present=present)
    options = service.nanoevents(PHYSLITESchema, dataset="atlas", missing="mask")
    some = events(atlas[0], options)
    assert some.hasParent.to_list() == present.tolist()
    assert (
        ak.num(some.Electrons).to_list() == np.where(present, ak.num(truth.Electrons), 0).tolist()
    )
    assert ak.num(some.Muons.charge).to_list() == ak.num(some.Muons.pt).to_list()
    here = np.repeat(present, ak.num(truth.Muons))
    charge = np.where(here, ak.to_numpy(ak.flatten(truth.Muons.charge)), np.float32(np.nan))
    found = ak.to_numpy(ak.flatten(some.Muons.charge))
    assert np.array_equal(found, charge, equal_nan=True)
    assert same(
        some[present].Electrons.trackParticles.pt, truth[present].Electrons.trackParticles.pt
    )


def test_columns_that_would_change_a_local_container_are_refused(
    atlas, atlas_served, service, truth
):
    atlas_served.columns += [
        Column("AnalysisMuonsAuxDyn.single", (Member("", "float32"),), 0),
        Column("AnalysisMuonsAuxDyn.m", (Member("", "float32"),), 1, shape="AnalysisMuonsAuxDyn.m"),
        Column("AnalysisJetsAuxDyn.e", (Member("", "float32"),), 1, shape="AnalysisJetsAuxDyn.e"),
    ]
    options = service.nanoevents(PHYSLITESchema, dataset="atlas")
    some = events(atlas[0], options)
    assert "single" not in some.Muons.fields
    assert ak.all(some.Muons.m == np.float32(105.658))
    assert "e" not in some.Jets.fields
    assert same((some.Jets + some.Jets).mass, (truth.Jets + truth.Jets).mass)
    tree = uproot.open(atlas[0], **options["uproot_options"])[TREE]
    with pytest.raises(UnsupportedColumn, match="list per event"):
        tree["AnalysisMuonsAuxDyn.single"]


def test_containers_without_the_fields_of_their_mixin_are_plain_collections(
    atlas, atlas_served, service
):
    some = events(
        atlas[0],
        service.nanoevents(
            PHYSLITESchema,
            dataset="atlas",
            columns=["GSFTrackParticlesAuxDyn.z0", "AnalysisElectronsAuxDyn.charge"],
        ),
    )
    assert type(some.GSFTrackParticles).__name__ == "NanoCollectionArray"
    assert type(some.Electrons).__name__ == "NanoCollectionArray"
    assert ak.count(some.GSFTrackParticles.z0) > 0


def test_new_containers_with_four_vectors_are_particles(atlas, atlas_served, service, truth):
    table = atlas_served.tables[atlas[1]]
    for field in ("pt", "eta", "phi", "m"):
        name = f"NovelJetsAuxDyn.{field}"
        table.values[name] = table.values[f"AnalysisElectronsAuxDyn.{field}"]
        atlas_served.columns.append(Column(name, (Member("", "float32"),), 1, shape=name))
    table.values["NovelFlagAuxDyn.set"] = plain(np.ones(100, np.bool_))
    atlas_served.columns.append(Column("NovelFlagAuxDyn.set", (Member("", "bool"),), 0))
    some = events(atlas[0], service.nanoevents(PHYSLITESchema, dataset="atlas"))
    assert type(some.NovelJets).__name__ == "ParticleArray"
    assert same(some.NovelJets.delta_r(some.NovelJets), truth.Electrons.delta_r(truth.Electrons))
    assert ak.all(some.NovelFlag)


def test_older_files_have_their_keys_in_a_static_store(data_dir):
    from columnservice.nanoevents.layouts import LAYOUTS

    names = {"EventInfoAux.runNumber", "EventInfoAux.lumiBlock", "EventInfoAux.eventNumber"}
    for candidates in LAYOUTS["daod"].keys:
        assert [c for c in candidates if c in names]
    tree = uproot.open(data_dir / "atlas" / "xaod_jets_10ev.root")[TREE]
    assert tree["EventInfoAux.eventNumber"].array(library="np").dtype == np.uint64


def test_local_objects_in_another_order_than_the_parents_get_no_fields(
    atlas, atlas_served, options, server
):
    table = atlas_served.tables[atlas[1]]
    name = "parent:AnalysisMuonsAuxDyn.phi"
    value = table.values[name]
    row = int(np.flatnonzero(np.diff(value.offsets[0]) > 1)[0])
    first = value.offsets[0][row]
    phi = value.values.copy()
    phi[[first, first + 1]] = phi[[first + 1, first]]
    table.values[name] = plain(phi, value.offsets[0])
    tree = uproot.open(atlas[0], **options["uproot_options"])[TREE]
    told = rf"AnalysisMuonsAuxDyn\.phi: first in entry {row} .*\(1 such"
    with pytest.raises(CountsMismatch, match=told):
        tree["AnalysisMuonsAuxDyn.charge"].array()
    assert server.data_requests[-1].references == ["parent:AnalysisMuonsAuxDyn.eta", name]


TRACKS = "CombinedMuonTrackParticlesAuxDyn"


@pytest.fixture
def with_tracks(full_atlas, server, service, tmp_path):
    """A local file with muons and their tracks, and a service that adds the link from the parent.

    Gives the service's table and what opens the file.
    """
    path = tmp_path / "tracks.root"

    def keep(name: str) -> bool:
        container = name.partition(".")[0]
        return container in (TRACKS, "AnalysisMuonsAuxDyn") and name not in ATLAS_EXTRA

    uuid = write_physlite(full_atlas, path, keep)
    link = "AnalysisMuonsAuxDyn.combinedTrackParticleLink"
    served = server.add(serve_physlite("tracks", full_atlas, uuid, [link]))
    more, theirs = referring(*physlite_columns(full_atlas, [f"{TRACKS}.phi", f"{TRACKS}.theta"]))
    served.columns += more
    served.tables[uuid].values.update(theirs)

    def build():
        return events(path, service.nanoevents(PHYSLITESchema, dataset="tracks"))

    return served.tables[uuid], build


def test_links_of_the_parent_are_followed_into_local_objects_that_are_the_parent_s(
    with_tracks, truth
):
    _, build = with_tracks
    found = build()
    assert same(found.Muons.combinedTrackParticle.theta, truth.Muons.combinedTrackParticle.theta)
    assert ak.count(found.Muons.combinedTrackParticle.theta) > 0


def test_links_of_the_parent_are_never_followed_into_a_thinned_container(with_tracks):
    table, build = with_tracks
    name = f"parent:{TRACKS}.phi"
    table.values[name] = longer(table.values[name], 40)
    found = build()
    with pytest.raises(CountsMismatch, match=rf"{TRACKS}\.phi: first in entry 40"):
        ak.sum(found.Muons.combinedTrackParticle.theta)
    with pytest.raises(CountsMismatch):
        ak.sum(found.Muons.combinedTrackParticleLink.m_persIndex)
    assert ak.sum(found.Muons.pt) > 0
    assert ak.sum(found.CombinedMuonTrackParticles.theta) > 0
