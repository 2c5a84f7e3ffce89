"""Fields of a full derivation on calibrated, re-sorted PHYSLITE objects, by a real service."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from coffea.nanoevents import NanoEventsFactory, PHYSLITESchema

import columnservice
from columnservice import wire
from tests.support.selected import write_selected_physlite
from tests.support.truth import Parent, expected

DAOD = "atlas/daod_exot15_10ev.root"
CONTAINERS = {"AnalysisMuons": "MuonsAuxDyn", "AnalysisJets": "AntiKt4EMTopoJetsAux"}
INDEX = {"AnalysisMuons": "MuonsIdx", "AnalysisJets": "AntiKt4EMTopoJetsIdx"}
ROWS = [3, 0, 8, 6, 5, 1, 4]
# As the file's own EventFormat says; and the jets that PHYSLITE keeps.
KEYS = {"AnalysisMuons": 561286892, "AnalysisJets": 733040294}
PFLOW = 1006278415
LINKS = {"by_direction": None, "by_link": 0, "by_wrong_link": 1}


def register(service, data_dir, folder, name, **options):
    parent = Parent(data_dir / DAOD, "daod")
    truth = write_selected_physlite(
        folder / "local.root", parent, ROWS, CONTAINERS, **{"link_keys": KEYS, **options}
    )
    service.register(f"{name}_daod", "daod", [data_dir / DAOD])
    summary = service.register(name, "physlite", [truth.path], parent=f"{name}_daod")
    assert summary["coverage"] == {"events": len(ROWS), "with_parent": len(ROWS)}, summary
    return name, parent, truth


@pytest.fixture(scope="module", params=list(LINKS))
def made(request, service, data_dir, tmp_path_factory):
    """A registered file of selected objects, the truth, and the parent by plain uproot."""
    name = f"physlite_{request.param}"
    folder = tmp_path_factory.mktemp(name)
    return register(service, data_dir, folder, name, thinned=LINKS[request.param])


def answer(service, name, columns):
    told = {c["name"]: wire.column_from_json(c) for c in service.columns(name)}
    data = service.data(name, service.uuids(name)[0], 0, len(ROWS), columns)
    [batch] = pa.ipc.open_stream(data).read_all().to_batches()
    return {c: wire.decode_column(told[c], batch) for c in columns}


@pytest.mark.parametrize("local", CONTAINERS)
def test_calibrated_and_shuffled_objects_find_what_they_were_made_from(service, made, local):
    name, parent, truth = made
    prefix = f"{local}AuxDyn."
    index = prefix + INDEX[local]
    [told] = [c for c in service.columns(name) if c["name"] == index]
    if (name, local) == ("physlite_by_direction", "AnalysisJets"):
        # Nothing says which jets they are.
        assert told["support"] == "unsupported"
        return
    assert ("by its link" in told["doc"]) == (name != "physlite_by_direction")
    fields = [
        c["name"]
        for c in service.columns(name)
        if c["source"].endswith(f" through {index}") and c["type"] == "var * float32"
    ]
    assert len(fields) > 20
    found = answer(service, name, [index, *fields[:40]])
    right = [i for event in truth.index[local] for i in event]
    assert found[index].values.tolist() == right
    sources = {c["name"]: c["source"].partition(" through ")[0] for c in service.columns(name)}
    events = np.repeat(np.arange(len(ROWS)), np.diff(found[index].offsets[0]))
    for field in fields[:40]:
        want = expected([parent], sources[field], truth.take)
        assert np.array_equal(
            found[field].values, want.values[want.offsets[0][events] + right], equal_nan=True
        ), field


def test_jets_that_say_nothing_are_not_taken_for_another_algorithms(service, data_dir, tmp_path):
    name, _, _ = register(service, data_dir, tmp_path, "physlite_silent")
    told = {c["name"]: c for c in service.columns(name)}
    column = told["AnalysisJetsAuxDyn.hasMatch"]
    assert column["support"] == "unsupported"
    assert column["reason"].endswith("were copied from there and not from AntiKt4EMPFlowJets")
    assert told["AnalysisMuonsAuxDyn.hasMatch"]["support"] == "ok"


def test_links_into_another_container_are_not_taken_for_places_in_this_one(
    service, data_dir, tmp_path
):
    keys = {**KEYS, "AnalysisJets": PFLOW}
    name, _, _ = register(service, data_dir, tmp_path, "physlite_pflow", thinned=0, link_keys=keys)
    index = "AnalysisJetsAuxDyn.AntiKt4EMTopoJetsIdx"
    assert set(answer(service, name, [index])[index].values) == {-1}


def test_nothing_that_leads_into_the_parents_containers_is_put_on_local_objects(service, made):
    name, parent, _ = made
    derived = [c for c in service.columns(name) if c["origin"] == "derived"]
    sources = {c["source"].partition(" through ")[0] for c in derived if "through" in c["source"]}
    assert sources
    links = {
        key.rpartition("/")[2]
        for key, branch in parent.tree.items()
        if "ElementLink" in (branch.typename or "") or "m_pers" in key
    }
    assert links & parent.columns.keys()
    assert not links & sources


def test_coffea_has_them_on_its_muons(service, made):
    name, parent, truth = made
    told = columnservice.connect(service.url).nanoevents(PHYSLITESchema, dataset=name)
    events = NanoEventsFactory.from_root({str(truth.path): "CollectionTree"}, **told).events()
    want = parent.branch(parent.columns["MuonsAuxDyn.topoetcone20"].recipe.reads[0])
    got = events.Muons.topoetcone20.to_list()
    assert got == [
        want[row][index].to_list()
        for row, index in zip(ROWS, truth.index["AnalysisMuons"], strict=True)
    ]
