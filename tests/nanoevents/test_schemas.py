from __future__ import annotations

import copy
import pickle

import cloudpickle
import pytest
from coffea.nanoevents import BaseSchema, NanoAODSchema, PFNanoAODSchema, PHYSLITESchema

from columnservice.nanoevents.schemas import schema_for

pytestmark = pytest.mark.fast


class MyNano(NanoAODSchema):
    """A user's own."""

    mixins = {**NanoAODSchema.mixins, "Special": "PtEtaPhiMCollection"}  # noqa: RUF012
    warn_missing_crossrefs = False


SCHEMAS = [NanoAODSchema, PFNanoAODSchema, PHYSLITESchema, MyNano]


@pytest.mark.parametrize("base", SCHEMAS)
def test_a_schema_is_a_subclass_of_the_user_s_and_made_once(base):
    made = schema_for(base)
    assert issubclass(made, base)
    assert made is not base
    assert made.__name__ == base.__name__
    assert schema_for(base) is made
    assert schema_for(made) is made
    assert made.mixins is base.mixins
    assert made.__dask_capable__
    changed = {"NanoEvents", ("*", "NanoEvents")}
    assert made.behavior().keys() == base.behavior().keys()
    for name, value in base.behavior().items():
        assert made.behavior()[name] is value or name in changed
        assert name not in changed or issubclass(made.behavior()[name], value)


@pytest.mark.parametrize("base", SCHEMAS)
def test_a_schema_pickles_by_reference_to_what_it_was_made_from(base):
    made = schema_for(base)
    assert pickle.loads(pickle.dumps(made)) is made
    assert len(pickle.dumps(made)) < 200
    assert issubclass(cloudpickle.loads(cloudpickle.dumps(made)), base)
    assert copy.deepcopy(made) is made


def test_schemas_that_do_not_build_collections_only_learn_to_report():
    form = {"class": "RecordArray", "fields": [], "contents": [], "parameters": {}}
    made = schema_for(BaseSchema)
    assert made(dict(form)).form == BaseSchema(dict(form)).form
    assert issubclass(made, BaseSchema)
    assert pickle.loads(pickle.dumps(made)) is made


def test_a_schema_knows_its_service_and_may_learn_of_another():
    here, there = (
        schema_for(NanoAODSchema, "http://here"),
        schema_for(NanoAODSchema, "http://there"),
    )
    assert pickle.loads(pickle.dumps(here)) is here
    assert schema_for(here) is here
    assert schema_for(here, "http://there") is there
    assert here.__mro__.count(NanoAODSchema) == 1


def test_versions_of_the_nanoaod_schema_work():
    made = schema_for(NanoAODSchema.v6)
    assert made.__self__ is schema_for(NanoAODSchema)
    assert pickle.loads(pickle.dumps(made)) == made


def leaf(key: str, primitive: str, remote: bool, depth: int = 1) -> dict:
    doc = f"{key} [columnservice: parent]" if remote else key
    form: dict = {
        "class": "NumpyArray",
        "primitive": primitive,
        "parameters": {"__doc__": doc},
        "form_key": f"{key},!load" + ",!content" * depth,
    }
    for level in reversed(range(depth)):
        inner = f"{key},!load" + ",!content" * level
        form = {"class": "ListOffsetArray", "offsets": "i64", "content": form, "form_key": inner}
    return form


def build(schema, local: dict[str, tuple[str, int]], remote: dict[str, tuple[str, int]]) -> dict:
    forms = {k: leaf(k, p, False, d) for k, (p, d) in local.items()}
    forms |= {k: leaf(k, p, True, d) for k, (p, d) in remote.items()}
    base = {
        "fields": list(forms),
        "contents": list(forms.values()),
        "parameters": {"__doc__": "Events", "metadata": {}},
    }
    form = schema_for(schema)(base).form
    return dict(zip(form["fields"], form["contents"], strict=True))


KEYS = {"run": ("uint32", 0), "luminosityBlock": ("uint32", 0), "event": ("uint64", 0)}
FOUR = ("pt", "eta", "phi", "mass")


def fields(group: str, *names: str, dtype: str = "float32") -> dict[str, tuple[str, int]]:
    return {f"n{group}": ("int32", 0), **{f"{group}_{n}": (dtype, 1) for n in names}}


def record(form: dict) -> str:
    return form["content"]["parameters"]["__record__"]


@pytest.mark.parametrize(
    ("group", "names", "expected"),
    [
        ("PFCands", (*FOUR, "charge"), "PFCand"),
        ("PFCands", FOUR, "PtEtaPhiMCollection"),
        ("PFCands", ("pt",), "NanoCollection"),
        ("LostTracks", (*FOUR, "charge"), "PFCand"),
        ("PackedGenPart", (*FOUR, "charge"), "PtEtaPhiMCollection"),
        ("slimmedThings", FOUR, "PtEtaPhiMCollection"),
        ("slimmedThings", (*FOUR, "energy"), "PtEtaPhiMCollection"),
        ("slimmedThings", (*FOUR, "px"), "NanoCollection"),
        ("Muon", (*FOUR, "charge"), "Muon"),
        ("Muon", FOUR, "PtEtaPhiMCollection"),
        ("SV", ("x", "y", "z", *FOUR), "SecondaryVertex"),
        ("SV", ("x", "y"), "NanoCollection"),
        ("Special", FOUR, "PtEtaPhiMCollection"),
    ],
)
def test_a_new_collection_is_the_richest_thing_that_its_fields_allow(group, names, expected):
    from columnservice.nanoevents.schemas import _accepts

    if expected == "PtEtaPhiMCollection" and not _accepts("nanoaod", expected, frozenset(names)):
        expected = "NanoCollection"
    assert record(build(MyNano, KEYS, fields(group, *names))[group]) == expected


def test_a_local_collection_keeps_its_mixin_whatever_is_added():
    local = KEYS | fields("Thing", "pt", "eta")
    form = build(MyNano, local, {"Thing_phi": ("float32", 1), "Thing_mass": ("float32", 1)})
    assert record(form["Thing"]) == "NanoCollection"
    assert form["Thing"]["content"]["fields"] == ["pt", "eta", "phi", "mass"]


def test_fields_that_would_spoil_a_local_vector_are_left_out():
    local = KEYS | fields("Muon", *FOUR, "charge")
    form = build(MyNano, local, {"Muon_px": ("float32", 1), "Muon_dxy": ("float32", 1)})
    assert form["Muon"]["content"]["fields"] == [*FOUR, "charge", "dxy"]
    assert record(form["Muon"]) == "Muon"


def test_indices_into_and_from_new_collections_become_references():
    local = KEYS | fields("Jet", *FOUR)
    remote = fields("PFCands", *FOUR, "charge") | fields("JetPFCands", "x")
    remote |= {
        "JetPFCands_pFCandsIdx": ("int32", 1),
        "JetPFCands_jetIdx": ("int32", 1),
        "Jet_pFCandsIdx": ("int16", 1),
        "PFCands_jetIdx": ("int16", 1),
        "PFCands_nowhereIdx": ("int16", 1),
    }
    form = build(MyNano, local, remote)
    assert {"pFCandsIdxG", "jetIdxG"} <= set(form["JetPFCands"]["content"]["fields"])
    assert "pFCandsIdxG" in form["Jet"]["content"]["fields"]
    assert "jetIdxG" in form["PFCands"]["content"]["fields"]
    assert "nowhereIdxG" not in form["PFCands"]["content"]["fields"]


def test_places_among_remote_candidates_become_references_but_lists_of_them_do_not():
    local = KEYS | fields("Muon", *FOUR, "charge")
    remote = fields("PFCands", *FOUR, "charge") | fields("slimmedMuons", *FOUR)
    remote |= {
        "Muon_pfCandIdx": ("int32", 1),
        "slimmedMuons_pfCandIdx": ("int32", 1),
        "slimmedMuons_signal_pfCandIdx": ("int32", 2),
    }
    form = build(MyNano, local, remote)
    assert "pfCandIdxG" in form["Muon"]["content"]["fields"]
    assert "pfCandIdxG" in form["slimmedMuons"]["content"]["fields"]
    remote["Muon_pfCandIdx"] = ("int32", 2)
    form = build(MyNano, local, remote)
    assert "pfCandIdxG" not in form["Muon"]["content"]["fields"]
    # the service has made places in the local candidates of them
    mine = local | fields("PFCands", *FOUR, "charge")
    form = build(MyNano, mine, {"Muon_pfCandIdx": ("int32", 1)})
    assert "pfCandIdxG" in form["Muon"]["content"]["fields"]
    form = build(MyNano, local, {"Muon_pfCandIdx": ("int32", 1)})
    assert "pfCandIdxG" not in form["Muon"]["content"]["fields"]


def test_a_remote_genpart_makes_no_new_warnings():
    local = KEYS | fields("Jet", *FOUR) | fields("Muon", *FOUR, "charge")

    class Strict(NanoAODSchema):
        all_cross_references = {"Muon_genPartIdx": "GenPart", "Jet_genJetIdx": "GenJet"}  # noqa: RUF012

    build(Strict, local, {})
    form = build(Strict, local, fields("GenPart", *FOUR, "pdgId"))
    assert record(form["GenPart"]) == "GenParticle"


def test_a_counter_without_its_collection_stays_an_event_scalar():
    local = KEYS | {"nPFCands": ("int32", 0)}
    remote = fields("PFCands", "pt")
    del remote["nPFCands"]
    form = build(MyNano, local, remote)
    assert form["nPFCands"]["class"] == "NumpyArray"
    assert form["PFCands"]["content"]["fields"] == ["pt"]
