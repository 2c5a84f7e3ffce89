"""Leptons and their packed candidates: by kinematics, a direct read, whole, and by damage."""

from __future__ import annotations

import itertools
import struct
import zlib

import numpy as np
import pytest

from columnservice.errors import DamagedFile
from columnservice.formats import apply
from columnservice.formats.candidates import associated
from columnservice.formats.classes import members_of
from columnservice.formats.discovery import Readable, Refused
from columnservice.formats.places import Names
from columnservice.formats.products import Leaf, Product, ProductName
from columnservice.model import Column, Member, OfferedColumn, plain
from tests.formats.support import RAW, lists
from tests.formats.test_labels import path_of
from tests.formats.test_streamed import element, info

pytestmark = pytest.mark.fast
PF_MUON = 1 << 5  # reco::Muon::PFMuon
INTO = (4, 329, 3)
MARK = INTO[0] << 16 | INTO[1]


def directly(file, objects: str, mark: str, keys: str):
    """What objects refer to, by uproot and struct: per event (branch's name or None, key)."""
    tree, meta = file["Events"], file["MetaData"]
    names = {zlib.crc32(b.name.encode()): b.name for b in tree.branches}
    numbered = meta["BranchIDLists"].array(library="ak")[0].to_list()
    of_event = tree["BranchListIndexes"].array().to_list()
    base = f"pat{objects.removeprefix('slimmed')}_{objects}__PAT.obj."
    path = {b.name: b for b in tree.itervalues(recursive=True)}
    told = path[base + keys].array().to_list()
    for event, cores in enumerate(path[base + mark].array(RAW)):
        found = []
        for core, key in zip(
            struct.iter_unpack(">HHH", bytes(np.asarray(cores))), told[event], strict=True
        ):
            _, process, product = core
            name = None
            if process:
                name = names.get(numbered[of_event[event][process - 1]][product - 1])
            found.append((name, key))
        yield found


CANDIDATES = "patPackedCandidates_packedPFCandidates__PAT."


def test_muons_point_where_a_direct_read_says(phys14):
    truth = [
        [key if name == CANDIDATES and key < 2**63 else -1 for name, key in event]
        for event in directly(
            phys14.directory, "slimmedMuons", "refToOrig_.core_", "refToOrig_.key_"
        )
    ]
    found = phys14.column("slimmedMuons_pfCandIdx")
    assert [event.tolist() for event in lists(found)] == truth
    assert found.values.dtype == np.int32
    assert (found.values >= 0).sum() == 26


@pytest.mark.parametrize("objects", ["slimmedElectrons", "slimmedPhotons"])
def test_electrons_and_photons_list_what_a_direct_read_says(phys14, objects):
    mark, keys = "packedPFCandidates_.product_", INDICES
    truth = [
        [key if name == CANDIDATES else [-1] * len(key) for name, key in event]
        for event in directly(phys14.directory, objects, mark, keys)
    ]
    found = phys14.column(f"{objects}_pfCandIdx")
    outer, inner = found.offsets
    each = [one.tolist() for one in np.split(found.values, inner[1:-1])]
    assert [each[a:b] for a, b in itertools.pairwise(outer)] == truth
    assert len(found.values) > 10


def rows_of(phys14, collection):
    """The event of each object of a collection."""
    offsets = phys14.column(f"{collection}_pt").offsets[0]
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def of_candidates(phys14, field, events, places):
    column = phys14.column(f"PFCands_{field}")
    where = column.offsets[0][events] + places
    assert (where < column.offsets[0][events + 1]).all()
    return column.values[where]


def test_the_candidate_of_a_muon_is_the_muon(phys14):
    """Same momentum and charge; a muon for particle flow exactly if the muon is a PF muon."""
    places = phys14.column("slimmedMuons_pfCandIdx").values
    held = places >= 0
    events = rows_of(phys14, "slimmedMuons")[held]
    mine = {
        f: phys14.column(f"slimmedMuons_{f}").values[held]
        for f in ("pt", "eta", "phi", "charge", "type")
    }
    theirs = {
        f: of_candidates(phys14, f, events, places[held])
        for f in ("pt", "eta", "phi", "charge", "pdgId")
    }
    np.testing.assert_allclose(theirs["pt"], mine["pt"], rtol=1e-3)
    np.testing.assert_allclose(theirs["eta"], mine["eta"], atol=2e-4)
    np.testing.assert_allclose(theirs["phi"], mine["phi"], atol=2e-4)
    np.testing.assert_array_equal(theirs["charge"], mine["charge"])
    is_pf = mine["type"] & PF_MUON > 0
    np.testing.assert_array_equal(np.abs(theirs["pdgId"]) == 13, is_pf)
    assert is_pf.sum() == 23
    assert (np.abs(theirs["pdgId"][~is_pf]) == 211).all()  # its track, taken for a hadron
    none = phys14.column("slimmedMuons_type").values[~held]
    assert (none & PF_MUON == 0).all()


@pytest.mark.parametrize(
    ("column", "near", "kinds"),
    [
        ("slimmedElectrons_pfCandIdx", 0.6, {11, 22, 211}),
        ("slimmedPhotons_pfCandIdx", 0.2, {11, 22, 211}),
        ("slimmedTaus_signalChargedHadr_pfCandIdx", 0.12, {11, 13, 211}),
        ("slimmedTaus_signalGamma_pfCandIdx", 0.2, {22}),
    ],
)
def test_listed_candidates_are_of_their_kind_and_near_their_object(phys14, column, near, kinds):
    collection = column.partition("_")[0]
    inner = phys14.column(column).offsets[1]
    places = phys14.column(column).values
    objects = np.repeat(np.arange(len(inner) - 1), np.diff(inner))
    events = rows_of(phys14, collection)[objects]
    assert (places >= 0).all()
    eta, phi, ids = (of_candidates(phys14, f, events, places) for f in ("eta", "phi", "pdgId"))
    away = eta - phys14.column(f"{collection}_eta").values[objects]
    turned = phi - phys14.column(f"{collection}_phi").values[objects]
    assert (np.hypot(away, (turned + np.pi) % (2 * np.pi) - np.pi) < near).all()
    assert set(np.abs(ids).tolist()) <= kinds
    assert len(places) > 10


INDICES = "associatedPackedFCandidateIndices_"
POINTER = "edm::Ptr<reco::Candidate>"
STREAMERS = {
    "Lepton": info(
        element("TStreamerBasicType", "pt", code=5),
        element("TStreamerObjectAny", "refToOrig_", POINTER, 62),
        element("TStreamerObjectAny", "packedPFCandidates_", "edm::RefProd<vector<Cand> >", 62),
        element("TStreamerSTL", INDICES, "vector<unsigned short>", 500),
        element("TStreamerBasicType", "charge", code=3),
    ),
    POINTER: info(
        element("TStreamerObjectAny", "core_", "edm::RefCore", 62),
        element("TStreamerBasicType", "key_", "unsigned long", 14),
        version=10, checksum=21,
    ),
    "edm::RefProd<vector<Cand>>": info(
        element("TStreamerObjectAny", "product_", "edm::RefCore", 62), version=11, checksum=5
    ),
}  # fmt: skip


def counted(data: bytes) -> bytes:
    return struct.pack(">I", 0x40000000 | len(data)) + data


def whole_leptons(cores, keys, listed, offsets):
    """Rows of whole objects around the real bytes of references, as ROOT writes them."""
    rows = []
    for a, b in itertools.pairwise(offsets.tolist()):
        count = b - a
        data = struct.pack(">HHI", 0x4009, 3, count) + bytes(4 * count)
        for core, key in zip(cores[a:b], keys[a:b], strict=True):
            data += counted(struct.pack(">H", 10) + core + struct.pack(">Q", key))
        data += b"".join(counted(struct.pack(">H", 11) + core) for core in cores[a:b])
        if count:
            lists = b"".join(struct.pack(f">I{len(one)}H", len(one), *one) for one in listed[a:b])
            data += counted(struct.pack(">H", 9) + lists)
        rows.append(np.frombuffer(counted(data + bytes(4 * count)), np.uint8))
    return plain(np.concatenate(rows), np.concatenate(([0], np.cumsum([len(r) for r in rows]))))


def whole_product(friendly):
    """A product whose objects are stored whole, and its Columns as they are."""
    taken = {one.name: one for one in members_of(STREAMERS, "Lepton")}
    leaves = tuple(
        Leaf("b", f"obj.{name}", "obj", Refused("") if one.item.dtype == "mark" else
             Readable((one.item,), 1 + one.depth), "", one)
        for name, one in taken.items()
    )  # fmt: skip
    product = Product(f"{friendly}_x__P.", ProductName(friendly, "x", "", "P"), leaves)
    made = {
        leaf.member: OfferedColumn(
            Column(leaf.member, (Member("", "u1"),), 1, "x", leaf.member, "x"), None
        )
        for leaf in leaves
    }
    return product, made


@pytest.mark.parametrize(
    ("friendly", "collection"), [("patMuons", "slimmedMuons"), ("patElectrons", "slimmedElectrons")]
)
def test_references_in_objects_stored_whole_are_those_of_the_split_branches(
    phys14, friendly, collection
):
    """Real references among other members; a Ref within an object has been seen in real bytes."""
    base = f"{friendly}_{collection}__PAT.obj."
    cores = phys14.tree[path_of(phys14, base + "refToOrig_.core_")].array(RAW)
    flat = [bytes(np.asarray(row)) for row in cores]
    each = [row[i : i + 6] for row in flat for i in range(0, len(row), 6)]
    keys = [k for r in phys14.tree[path_of(phys14, base + "refToOrig_.key_")].array() for k in r]
    split = phys14.column(f"{collection}_pfCandIdx")
    listed = [[1]] * len(each)
    if split.depth > 1:
        listed = [one.tolist() for one in np.split(split.values, split.offsets[1][1:-1])]
    raw = whole_leptons(each, keys, listed, split.offsets[0])
    product, made = whole_product(friendly)
    [offered] = associated(product, made, {"candidates": INTO}, Names())
    assert offered.column.name == "x_pfCandIdx"
    assert offered.recipe.decode == "streamed"
    lists = phys14.read(phys14.offered[f"{collection}_pfCandIdx"].recipe.reads[2])
    found = apply(offered.recipe, [raw, raw, lists])
    assert len(found.offsets) == len(split.offsets)
    for one, other in zip(found.offsets, split.offsets, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found.values, split.values)
    spoilt = raw.values.copy()
    spoilt[15 + 4 * int(np.diff(split.offsets[0])[0])] ^= 1  # a byte count
    with pytest.raises(DamagedFile):
        apply(offered.recipe, [plain(spoilt, raw.offsets[0])] * 2 + [lists])


def test_a_reference_in_a_real_object_stored_whole_has_no_byte_count_of_its_own(phys14):
    """The track that a muon holds ends with its Ref: byte count 12, version, RefCoreWithIndex."""
    rows = phys14.tree[path_of(phys14, "patMuons_slimmedMuons__PAT.obj.track_")].array(RAW)
    ends = [bytes(np.asarray(row))[-16:] for row in rows]
    assert {struct.unpack(">IHHHHI", end)[:3] for end in ends} == {(0x40000000 | 12, 11, 11)}


@pytest.mark.parametrize("damage", ["short", "rows", "lists", "objects"])
def test_references_that_are_not_understood_are_no_numbers(phys14, damage):
    recipe = phys14.offered["slimmedMuons_pfCandIdx"].recipe
    raw, keys, numbers = phys14.inputs(recipe.reads)
    spoilt = [raw, keys, numbers]
    if damage == "short":
        spoilt[0] = plain(raw.values[:-1], np.append(raw.offsets[0][:-1], len(raw.values) - 1))
    elif damage == "rows":
        spoilt[0] = plain(raw.values[: raw.offsets[0][-2]], raw.offsets[0][:-1])
    elif damage == "lists":
        spoilt[2] = plain(numbers.values + np.uint16(1), numbers.offsets[0])
    else:
        spoilt[0] = plain(np.append(raw.values, raw.values[:6]), np.append(raw.offsets[0][:-1], len(raw.values) + 6))  # fmt: skip  # noqa: E501
    with pytest.raises(DamagedFile):
        apply(recipe, spoilt)


def test_where_the_file_does_not_tell_which_product_is_meant_nothing_is_offered():
    product, made = whole_product("patMuons")
    assert list(associated(product, made, {}, Names())) == []
    assert list(associated(*whole_product("patTaus"), {"candidates": INTO}, Names())) == []
