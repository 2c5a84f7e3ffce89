"""How Columns are made: what a list of Columns says, and what replies say, compared."""

from __future__ import annotations

import pytest

from columnservice.client.makings import Makings, behind, some_of
from columnservice.errors import ProvenanceChanged, Unreachable

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


class Service:
    """What a list of Columns says when it is asked for again, and how often it was."""

    def __init__(self, **recipes: str) -> None:
        self.recipes, self.asked = recipes, 0

    def __call__(self) -> Makings:
        self.asked += 1
        columns = [
            {**c, "recipes": [d * 32 for d in self.recipes[c["name"]]]}
            if c["name"] in self.recipes
            else c
            for c in DOCUMENT["columns"]
        ]
        return Makings.of({**DOCUMENT, "columns": columns})


def demand(makings: Makings, service: Service, name: str, **recipes: str) -> None:
    said = told(**{n: [d * 32 for d in digests] for n, digests in recipes.items()})
    makings.demand_same([name], said, "/x.root", "Begin anew.", service)


def test_a_layout_that_became_known_later_is_no_change_and_is_asked_about_once():
    makings, service = Makings.of(DOCUMENT), Service(Muon_pt="126", PF_pt="36")
    demand(makings, service, "Muon_pt", Muon_pt="1")
    assert service.asked == 0
    for _ in range(3):
        demand(makings, service, "Muon_pt", Muon_pt="26")
        demand(makings, service, "Muon_iso", Muon_pt="6", PF_pt="6", Muon_iso="4")
    assert service.asked == 1
    assert makings.changed(["Muon_pt"], told(Muon_pt=["6" * 32])) == []
    service.recipes["Muon_pt"] = "1267"
    demand(makings, service, "Muon_pt", Muon_pt="7")
    assert service.asked == 2
    copy = Makings.from_json(makings.to_json())
    demand(copy, service, "Muon_pt", Muon_pt="7")
    assert service.asked == 3


def test_what_one_analysis_learns_is_not_known_to_another():
    first = Makings.of(DOCUMENT)
    second, service = first.anew(), Service(Muon_pt="126")
    assert second == first
    demand(first, service, "Muon_pt", Muon_pt="6")
    assert first.changed(["Muon_pt"], told(Muon_pt=["6" * 32])) == []
    for other in (second, first.anew()):
        assert other.changed(["Muon_pt"], told(Muon_pt=["6" * 32])) == ["Muon_pt"]


@pytest.mark.parametrize("now", ["6", "16", "12", "127"])
def test_a_column_that_lost_a_digest_or_has_one_that_nobody_lists_is_changed(now):
    service = Service(Muon_pt=now)
    with pytest.raises(ProvenanceChanged, match="Muon_pt is made otherwise"):
        demand(Makings.of(DOCUMENT), service, "Muon_pt", Muon_pt="6")
    assert service.asked == 1


def test_what_was_learnt_later_must_stay_too():
    makings, service = Makings.of(DOCUMENT), Service(Muon_pt="126")
    demand(makings, service, "Muon_pt", Muon_pt="6")
    service.recipes["Muon_pt"] = "127"
    with pytest.raises(ProvenanceChanged, match="Muon_pt"):
        demand(makings, service, "Muon_pt", Muon_pt="7")


def test_computed_columns_are_never_asked_about_and_a_silent_service_vouches_for_nothing():
    service = Service(Muon_iso="46", PF_pt="36")
    with pytest.raises(ProvenanceChanged, match="Muon_iso"):
        demand(Makings.of(DOCUMENT), service, "Muon_iso", Muon_iso="6", PF_pt="6")
    with pytest.raises(ProvenanceChanged, match="nGood"):  # read when this began
        demand(Makings({"nGood": ("5" * 12,)}), service, "nGood", nGood="6")
    assert service.asked == 0

    def silent() -> Makings:
        raise Unreachable("http://here does not answer.")

    with pytest.raises(ProvenanceChanged, match="Muon_pt") as caught:
        demand(Makings.of(DOCUMENT), silent, "Muon_pt", Muon_pt="6")
    assert caught.value.__context__ is None


def test_what_some_columns_need_is_kept_and_travels_as_json():
    few = KNOWN.only(["Muon_iso"])
    assert few.recipes.keys() == {"Muon_iso", "PF_pt", "Muon_pt"}
    assert few.version("Muon_iso") == KNOWN.version("Muon_iso")
    assert Makings.from_json(few.to_json()) == few


def test_names_behind_names_come_once_even_in_a_circle():
    assert behind(["a"], {"a": ["b", "c"], "b": ["c"], "c": ["a"]}) == ("a", "b", "c")
    assert some_of(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
