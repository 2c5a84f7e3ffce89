"""Trigger results: path names from parameter sets, states by number and by name."""

from __future__ import annotations

import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.errors import DamagedFile
from columnservice.formats import apply
from columnservice.formats.discovery import Refused
from columnservice.formats.menus import menus_in, menus_of, path_names
from columnservice.formats.places import Names
from columnservice.formats.products import Leaf
from columnservice.formats.triggers import TYPE, bits, path_of, paths
from columnservice.model import BranchRead, Recipe, plain
from tests.formats.support import RAW, lists

pytestmark = pytest.mark.fast


def walked(opened, branch):
    """(states of all paths, hash of the menu) of every event, by struct; memberwise files."""
    rows = []
    for entry in opened.tree[branch].array(RAW):
        data = bytes(np.asarray(entry))
        (paths_,) = struct.unpack_from(">I", data, 20)
        states = struct.unpack_from(f">{paths_}H", data, 24)
        rest = data[24 + 2 * paths_ :]
        at = rest.index(b"\x10", 6)
        rows.append((states, rest[at + 1 : at + 17].hex()))
    return rows


def text_of_sets(opened):
    """The text of all parameter sets, by plain searching."""
    rows = opened.directory["ParameterSets/IdToParameterSetsBlobs"].array(RAW)
    return [bytes(np.asarray(row)) for row in rows]


def listed_paths(opened, menu):
    """The paths of a menu: of the one entry that begins with that hash, decoded by hand."""
    [entry] = [
        e for e in text_of_sets(opened) if bytes.fromhex(menu) in e[:50] and b"@trigger_paths=" in e
    ]
    found = re.search(rb"@trigger_paths=\+s\(\{([0-9A-F,]*)\}\)", entry)
    return [bytes.fromhex(code.decode()).decode() for code in found[1].split(b",") if code]


@pytest.mark.parametrize(
    ("process", "paths_", "branch"),
    [
        ("HLT", 104, "edmTriggerResults_TriggerResults__HLT."),
        ("PAT", 13, "edmTriggerResults_TriggerResults__PAT."),
        ("OWNPARTICLES", 1, "edmTriggerResults_TriggerResults__OWNPARTICLES."),
    ],
)
def test_bits_by_number_and_by_name_are_those_of_an_independent_walk(
    phys14, process, paths_, branch
):
    branch = f"{branch}/{branch}obj"
    truth = walked(phys14, branch)
    accepted = [[state & 3 == 1 for state in states] for states, _ in truth]
    bits = lists(phys14.column(f"TriggerResults{process}Bits"))
    assert [row.tolist() for row in bits] == accepted
    counts = phys14.column(f"nTriggerResults{process}Bits").values
    assert counts.tolist() == [paths_] * 10
    [menu] = {menu for _, menu in truth}
    names = listed_paths(phys14, menu)
    assert len(names) == paths_
    by_doc = {
        o.column.doc.split()[1]: o.column.name
        for o in phys14.readable()
        if o.recipe.decode == "trigger_path" and o.column.source == branch
    }
    assert by_doc.keys() == set(names)
    for number, name in enumerate(names):
        column = phys14.column(by_doc[name])
        assert column.values.dtype == bool
        assert column.values.tolist() == [row[number] for row in accepted]


def test_some_paths_accept_some_events(phys14):
    share = {
        o.column.name: phys14.column(o.column.name).values.mean()
        for o in phys14.readable()
        if o.recipe.decode == "trigger_path" and o.column.name.startswith("HLT_")
    }
    assert len(share) > 90
    assert any(0 < value < 1 for value in share.values())
    # the steps of the production ran in the same process; the first path rejects by construction
    assert phys14.column("TriggerResultsHLT_generation_step").values.all()
    assert not phys14.column("HLTriggerFirstPath").values.any()


def test_paths_are_called_as_in_nanoaod(phys14, mini2018):
    for opened in (phys14, mini2018):
        column = opened.offered["HLT_Mu40" if opened is phys14 else "HLT_IsoMu24"].column
        assert (column.collection, column.depth) == ("HLT", 0)
        assert re.search(r"HLT_\w+_v\d+ of process HLT", column.doc)
        assert not [n for n in opened.offered if re.fullmatch(r"HLT_.*_v\d+", n)]
    assert "Flag_METFilters" in mini2018.offered
    assert "Flag_goodVertices" in phys14.offered or "Flag_METFilters" in phys14.offered


def test_names_are_known_without_any_event(mini2018):
    assert mini2018.tree.num_entries == 0
    paths_ = [n for n in mini2018.offered if n.startswith("HLT_")]
    assert len(paths_) > 500
    menus = menus_of(mini2018.tree)
    assert set(menus) >= {"HLT", "PAT", "RECO", "SIM", "TEST"}
    assert "generation_step" in next(iter(menus["SIM"].values()))
    assert mini2018.offered["TriggerResultsSIM_generation_step"].column.support == "ok"


def test_newer_files_write_names_as_text(opened_file):
    opened = opened_file("edm_unit/run3scouting_14_0_split_99.root", "aod")
    assert menus_of(opened.tree) == {"PROD": {"117a641b065d7606db794a0505da0fc8": ("path",)}}
    assert opened.column("TriggerResults_path").values.tolist() == [
        states[0] & 3 == 1
        for states, _ in walked(opened, opened.offered["TriggerResults_path"].column.source)
    ]


def test_old_files_have_bits_by_number_only(opened_file):
    """CMSSW 2 kept parameter sets elsewhere, and each state with a header of its own."""
    opened = opened_file("edm_unit/complex_old_format_CMSSW_2_2_13.root", "aod")
    assert menus_of(opened.tree) == {}
    bits = opened.column("TriggerResultsPRODBits")
    assert np.diff(bits.offsets[0]).tolist() == [1] * opened.tree.num_entries
    source = opened.offered["TriggerResultsPRODBits"].column.source
    rows = [bytes(np.asarray(row)) for row in opened.tree[source].array(RAW)]
    # the state is the last u2 of the one element, whose header is 10 bytes
    at = rows[0].index(b"\x3c\x49\xa8\x41") + 4
    assert bits.values.tolist() == [row[at + 1] & 3 == 1 for row in rows]


# Made-up bytes.


def counted(body, version=10):
    return struct.pack(">IH", 0x40000000 | (len(body) + 2), version) + body


def result(states, menu, memberwise=True):
    if memberwise:
        vector = counted(struct.pack(f">HI{len(states)}H", 10, len(states), *states), 0x4009)
    else:
        one = b"".join(counted(struct.pack(">IH", 7, s), 0) for s in states)
        vector = counted(struct.pack(">I", len(states)) + one, 6)
    hashed = counted(counted(b"\x10" + menu, 9), 11)
    return counted(counted(vector) + counted(b"") + hashed + counted(struct.pack(">I", 0), 9))


def raw_of(rows):
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return plain(np.frombuffer(b"".join(rows), np.uint8), offsets)


def decoded(decode, rows, *parameters):
    return apply(Recipe("x", (BranchRead("a", raw=True),), decode, parameters), [raw_of(rows)])


A, B = b"A" * 16, b"B" * 16
states_ = st.lists(st.integers(0, 65535), max_size=20)


@given(st.lists(states_, max_size=6), st.booleans())
def test_states_are_found_in_both_layouts(events, memberwise):
    rows = [result(states, A, memberwise) for states in events]
    bits = decoded("trigger_bits", rows)
    assert bits.values.tolist() == [s & 3 == 1 for states in events for s in states]
    assert np.diff(bits.offsets[0]).tolist() == [len(states) for states in events]
    counts = decoded("trigger_counts", rows)
    assert counts.values.tolist() == [len(states) for states in events]
    assert counts.values.dtype == np.int32


def test_a_path_is_followed_through_the_menus_of_a_merged_file():
    rows = [result([2, 1, 2], A), result([1, 2], B), result([1, 2, 2], A), result([2, 1], B)]
    sizes = ((f"{A.hex()}.paths", 3.0), (f"{B.hex()}.paths", 2.0))
    found = decoded("trigger_path", rows, (A.hex(), 1.0), (B.hex(), 0.0), *sizes)
    assert found.values.tolist() == [True, True, False, False]
    absent = decoded("trigger_path", rows, (A.hex(), 0.0), (B.hex(), -1.0), *sizes)
    assert absent.values.tolist() == [False, False, True, False]


def test_another_menu_or_another_number_of_paths_is_damage():
    known = ((A.hex(), 0.0), (f"{A.hex()}.paths", 2.0))
    with pytest.raises(DamagedFile, match="menu of row 1"):
        decoded("trigger_path", [result([1, 1], A), result([1, 1], B)], *known)
    with pytest.raises(DamagedFile, match="another number of paths"):
        decoded("trigger_path", [result([1, 1, 1], A)], *known)


def or_damage(*arguments):
    try:
        return decoded(*arguments)
    except DamagedFile as error:
        return error


@given(st.data(), st.booleans())
def test_bytes_that_are_cut_or_changed_never_read_beyond_their_row(data, memberwise):
    row = bytearray(result([1, 2, 1], A, memberwise))
    row[data.draw(st.integers(0, len(row) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(row)))
    for damaged in (bytes(row), bytes(row[:kept])):
        found = or_damage("trigger_bits", [damaged, result([2, 1], A)])
        if isinstance(found, DamagedFile):
            assert "row 0" in str(found)
        else:
            assert found.values.tolist()[-2:] == [False, True]


def test_names_are_written_as_hexadecimal_or_as_text():
    assert path_names(b"s", b"484C545F41,70") == ("HLT_A", "p")
    assert path_names(b"s", b"") == ()
    assert path_names(b"z", b"\0HLT_A\0,\0p\0") == ("HLT_A", "p")
    assert path_names(b"z", b"") == ()


def entry(menu, text):
    blob = counted(counted(bytes([len(text)]) + text, 9))
    return counted(counted(b"\x10" + menu, 9), 10) + blob


def test_menus_belong_to_the_process_that_names_their_hash():
    top = b"<@process_name=+S(484C54);p=+s({});@trigger_paths=+Q(%s)>"
    entries = [
        entry(A, b"<@trigger_paths=+s({484C545F415F7631,70})>"),
        entry(b"T" * 16, top % A.hex().encode()),
        entry(B, b"<@trigger_paths=+z({\0HLT_A_v2\0})>"),
        entry(b"U" * 16, top % B.hex().encode()),
        entry(b"V" * 16, b"<other=+I(+3)>"),
    ]
    starts = np.cumsum([0, *map(len, entries)])[:-1].tolist()
    menus = menus_in(b"".join(entries), starts)
    assert menus == {"HLT": {A.hex(): ("HLT_A_v1", "p"), B.hex(): ("HLT_A_v2",)}}
    leaf = Leaf("t", "obj", None, Refused("whole"), TYPE)
    offered = {o.column.name: o for o in paths("HLT", leaf, "TriggerResultsHLT", menus, Names())}
    assert offered.keys() == {"HLT_A", "TriggerResultsHLT_p"}
    assert dict(offered["HLT_A"].recipe.parameters) == {
        A.hex(): 0.0, f"{A.hex()}.paths": 2.0, B.hex(): 0.0, f"{B.hex()}.paths": 1.0
    }  # fmt: skip
    assert dict(offered["TriggerResultsHLT_p"].recipe.parameters)[B.hex()] == -1.0


def test_a_menu_that_lists_a_path_twice_is_not_understood():
    entries = [
        entry(A, b"<@trigger_paths=+z({\0HLT_A_v1\0,\0p\0,\0HLT_A_v1\0})>"),
        entry(B, b"<@trigger_paths=+z({\0HLT_A_v2\0})>"),
        *(
            entry(c * 16, b"<@process_name=+S(484C54);@trigger_paths=+Q(%s)>" % m.hex().encode())
            for c, m in ((b"T", A), (b"U", B))
        ),
    ]
    starts = np.cumsum([0, *map(len, entries)])[:-1].tolist()
    assert menus_in(b"".join(entries), starts) == {"HLT": {B.hex(): ("HLT_A_v2",)}}


def test_versions_that_one_menu_has_several_of_keep_them_in_all_menus():
    """Else the path without a version would be False in events of the menu with several."""
    leaf = Leaf("t", "obj", None, Refused("whole"), TYPE)
    menus = {"HLT": {A.hex(): ("HLT_x_v5", "HLT_x_v6"), B.hex(): ("HLT_x_v7", "HLT_y_v1")}}
    found = {o.column.name: o for o in paths("HLT", leaf, "Hlt", menus, Names())}
    assert list(found) == ["HLT_x_v5", "HLT_x_v6", "HLT_x_v7", "HLT_y"]
    numbers = dict(found["HLT_x_v7"].recipe.parameters)
    assert (numbers[A.hex()], numbers[B.hex()]) == (-1.0, 0.0)
    assert path_of(found["HLT_x_v7"].column) == ("HLT_x", "HLT")


def test_a_path_without_a_version_is_refused_beside_versions_of_it():
    """NanoAOD writes one of them as ``HLT_x``; the name says nothing of which it is."""
    leaf = Leaf("t", "obj", None, Refused("whole"), TYPE)
    menus = {"HLT": {A.hex(): ("HLT_x", "HLT_x_v5"), B.hex(): ("HLT_x_v7", "HLT_y_v1")}}
    found = {o.column.name: o for o in paths("HLT", leaf, "Hlt", menus, Names())}
    assert list(found) == ["HLT_x", "HLT_x_v5", "HLT_x_v7", "HLT_y"]
    refused = found.pop("HLT_x")
    assert (refused.recipe, refused.column.support) == (None, "unsupported")
    assert "several of HLT_x, HLT_x_v5, HLT_x_v7, and" in refused.column.reason
    assert all(o.recipe and o.column.support == "ok" for o in found.values())
    numbers = dict(found["HLT_x_v5"].recipe.parameters)
    assert (numbers[A.hex()], numbers[B.hex()]) == (1.0, -1.0)


def test_one_path_in_every_menu_goes_by_the_name_without_a_version_whether_it_has_one_or_not():
    leaf = Leaf("t", "obj", None, Refused("whole"), TYPE)
    menus = {"HLT": {A.hex(): ("HLT_x", "HLT_y_v1"), B.hex(): ("HLT_y_v2", "HLT_x_v5")}}
    found = {o.column.name: dict(o.recipe.parameters)
             for o in paths("HLT", leaf, "Hlt", menus, Names())}  # fmt: skip
    assert {name: (n[A.hex()], n[B.hex()]) for name, n in found.items()} == {
        "HLT_x": (0.0, 1.0), "HLT_y": (1.0, 0.0)
    }  # fmt: skip


def test_a_name_that_ends_in_a_version_is_that_very_paths():
    leaf = Leaf("t", "obj", None, Refused("whole"), TYPE)
    menus = {"HLT": {A.hex(): ("HLT_x_v5_v1", "HLT_x_v5", "HLT_x_v6")}}
    found = {o.column.name: o for o in paths("HLT", leaf, "Hlt", menus, Names())}
    assert {name: int(dict(o.recipe.parameters)[A.hex()]) for name, o in found.items()} == {
        "HLT_x_v5_v1": 0, "HLT_x_v5": 1, "HLT_x_v6": 2
    }  # fmt: skip


def test_a_column_tells_its_path_and_process_and_others_tell_none():
    leaf = Leaf("t", "obj", None, Refused("whole"), TYPE)
    menus = {"PAT": {A.hex(): ("Flag_x", "step"), B.hex(): ("Flag_x_v2",)}}
    made = paths("PAT", leaf, "Pat", menus, Names())
    assert [path_of(o.column) for o in made] == [("Flag_x", "PAT"), ("step", "PAT")]
    assert path_of(bits(leaf, "Pat", Names())[1].column) is None


def test_names_that_are_taken_are_told_apart():
    names = Names()
    leaf = Leaf("t", "obj", None, Refused("whole"), TYPE)
    menus = {p: {A.hex(): ("Flag_x", "step", "Flag_y_v1", "Flag_y_v2")} for p in ("PAT", "RECO")}
    first = [o.column.name for o in paths("PAT", leaf, "Pat", menus, names)]
    assert first == ["Flag_x", "Pat_step", "Flag_y_v1", "Flag_y_v2"]
    second = [o.column.name for o in paths("RECO", leaf, "Reco", menus, names)]
    assert second == ["Flag_x_pRECO", "Reco_step", "Flag_y_v1_pRECO", "Flag_y_v2_pRECO"]
    names.collection("HLT", "a list")
    taken = [
        o.column.name for o in paths("HLT", leaf, "Hlt", {"HLT": {A.hex(): ("HLT_a",)}}, names)
    ]
    assert taken == ["Hlt_HLT_a"]
