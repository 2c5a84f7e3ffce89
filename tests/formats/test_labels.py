"""Values under labels: real files by an independent walk with struct, and made-up bytes."""

from __future__ import annotations

import struct

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnservice.errors import DamagedFile
from columnservice.formats import apply, format_named, layout_digest
from columnservice.formats.labels import MEMBERS
from columnservice.formats.labelsought import labels_in, labels_of_entry, levels_of_entry
from columnservice.model import BranchRead, Recipe, plain
from tests.formats.support import RAW, lists

pytestmark = pytest.mark.fast


def string(data, at):
    length, at = data[at], at + 1
    if length == 255:
        (length,), at = struct.unpack_from(">I", data, at), at + 4
    return data[at : at + length].decode(), at + length


def walked_pairs(data, objects, code):
    """One dict of label → value per object of an event, by struct."""
    count, version, cls = struct.unpack_from(">IHH", data)
    assert count - 0x40000000 == len(data) - 4
    assert version & 0x4000
    at, found = (8 if cls else 12), []
    for _ in range(objects):
        (n,), at = struct.unpack_from(">I", data, at), at + 4
        names = []
        at += 6 if n else 0
        for _ in range(n):
            name, at = string(data, at)
            names.append(name)
        values = struct.unpack_from(f">{n}{code}", data, at)
        at += n * struct.calcsize(f">{code}")
        found.append(dict(zip(names, values, strict=True)))
    assert at == len(data)
    return found


def walked_texts(data, objects):
    at, found = 6, []
    for _ in range(objects):
        (n,), at = struct.unpack_from(">I", data, at), at + 4
        names = []
        for _ in range(n):
            name, at = string(data, at)
            names.append(name)
        found.append(names)
    assert at == len(data)
    return found


PAIRS = [
    ("slimmedJets", "patJets_slimmedJets__PAT.obj.pairDiscriVector_", "f", 9),
    ("slimmedJetsAK8", "patJets_slimmedJetsAK8__PAT.obj.pairDiscriVector_", "f", 0),
    ("slimmedTaus", "patTaus_slimmedTaus__PAT.obj.tauIDs_", "f", 20),
    ("slimmedElectrons", "patElectrons_slimmedElectrons__PAT.obj.electronIDs_", "f", 10),
    ("slimmedPhotons", "patPhotons_slimmedPhotons__PAT.obj.photonIDs_", "?", 2),
]


def path_of(opened, branch):
    [path] = [k for k in opened.tree.keys(full_paths=True) if k.rpartition("/")[2] == branch]
    return path


@pytest.mark.parametrize(("collection", "branch", "code", "least"), PAIRS)
def test_pairs_of_real_objects_are_what_an_independent_walk_finds(
    phys14, collection, branch, code, least
):
    path = path_of(phys14, branch)
    counts = phys14.column(f"n{collection}").values.tolist()
    rows = phys14.tree[path].array(RAW)
    truth = [
        one
        for row, n in zip(rows, counts, strict=True)
        for one in walked_pairs(bytes(np.asarray(row)), n, code)
    ]
    labels = {label for one in truth for label in one}
    found = {
        o.recipe.parameters[0][0]: o
        for o in phys14.readable()
        if o.column.source == path and o.column.collection == collection
    }
    assert found.keys() == labels
    assert len(labels) >= least
    assert len(truth) == sum(counts) > 0
    for label, offered in found.items():
        column = phys14.column(offered.column.name)
        assert np.diff(column.offsets[0]).tolist() == counts
        assert column.values.tolist() == [one[label] for one in truth]
        assert label in offered.column.doc
        assert offered.column.shape == collection


LEVELS = ["Uncorrected", "L1FastJet", "L2Relative", "L3Absolute"]


def test_energy_corrections_are_what_an_independent_walk_finds_level_by_level(phys14):
    path = path_of(phys14, "patJets_slimmedJets__PAT.obj.jec_")
    found = {
        o.recipe.parameters[0][0]: phys14.column(o.column.name).values
        for o in phys14.readable()
        if o.column.source == path
    }
    assert list(found) == sorted(LEVELS)
    counts = phys14.column("nslimmedJets").values.tolist()
    truth = [
        one
        for row, n in zip(phys14.tree[path].array(RAW), counts, strict=True)
        for one in walked_factors(bytes(np.asarray(row)), n)
    ]
    assert len(truth) == sum(counts)
    for number, level in enumerate(LEVELS):
        assert found[level].tolist() == [one[number] for one in truth]
    assert (found["Uncorrected"] == 1).all()
    assert "uncorrected" in phys14.offered["slimmedJets_jec_L3Absolute"].column.doc


def walked_factors(data, jets):
    """The factors of every jet of an event, by struct: each jet has one set of four levels."""
    at, found = 8, []
    for _ in range(jets):
        assert struct.unpack_from(">I", data, at) == (1,)
        at += 4
        assert string(data, at + 6)[0] == "patJetCorrFactors"
        at += 4 + struct.unpack_from(">I", data, at)[0] - 0x40000000
        count, version, cls, _sum, levels = struct.unpack_from(">IHHII", data, at)
        assert (version & 0x4000, cls, levels) == (0x4000, 0, 4)
        end, at = at + 4 + count - 0x40000000, at + 16 + 6
        names = []
        for _ in range(levels):
            name, at = string(data, at)
            names.append(name)
        assert names == LEVELS
        at += 6
        numbers = struct.unpack_from(">" + "If" * levels, data, at)
        assert numbers[::2] == (1,) * levels
        found.append(numbers[1::2])
        at += 8 * levels
        assert at == end
    assert at == len(data)
    return found


def set_bytes(sets):
    """One jet's factors as ROOT writes them: (name, {level: factors}) each."""

    def counted(data):
        return struct.pack(">I", len(data) | 0x40000000) + data

    def text(one):
        return bytes([len(one)]) + one.encode()

    if not sets:
        return struct.pack(">I", 0)
    names = counted(struct.pack(">H", 9) + b"".join(text(name) for name, _ in sets))
    body = struct.pack(">HHI", 0x4009, 0, 7)
    for _, levels in sets:
        body += struct.pack(">I", len(levels))
        if levels:
            body += counted(struct.pack(">H", 9) + b"".join(map(text, levels)))
            values = b"".join(struct.pack(f">I{len(v)}f", len(v), *v) for v in levels.values())
            body += counted(struct.pack(">H", 9) + values)
    return struct.pack(">I", len(sets)) + names + counted(body)


FACTOR = st.floats(0.5, 2, width=32)
SETS = st.lists(
    st.tuples(
        st.text("xyz", max_size=3),
        st.dictionaries(
            st.sampled_from(["L1", "L2", "L5"]), st.lists(FACTOR, max_size=5), max_size=3
        ),
    ),
    max_size=2,
)


@settings(deadline=None)
@given(jets=st.lists(SETS, max_size=4), damage=st.booleans())
def test_factors_are_those_of_the_first_set_and_damage_is_refused(jets, damage):
    data = struct.pack(">HH", 0x4009, 10) + b"".join(map(set_bytes, jets))
    data = struct.pack(">I", len(data) | 0x40000000) + data
    if damage:
        data = data[:-1]
    raw = plain(np.frombuffer(data, np.uint8), np.array([0, len(data)]))
    objects = plain(np.zeros(len(jets), np.uint8), np.array([0, len(jets)]))
    recipe = Recipe("x", (), "factor_float32", (("L1", 0.0),))
    if damage:
        with pytest.raises(DamagedFile):
            apply(recipe, [raw, objects])
        return
    first = [sets[0][1].get("L1", []) if sets else [] for sets in jets]
    expected = [one[0] if len(one) == 1 else np.nan for one in first]
    np.testing.assert_array_equal(apply(recipe, [raw, objects]).values, np.array(expected, "f4"))
    assert levels_of_entry(data) == {lv for sets in jets if sets for lv in sets[0][1]}


def test_b_tags_are_discriminators(phys14):
    tags = phys14.column("slimmedJets_combinedInclusiveSecondaryVertexV2BJetTags").values
    assert ((tags <= 1) & ((tags >= 0) | (tags == -1) | (tags == -10))).all()
    assert (tags > 0.5).any()


@pytest.mark.parametrize(
    ("product", "collection", "some"),
    [
        ("patJets_slimmedJets__PAT", "slimmedJets", "vtxMass"),
        ("patJets_slimmedJetsAK8__PAT", "slimmedJetsAK8", None),
        ("patMuons_slimmedMuons__PAT", "slimmedMuons", None),
        ("patElectrons_slimmedElectrons__PAT", "slimmedElectrons", None),
    ],
)
def test_user_floats_are_those_with_the_label(phys14, product, collection, some):
    labels = phys14.tree[path_of(phys14, f"{product}.obj.userFloatLabels_")].array(RAW)
    values = phys14.tree[path_of(phys14, f"{product}.obj.userFloats_")].array()
    truth = [
        dict(zip(names, found, strict=True))
        for row, event in zip(labels, values.tolist(), strict=True)
        for names, found in zip(
            walked_texts(bytes(np.asarray(row)), len(event)), event, strict=True
        )
    ]
    known = {label for one in truth for label in one}
    offered = {
        o.recipe.parameters[0][0]: o.column.name
        for o in phys14.readable()
        if o.recipe.decode == "label_float32" and o.column.collection == collection
    }
    assert offered.keys() == known
    assert some is None or offered[some] == f"{collection}_{some}"
    for label, name in offered.items():
        want = [one.get(label, np.nan) for one in truth]
        np.testing.assert_array_equal(phys14.column(name).values, np.array(want, np.float32))


def test_secondary_vertices_of_jets_have_a_mass_where_they_have_tracks(phys14):
    mass = phys14.column("slimmedJets_vtxMass").values
    tracks = phys14.column("slimmedJets_vtxNtracks").values
    assert ((mass > 0) == (tracks > 0)).all()
    assert (mass > 0).any()
    assert phys14.offered["slimmedJets_pileupJetId_fullDiscriminant"].column.support == "ok"


def test_a_file_without_events_offers_no_labels(mini2018):
    assert mini2018.offered["slimmedJets_pairDiscriVector"].column.support == "unsupported"
    assert not [o for o in mini2018.readable() if o.recipe.decode == "pair_float32"]


def test_labels_are_part_of_the_layout(phys14):
    form = format_named("miniaod")
    names = form.data_names(phys14.tree)
    assert any("pairDiscriVector_" in path for path in names["labels"])
    digest = layout_digest(phys14.tree, form)
    assert digest == layout_digest(phys14.tree, form)
    other = type(form)(**{**vars(form), "data_names": lambda _: {**names, "labels": {}}})
    assert digest != layout_digest(phys14.tree, other)


# Made-up bytes.

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=300)
numbers = st.floats(width=32, allow_nan=False)
objects_of_pairs = st.lists(
    st.lists(st.dictionaries(names, numbers, max_size=4), max_size=4), max_size=4
)


def written(text):
    data = text.encode("ascii")
    return (
        bytes([len(data)]) if len(data) < 255 else b"\xff" + struct.pack(">I", len(data))
    ) + data


def counted(body, version):
    return struct.pack(">IH", 0x40000000 | (len(body) + 2), version) + body


def pair_event(objects, with_checksum=True):
    body = b"\0\0\x6b\xd3\x2a\x5e" if with_checksum else b"\0\x0a"
    for one in objects:
        body += struct.pack(">I", len(one))
        if one:
            body += counted(b"".join(map(written, one)), 9)
            body += struct.pack(f">{len(one)}f", *one.values())
    return counted(body, 0x4009)


def text_event(objects):
    body = b"".join(struct.pack(">I", len(one)) + b"".join(map(written, one)) for one in objects)
    return counted(body, 9)


def raw_of(rows):
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return plain(np.frombuffer(b"".join(rows), np.uint8), offsets)


def offsets_of(counts):
    return np.cumsum([0, *counts]).astype(np.int64)


def objects_of(events):
    counts = [len(event) for event in events]
    return plain(np.zeros(sum(counts), np.float32), offsets_of(counts))


def decoded(decode, inputs, label, last=0.0):
    recipe = Recipe("x", (BranchRead("a", raw=True), BranchRead("b")), decode, ((label, last),))
    return apply(recipe, inputs)


@given(objects_of_pairs, st.booleans())
def test_pairs_are_found_by_label_wherever_they_stand(events, with_checksum):
    rows = [pair_event(event, with_checksum) for event in events]
    labels = {label for event in events for one in event for label in one} | {"absent"}
    for label in sorted(labels)[:5]:
        found = decoded("pair_float32", [raw_of(rows), objects_of(events)], label)
        want = [np.float32(one.get(label, np.nan)) for event in events for one in event]
        np.testing.assert_array_equal(found.values, np.array(want, np.float32))
        assert found.values.dtype == np.float32
        assert np.diff(found.offsets[0]).tolist() == [len(event) for event in events]
    for row, event in zip(rows, events, strict=True):
        here = labels_of_entry(row, MEMBERS["tauIDs_"])
        assert here == {label for one in event for label in one}


@given(objects_of_pairs)
def test_values_in_a_branch_of_their_own_are_found_by_label(events):
    rows = [text_event(event) for event in events]
    flat = [one for event in events for one in event]
    values = np.array([v for one in flat for v in one.values()], np.float32)
    inner = offsets_of([len(one) for one in flat])
    read = plain(values, objects_of(events).offsets[0], inner)
    integers = plain(np.arange(len(values), dtype=np.int32), *read.offsets)
    labels = {label for one in flat for label in one} | {"absent"}
    for label in sorted(labels)[:5]:
        found = decoded("label_float32", [raw_of(rows), read], label)
        want = [one.get(label, np.nan) for one in flat]
        np.testing.assert_array_equal(found.values, np.array(want, np.float32))
        numbered = decoded("label_int32", [raw_of(rows), integers], label)
        places = [
            int(inner[j]) + list(one).index(label) if label in one else -(2**31)
            for j, one in enumerate(flat)
        ]
        assert numbered.values.tolist() == places
        assert numbered.values.dtype == np.int32
    for row, event in zip(rows, events, strict=True):
        here = labels_of_entry(row, MEMBERS["userFloatLabels_"])
        assert here == {label for one in event for label in one}


def test_of_equal_labels_cmssw_takes_the_last_b_tag_and_the_first_tau_id():
    body = b"\0\x0a" + struct.pack(">I", 2) + counted(written("a") * 2, 9)
    raw = raw_of([counted(body + struct.pack(">2f", 1.0, 2.0), 0x4009)])
    one = objects_of([[{}]])
    assert decoded("pair_float32", [raw, one], "a", 0.0).values.tolist() == [1.0]
    assert decoded("pair_float32", [raw, one], "a", 1.0).values.tolist() == [2.0]
    assert MEMBERS["pairDiscriVector_"].last
    assert not MEMBERS["tauIDs_"].last


@given(objects_of_pairs.filter(any), st.data())
def test_counts_that_contradict_the_bytes_are_damage(events, data):
    rows = raw_of([pair_event(event) for event in events])
    counts = [len(event) for event in events]
    wrong = data.draw(st.integers(0, len(counts) - 1))
    counts[wrong] += data.draw(st.sampled_from([1, -1] if counts[wrong] else [1]))
    objects = plain(np.zeros(sum(counts), np.float32), offsets_of(counts))
    with pytest.raises(DamagedFile, match=f"row {wrong}"):
        decoded("pair_float32", [rows, objects], "a")


def or_damage(*arguments):
    try:
        return decoded(*arguments)
    except DamagedFile as error:
        return error


@given(st.data())
def test_bytes_that_are_cut_or_changed_never_read_beyond_their_row(data):
    events = [[{"abc": 1.0, "de": 2.0}, {}], [{"abc": 3.0}]]
    row = bytearray(pair_event(events[0]))
    place = data.draw(st.integers(0, len(row) - 1))
    row[place] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(row)))
    for damaged in (bytes(row), bytes(row[:kept])):
        rows = raw_of([damaged, pair_event(events[1])])
        found = or_damage("pair_float32", [rows, objects_of(events)], "abc")
        if isinstance(found, DamagedFile):
            assert "row 0" in str(found)
        else:
            assert len(found.values) == 3
            assert found.values[2] == 3.0
        try:
            labels_of_entry(damaged, MEMBERS["tauIDs_"])
        except (ValueError, struct.error, IndexError):
            continue


def test_pairs_that_are_not_memberwise_are_damage():
    body = struct.pack(">I", 0)
    rows = raw_of([counted(body, 9)])
    with pytest.raises(DamagedFile, match="row 0"):
        decoded("pair_float32", [rows, objects_of([[{}]])], "a")


class Branch:
    """What a branch gives of raw entries."""

    def __init__(self, rows, *baskets):
        self.rows, self.num_entries, self.asked = rows, len(rows), []
        self.entry_offsets = [0, *baskets, len(rows)]

    def array(self, interpretation, entry_start, entry_stop, library):
        self.asked.append((entry_start, entry_stop))
        rows = self.rows[entry_start:entry_stop]
        assert (library, interpretation.content.from_dtype) == ("ak", np.dtype("u1"))
        return ak.unflatten(np.frombuffer(b"".join(rows), np.uint8), [len(row) for row in rows])


def test_labels_are_looked_for_until_there_is_an_object():
    empty, full = pair_event([]), pair_event([{"b": 1.0, "a": 2.0}])
    member = MEMBERS["pairDiscriVector_"]
    early = Branch([full, *[empty] * 300])
    assert labels_in(early, member) == ("a", "b")
    assert early.asked == [(0, 100), (201, 301)]
    late = Branch([*[empty] * 150, full])
    assert labels_in(late, member) == ("a", "b")
    assert late.asked == [(0, 100), (100, 151)]
    assert labels_in(Branch([empty]), member) == ()
    assert labels_in(Branch([b"\x40\0\0\x04\0\x09\0\0"]), member) is None


@pytest.mark.parametrize(
    ("baskets", "begin"), [((), 150), ((200,), 200), ((90, 120), 150), ((249,), 249)]
)
def test_a_label_that_only_late_objects_have_is_found_in_the_last_basket(baskets, begin):
    """What lies between the first and the last events is told by other files, or not at all."""
    rows = [pair_event([{"a": 1.0}])] * 249 + [pair_event([{"a": 1.0, "late": 2.0}])]
    branch = Branch(rows, *baskets)
    assert labels_in(branch, MEMBERS["pairDiscriVector_"]) == ("a", "late")
    assert branch.asked == [(0, 100), (begin, 250)]


def test_a_flat_file_has_no_labels(opened_file):
    opened = opened_file("cms_demo_syn/parent_0.root", "miniaod")
    assert opened.format.data_names(opened.tree) == {
        "labels": {},
        "menus": {},
        "classes": {},
        "candidates": {},
    }


def test_nanoaod_and_atlas_have_no_names_in_their_data(opened_file):
    for path, name in (
        ("cms/nano_dy.root", "nanoaod"),
        ("atlas/PHYSLITE_example.root", "physlite"),
    ):
        opened = opened_file(path, name)
        assert opened.format.data_names(opened.tree) == {}


def test_lists_of_labels_belong_to_their_collection(phys14):
    rows = lists(phys14.column("slimmedTaus_decayModeFinding"))
    assert [len(row) for row in rows] == phys14.column("nslimmedTaus").values.tolist()
