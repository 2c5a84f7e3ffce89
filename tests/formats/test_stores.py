"""Labels in objects that are stored whole: real labels' bytes, put among the other members."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest

from columnservice.formats import apply
from columnservice.formats.classes import ClassMember, stores_of
from columnservice.formats.labelsought import labels_of_entry
from columnservice.formats.stores import label_stores, store_parameters
from columnservice.formats.streamed import EMPTY, TEXTS, cut
from columnservice.model import Member, Recipe, plain
from tests.formats.support import RAW
from tests.formats.test_labels import path_of
from tests.formats.test_streamed import element, info

pytestmark = pytest.mark.fast

STREAMERS = {
    "Thing": info(
        element("TStreamerBasicType", "pt", code=5),
        element("TStreamerSTL", "pairDiscriVector_", "vector<pair<string,float> >", 500),
        element("TStreamerSTL", "tauIDs_", "vector<pair<string,float> >", 500),
        element("TStreamerSTL", "jec_", "vector<pat::JetCorrFactors>", 500),
        element("TStreamerSTL", "userFloatLabels_", "vector<string>", 500),
        element("TStreamerSTL", "userFloats_", "vector<float>", 500),
        element("TStreamerSTL", "photonIDs_", "vector<int>", 500),
    )
}
MEMBERS = ("pairDiscriVector_", "jec_", "userFloatLabels_", "userFloats_")


def counted(data: bytes) -> bytes:
    return struct.pack(">I", 0x40000000 | len(data)) + data


@pytest.fixture(scope="module")
def jets(phys14):
    """Rows of whole objects: real jets' members as their branches hold them, others empty."""
    entries = {}
    for member in MEMBERS[:3]:
        path = path_of(phys14, f"patJets_slimmedJets__PAT.obj.{member}")
        entries[member] = [bytes(np.asarray(row)) for row in phys14.tree[path].array(RAW)]
    path = path_of(phys14, "patJets_slimmedJets__PAT.obj.userFloats_")
    floats = phys14.tree[path].array().tolist()
    rows = [counted(struct.pack(">HHI", 0x4009, 3, 0))]  # an event without jets
    for event, counts in enumerate(phys14.column("nslimmedJets").values.tolist()):
        lists = b"".join(struct.pack(f">I{len(one)}f", len(one), *one) for one in floats[event])
        data = struct.pack(f">HHI{counts}f", 0x4009, 3, counts, *range(counts))
        data += entries["pairDiscriVector_"][event] + counted(b"\0\x09" + bytes(4))
        data += entries["jec_"][event] + entries["userFloatLabels_"][event]
        data += counted(struct.pack(">H", 9) + lists) + counted(b"\0\x09" + bytes(4))
        rows.append(counted(data))
    raw = np.frombuffer(b"".join(rows), np.uint8)
    offsets = np.concatenate(([0], np.cumsum([len(row) for row in rows])))
    return SimpleNamespace(raw=plain(raw, offsets), entries=entries)


def test_only_members_with_labels_of_known_types_are_stores():
    kinds = {store.name: kind.decode for kind, store in label_stores(STREAMERS, "Thing")}
    assert kinds == {
        "pairDiscriVector_": "pair_float32",
        "tauIDs_": "pair_float32",
        "jec_": "factor_float32",
        "userFloatLabels_": "label_float32",
    }
    assert stores_of(STREAMERS, "Thing")["jec_"][1] == "V3:7 F4 C2 X0 C3"
    assert stores_of(STREAMERS, "Nothing") == {}


def test_what_is_cut_out_is_what_the_members_own_branch_holds(jets):
    for _, store in label_stores(STREAMERS, "Thing"):
        if store.name not in jets.entries:
            continue
        empty = EMPTY[store.item.dtype]
        found, objects = cut(jets.raw, store.program, empty)
        rows = np.split(found.values, found.offsets[0][1:-1])
        assert [row.tobytes() for row in rows] == [empty, *jets.entries[store.name]]
        assert np.diff(objects.offsets[0])[0] == 0


def test_values_under_labels_are_those_of_the_split_branches(jets, phys14):
    tried = 0
    values = ClassMember("userFloats_", Member("", "float32"), 1, "V3:7 F4 C4 L4 C1")
    for kind, store in label_stores(STREAMERS, "Thing"):
        if store.name not in jets.entries:
            continue
        path = path_of(phys14, f"patJets_slimmedJets__PAT.obj.{store.name}")
        for offered in phys14.readable():
            if offered.column.source != path:
                continue
            beside = values if store.item.dtype == TEXTS else None
            parameters = store_parameters(kind, store, beside, offered.recipe.parameters)
            found = apply(Recipe("x", (), "streamed", parameters), [jets.raw, jets.raw])
            truth = phys14.column(offered.column.name)
            assert found.offsets[0].tolist() == [0, *truth.offsets[0].tolist()]
            np.testing.assert_array_equal(found.values, truth.values)
            tried += 1
    assert tried > 15


def test_rows_without_objects_have_no_labels():
    for told, empty in EMPTY.items():
        member = SimpleNamespace(size=0 if told == TEXTS else 4)
        assert labels_of_entry(empty, member) == set()


def test_whole_jets_of_newer_files_wait_for_another_file_to_name_their_labels(mini2018):
    """The file has no events, so no labels; its own branches tell how each would be read."""
    store = mini2018.offered["slimmedJetsAK8_pairDiscriVector"]
    assert store.unlisted.decode == "streamed"
    assert store.column.source.endswith("slimmedJetsAK8__PAT.obj:pairDiscriVector_")
    assert [name.split(" ")[0] for name, _ in store.unlisted.parameters[:2]] == [
        "#0:pairs:0",
        "#1:objects:0",
    ]
    assert store.unlisted.parameters[2][0] == ">pair_float32"
