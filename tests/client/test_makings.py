"""How Columns are made: what a list of Columns says, and what replies say, compared."""

from __future__ import annotations

import pytest

from columnservice.client.makings import Makings, behind, some_of

pytestmark = pytest.mark.fast

DOCUMENT = {
    "parents": "p1",
    "columns": [
        {"name": "Muon_pt", "recipes": ["1" * 32, "2" * 32]},
        {"name": "PF_pt", "recipes": ["3" * 32]},
        {"name": "Muon_iso", "recipes": ["4" * 32], "inputs": ["PF_pt", "Muon_pt"]},
        {"name": "nGood", "recipes": ["5" * 32], "inputs": ["Muon_iso"]},
        {"name": "lost"},
    ],
}
KNOWN = Makings.of(DOCUMENT)


def changed_in(name: str, digest: str) -> Makings:
    columns = [
        {**c, "recipes": [digest * 32]} if c["name"] == name else c for c in DOCUMENT["columns"]
    ]
    return Makings.of({**DOCUMENT, "columns": columns})


def told(**recipes: list[str]):
    inputs = {c["name"]: c["inputs"] for c in DOCUMENT["columns"] if "inputs" in c}
    return {"recipes": recipes, "derived": inputs}


def test_a_version_changes_with_the_recipe_with_those_of_all_inputs_and_with_the_parents():
    for name, below in (("nGood", ("nGood", "Muon_iso", "PF_pt", "Muon_pt")), ("PF_pt", ["PF_pt"])):
        for other in ("Muon_pt", "PF_pt", "Muon_iso", "nGood"):
            same = changed_in(other, "9").version(name) == KNOWN.version(name)
            assert same == (other not in below)
        elsewhere = Makings.of({**DOCUMENT, "parents": "p2"})
        assert elsewhere.version(name) != KNOWN.version(name)
    assert changed_in("nGood", "5").version("nGood") == KNOWN.version("nGood")
    assert len({KNOWN.version(n) for n in ("nGood", "PF_pt", "unheard of")}) == 3


def test_a_reply_that_is_made_otherwise_is_noticed_down_to_the_inputs():
    right = {"Muon_pt": ["2" * 32], "PF_pt": ["3" * 32], "Muon_iso": ["4" * 32]}
    assert KNOWN.changed(["Muon_iso"], told(**right)) == []
    assert KNOWN.changed(["Muon_iso"], told(**{**right, "Muon_iso": ["9" * 32]})) == ["Muon_iso"]
    assert KNOWN.changed(["Muon_iso"], told(**{**right, "PF_pt": ["9" * 32]})) == ["PF_pt"]
    assert KNOWN.changed(["PF_pt"], told(**{**right, "Muon_iso": ["9" * 32]})) == []


def test_files_of_any_layout_that_was_known_are_made_rightly():
    for recipes in (["1" * 32], ["2" * 32], ["1" * 32, "2" * 32], []):
        assert KNOWN.changed(["Muon_pt"], told(Muon_pt=recipes)) == []
    assert KNOWN.changed(["Muon_pt"], told(Muon_pt=["1" * 32, "9" * 32])) == ["Muon_pt"]


def test_where_either_side_says_nothing_nothing_is_concluded():
    assert KNOWN.changed(["Muon_pt", "nPF"], {}) == []
    assert KNOWN.changed(["nPF"], told(nPF=["9" * 32])) == []
    assert Makings().changed(["Muon_pt"], told(Muon_pt=["9" * 32])) == []


def test_what_some_columns_need_is_kept_and_travels_as_json():
    few = KNOWN.only(["Muon_iso"])
    assert few.recipes.keys() == {"Muon_iso", "PF_pt", "Muon_pt"}
    assert few.version("Muon_iso") == KNOWN.version("Muon_iso")
    assert Makings.from_json(few.to_json()) == few


def test_names_behind_names_come_once_even_in_a_circle():
    assert behind(["a"], {"a": ["b", "c"], "b": ["c"], "c": ["a"]}) == ("a", "b", "c")
    assert some_of(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
