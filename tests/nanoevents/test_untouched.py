"""With the plugin active and no remote column touched, everything local is as without it."""

from __future__ import annotations

import json
import warnings

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory, PFNanoAODSchema, PHYSLITESchema

from columnservice.model import Column, Member, plain

from ..support.wire_server import ServedDataset, Table, as_reference
from .files import nanoaod_keys, physlite_keys

NANO_NEW = [
    ("nLostTracks", "int32", 0, "LostTracks"),
    *((f"LostTracks_{f}", "float32", 1, None) for f in ("pt", "eta", "phi", "mass")),
    ("Muon_novel", "float32", 1, None),
    ("Muon_energy", "float32", 1, None),
    ("Jet_partIdx", "int16", 1, None),
    ("MET_novel", "float32", 0, None),
    ("Photon_mass", "float32", 1, None),
    ("Jet_charge", "float32", 1, None),
    ("CorrT1METJet_mass", "float32", 1, None),
    ("GenPart_novel", "float32", 1, None),
    ("novel", "float64", 0, None),
    ("nMuonic", "int32", 0, None),
    ("nHLT", "int32", 0, "HLT"),
]
ATLAS_NEW = [
    ("AnalysisMuonsAuxDyn.novel", "float32", 1, None),
    ("AnalysisMuonsAuxDyn.nested", "float32", 2, None),
    ("AnalysisMuonsAuxDyn.single", "float32", 0, None),
    ("AnalysisMuonsAuxDyn.energy", "float32", 1, None),
    ("InDetTrackParticlesAuxDyn.pt", "float32", 1, None),
    ("EventInfoAuxDyn.novel", "float32", 0, None),
    ("EventInfoAuxDyn.list", "float32", 1, None),
    ("index_ref.more", "float32", 0, None),
    ("NovelTracksAuxDyn.pt", "float32", 1, None),
    ("NovelTracksAuxDyn.eta", "float32", 1, None),
]


def serve(server, name, layout, path, tree, keys, new):
    """A Dataset that adds new columns to a file as it is; none of them can be read."""
    columns = []
    for column, dtype, depth, counts in new:
        shape = (column if "." in column else column.partition("_")[0]) if depth else None
        columns.append(
            Column(column, (Member("", dtype),), depth, shape=shape, counts_of=counts, doc="new")
        )
    mark, read = "." if layout == "physlite" else "_", uproot.open(path)[tree]
    groups = {c.name.partition(mark)[0] for c in columns if c.depth}
    for branch in read.keys():  # noqa: SIM118
        group = branch.partition(mark)[0]
        if group in groups and read[branch].typename in ("float[]", "std::vector<float>"):
            shape = branch if mark == "." else group
            local = Column(branch, (Member("", "float32"),), 1, shape=shape)
            columns.append(as_reference(local))
    present = np.ones(len(keys), np.bool_)
    table = Table(keys, {c.name: plain(np.zeros(0)) for c in columns}, present)
    uuid = str(uproot.open(path).file.uuid)
    server.add(ServedDataset(name, layout, columns, {uuid: table}))


def form_of_local(events) -> dict:
    """The Form as coffea built it, as plain values."""
    return json.loads(json.dumps(events.attrs["@form"]))


def without_remote(form: dict, remote: set[str]) -> dict:
    """A Form without the fields that the service added: they are known by their title."""

    def is_remote(part: dict) -> bool:
        while part["class"].startswith("ListOffset"):
            part = part["content"]
        doc = (part.get("parameters") or {}).get("__doc__") or ""
        if part["class"] == "RecordArray" and part["contents"] and "[columnservice" not in doc:
            return all(map(is_remote, part["contents"]))
        read = (part.get("form_key") or "").partition("%2C")[0]
        return "[columnservice" in doc or read in remote

    form = dict(form)
    if form["class"].startswith("ListOffset"):
        form["content"] = without_remote(form["content"], remote)
    elif form["class"] == "RecordArray":
        kept = [
            (field, without_remote(content, remote))
            for field, content in zip(form["fields"], form["contents"], strict=True)
            if not is_remote(content)
        ]
        form["fields"] = [field for field, _ in kept]
        form["contents"] = [content for _, content in kept]
    return form


def by_name(form: dict) -> dict:
    """The top-level fields by name: coffea's order of collections is that of a set."""
    return dict(zip(form["fields"], form["contents"], strict=True))


def build(path, tree, schemaclass, **more):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        events = NanoEventsFactory.from_root(
            {str(path): tree}, schemaclass=schemaclass, **more
        ).events()
    return events, sorted(str(w.message) for w in said)


CASES = [
    ("cms/pfnano.root", PFNanoAODSchema, "Events"),
    ("cms/nano_dy.root", NanoAODSchema, "Events"),
    ("cms/nano_dimuon.root", NanoAODSchema, "Events"),
    ("atlas/PHYSLITE_example.root", PHYSLITESchema, "CollectionTree"),
]


@pytest.mark.parametrize(("file", "schema", "tree"), CASES, ids=[c[0] for c in CASES])
def test_a_whole_file_is_as_without_the_plugin(data_dir, server, service, file, schema, tree):
    path = data_dir / file
    if tree == "Events":
        serve(server, "d", "nanoaod", path, tree, nanoaod_keys(path), NANO_NEW)
    else:
        serve(server, "d", "physlite", path, tree, physlite_keys(path), ATLAS_NEW)
    options = service.nanoevents(schema, dataset="d")
    plain_events, before = build(path, tree, schema)
    events, after = build(path, tree, **options)
    assert after == before
    remote = {name for name, *_ in (NANO_NEW if tree == "Events" else ATLAS_NEW)}
    assert set(events.fields) > set(plain_events.fields)
    assert events.fields != plain_events.fields
    found = by_name(without_remote(form_of_local(events), remote))
    truth = by_name(form_of_local(plain_events))
    assert {name: found[name] for name in truth} == truth
    for name in truth:
        one, other = (_loaded(e, name, truth[name]) for e in (events, plain_events))
        assert one.keys() == other.keys()
        for path_, buffer in other.items():
            assert np.array_equal(one[path_], buffer, equal_nan=buffer.dtype.kind == "f"), path_
    assert server.data_requests == []


def _loaded(events, name: str, form: dict) -> dict[str, np.ndarray]:
    """The buffers of one top-level field that local branches fill, by their place in the Form."""
    layout = events.layout.content(name)
    found: dict[str, np.ndarray] = {}

    def walk(layout, form, path):
        if form["class"].startswith("ListOffset"):
            found[path] = np.asarray(layout.offsets.data)
            walk(layout.content, form["content"], path + "/*")
        elif form["class"] == "RecordArray":
            for field, part in zip(form["fields"], form["contents"], strict=True):
                walk(layout.content(field), part, f"{path}/{field}")
        elif form["class"] == "NumpyArray":
            found[path] = ak.to_numpy(layout)

    walk(layout, form, name)
    return found


@pytest.mark.parametrize(("file", "schema", "tree"), CASES[:1] + CASES[3:], ids=["cms", "atlas"])
def test_every_local_branch_reads_as_without_the_plugin(
    data_dir, server, service, file, schema, tree
):
    path = data_dir / file
    if tree == "Events":
        serve(server, "d", "nanoaod", path, tree, nanoaod_keys(path), NANO_NEW)
    else:
        serve(server, "d", "physlite", path, tree, physlite_keys(path), ATLAS_NEW)
    options = service.nanoevents(schema, dataset="d")["uproot_options"]
    bare, extended = uproot.open(path)[tree], uproot.open(path, **options)[tree]
    assert extended.keys()[: len(bare.keys())] == bare.keys()
    for name in bare.keys():  # noqa: SIM118 (a tree iterates over branches)
        assert extended[name].typename == bare[name].typename
        assert extended[name].cache_key == bare[name].cache_key
    assert server.data_requests == []
