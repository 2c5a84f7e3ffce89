"""Objects of classes that a file never wrote: none in real bytes; refused where some are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.catalogue.layouts import completed
from columnservice.errors import DamagedFile
from columnservice.formats import apply, wholes
from columnservice.formats.products import base_names, products
from columnservice.formats.undescribed import no_objects
from columnservice.formats.wholes import with_members
from columnservice.model import BranchRead, Column, ColumnSet, OfferedColumn, Recipe, plain
from tests.formats.support import Opened
from tests.formats.test_streamed import element, info

EMPTY = (
    b"\x40\0\0\x06\0\x09\0\0\0\0",  # not memberwise
    b"\x40\0\0\x08\x40\x09\0\x0a\0\0\0\0",  # memberwise, the class by version
    b"\x40\0\0\x0c\x40\x09\0\0\x12\x34\x56\x78\0\0\0\0",  # and by checksum
)
SPECIFIC = info(
    element("TStreamerBasicType", "mMaxEInEmTowers", code=5),
    element("TStreamerBasicType", "mTowers", code=13),
)


def rows(*entries: bytes):
    raw = np.frombuffer(b"".join(entries), np.uint8)
    return plain(raw, np.concatenate(([0], np.cumsum([len(entry) for entry in entries]))))


@pytest.fixture(scope="module")
def whole(opened_file):
    return opened_file("edm_unit/run3scouting_14_0_split_0.root", "aod")


@pytest.mark.fast
def test_a_file_that_never_wrote_a_class_gets_all_its_members_from_one_that_did(whole):
    """As in a file without AK8 jets: every Column is there, of the same type, without objects."""
    path = whole.offered["Run3ScoutingMuons"].column.source
    store = Column("Run3ScoutingMuons", (), 0, source="b", support="unsupported", reason="none")
    how = Recipe(store.name, (BranchRead("b", raw=True),), "no_objects")
    poor = ColumnSet("b" * 32, (OfferedColumn(store, None, unlisted=how),))
    rich = ColumnSet("a" * 32, tuple(whole.offered.values()))
    _, (filled, _) = completed([(rich, 1), (poor, 1)])
    found = {o.column.name: o for o in filled.columns if o.recipe is not None}
    there = {o.column.name: o for o in whole.readable() if o.recipe.reads[0].path == path}
    assert found.keys() == there.keys()
    assert len(found) > 40
    assert filled.columns[0].column.reason.startswith("offered member by member")
    [raw] = whole.inputs((BranchRead(path, raw=True),))
    for name, offered in found.items():
        truth = whole.column(name)
        values = apply(offered.recipe, [rows(*EMPTY)])
        assert offered.column.type == there[name].column.type
        assert values.depth == truth.depth == offered.column.depth
        assert values.values.dtype == truth.values.dtype
        assert len(values) == len(EMPTY)
        assert not values.values.any()
        with pytest.raises(DamagedFile, match="row 0 holds objects"):
            apply(offered.recipe, [raw])


def test_members_that_no_object_of_a_split_collection_has_are_nothing_for_each(
    phys14, data_dir, monkeypatch
):
    """Real bytes: no jet has what is specific to calorimeter jets, and the file says nothing of it;
    another file, which is told of the class here, does."""
    store = phys14.offered["slimmedJets_specificCalo"]
    assert store.unlisted.decode == "no_objects"
    assert "does not describe" in store.column.reason
    true = wholes.versions_of
    with monkeypatch.context() as patched:
        known = {"reco::CaloJet::Specific": {10: SPECIFIC[3]}}
        SPECIFIC[3].member = {"fClassVersion": 10, "fCheckSum": 7}.__getitem__
        for module in ("wholes", "classes"):
            patched.setattr(
                f"columnservice.formats.{module}.versions_of",
                lambda streamers, name: known.get(name) or true(streamers, name),
            )
        rich = Opened(data_dir / "cms/miniaodsim_phys14_10ev.root", "miniaod").offered
    sets = [
        (ColumnSet(digest, tuple(offered.values())), 1)
        for digest, offered in (("a", rich), ("b", phys14.offered))
    ]
    _, (filled, _) = completed(sets)
    found = {o.column.name: o for o in filled.columns}
    jets = phys14.column("slimmedJets_pt")
    for field, dtype in (("mMaxEInEmTowers", "float32"), ("mTowers", "uint32")):
        name = f"slimmedJets_specificCalo_{field}"
        assert rich[name].recipe.decode == "streamed"
        recipe = found[name].recipe
        assert recipe.decode == "no_objects"
        here, there = (apply(r, phys14.inputs(r.reads)) for r in (recipe, rich[name].recipe))
        for values in (here, there):
            assert values.values.dtype == dtype
            np.testing.assert_array_equal(values.offsets[0], jets.offsets[0])
        np.testing.assert_array_equal(here.values, there.values)
        nothing = np.isnan if dtype == "float32" else lambda v: v == np.iinfo("u4").max
        assert nothing(here.values).all()


@pytest.mark.fast
def test_lists_within_objects_are_empty_for_each():
    found = no_objects(
        [rows(b"\x40\0\0\x0c\x40\x09\0\x0a" + bytes(8), EMPTY[1][:3] + b"\x04" + EMPTY[1][4:8]),
         plain(np.zeros(2), np.array([0, 2, 2]))],
        {"float32": 2.0},
    )  # fmt: skip
    assert [offsets.tolist() for offsets in found.offsets] == [[0, 2, 2], [0, 0, 0]]
    assert found.values.dtype == np.float32


@pytest.mark.fast
@settings(deadline=None, max_examples=200)
@given(
    entry=st.sampled_from(EMPTY),
    places=st.lists(st.tuples(st.integers(0, 15), st.integers(0, 255)), min_size=1, max_size=2),
    cut=st.integers(0, 16),
)
def test_anything_but_an_empty_vector_is_refused(entry, places, cut):
    damaged = bytearray(entry[: len(entry) - cut] if cut < len(entry) else entry)
    for place, value in places:
        damaged[place % len(damaged)] = value
    one, raw = bytes(damaged), rows(EMPTY[0], bytes(damaged))
    counted = int.from_bytes(one[:4], "big") == 0x40000000 + len(one) - 4
    header = 0
    if len(one) >= 10:
        memberwise = one[4] & 0x40
        header = (12 if one[6:8] == b"\0\0" else 8) if memberwise else 6
    right = counted and header and len(one) == header + 4 and not any(one[header:])
    if right:
        assert no_objects([raw], {"int32": 0.0}).values.tolist() == [0, 0]
    else:
        with pytest.raises(DamagedFile, match="row 1"):
            no_objects([raw], {"int32": 0.0})


@pytest.mark.fast
def test_a_file_whose_objects_are_there_though_undescribed_is_not_taken_to_have_none(
    data_dir, monkeypatch
):
    true = wholes.versions_of
    for module in ("wholes", "classes"):
        monkeypatch.setattr(
            f"columnservice.formats.{module}.versions_of",
            lambda streamers, name: {} if "ScoutingMuon" in name else true(streamers, name),
        )
    opened = Opened(data_dir / "edm_unit/run3scouting_14_0_split_0.root", "aod")
    store = opened.offered["Run3ScoutingMuons"]
    assert store.unlisted is None
    assert "stored whole" in store.column.reason
    assert not [o for o in opened.readable() if o.column.collection == "Run3ScoutingMuons"]


def test_names_do_not_depend_on_what_a_file_can_tell_of_its_classes(
    data_dir, mini2018, monkeypatch
):
    """The 2018 file, without events, describes no pat::Muon; two other products share its label."""

    def names(opened):
        found = tuple(with_members(opened.tree, p) for p in products(opened.tree))
        return base_names(found), opened.offered

    bare, offered = names(mini2018)
    assert offered["slimmedMuons"].unlisted is not None
    assert "patMuons" not in offered
    true = wholes.versions_of
    thing = info(element("TStreamerBasicType", "pt_", code=5))
    for module in ("wholes", "classes"):
        monkeypatch.setattr(
            f"columnservice.formats.{module}.versions_of",
            lambda streamers, name: true(streamers, name) or thing,
        )
    again = Opened(data_dir / "cms/miniaodsim_2018_schema_0ev.root", "miniaod")
    described, rich = names(again)
    assert described == bare
    assert rich["slimmedMuons_pt"].column.support == "ok"
    assert rich["patIsolatedTracks_pt"].column.support == "ok"


def test_packed_candidates_that_are_not_there_leave_their_names_to_the_decoded(
    data_dir, mini2018, monkeypatch
):
    """Stored whole and undescribed, the store is called as where it is described."""
    true = wholes.versions_of
    for module in ("wholes", "classes"):
        monkeypatch.setattr(
            f"columnservice.formats.{module}.versions_of",
            lambda streamers, name: {} if "PackedCandidate" in name else true(streamers, name),
        )
    poor = Opened(data_dir / "cms/miniaodsim_2018_schema_0ev.root", "miniaod")
    rich = mini2018
    sets = [
        (ColumnSet(digest, tuple(opened.offered.values())), 1)
        for digest, opened in (("a", rich), ("b", poor))
    ]
    _, (filled, _) = completed(sets)
    found = {o.column.name: o for o in filled.columns}
    wanted = [o.column for o in rich.readable() if o.column.collection == "LostTracks"]
    assert len(wanted) > 10
    for column in wanted:
        assert found[column.name].column.type == column.type
        values = apply(found[column.name].recipe, [rows(*EMPTY)])
        assert values.values.dtype == column.members[0].dtype
