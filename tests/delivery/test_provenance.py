"""What a reply says of its making is what the list of Columns said, as long as nothing changed."""

from __future__ import annotations

import pytest

from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.definitions import Definition
from columnservice.catalogue.drafting import define
from columnservice.catalogue.makings import makings_of, parents_state
from columnservice.client.makings import Makings
from columnservice.delivery.outline import outline_of
from columnservice.delivery.provenance import provenance_of
from tests.catalogue.conftest import catalogue, record, url
from tests.catalogue.test_makings import LOCAL, LUMIS, PARENT, nano, with_other_recipe

pytestmark = pytest.mark.fast
__all__ = ["catalogue", "nano", "url"]
NAMES = ("rho", "mu", "parent:Muon_pt", "Muon_x")


def listed(catalogue) -> Makings:
    makings = makings_of(catalogue, "nano")
    columns = [
        {"name": o.column.name, "recipes": makings[o.column.name]}
        | ({} if o.derivation is None else {"inputs": o.derivation.inputs})
        for o in columns_of(catalogue, "nano")
    ]
    return Makings.of({"columns": columns, "parents": parents_state(catalogue, "nano")})


def replied(catalogue, *names: str):
    local = record(2, LUMIS, columnset=LOCAL)
    return provenance_of(outline_of(catalogue, "nano", names, local, 5, {}))


def test_every_recipe_of_a_reply_stands_in_the_list(nano):
    told, known = replied(nano, *NAMES), listed(nano)
    assert told["recipes"].keys() == {*NAMES, "Muon_pt"}
    assert known.changed(NAMES, told) == []
    assert all(digests for digests in told["recipes"].values())


def test_files_of_two_layouts_are_both_as_listed(nano):
    before = listed(nano)
    other = with_other_recipe(PARENT, "rho", "12" * 16)
    nano.record_file("mini", record(3, LUMIS, columnset=other), other)
    told = replied(nano, *NAMES)
    assert len(told["recipes"]["rho"]) == 2
    assert listed(nano).changed(NAMES, told) == []
    # A layout that nobody knew when the analysis began is not taken for what was known.
    assert before.changed(NAMES, told) == ["rho"]
    assert before.changed(["mu"], told) == []


def test_what_was_changed_is_named_and_so_is_what_it_is_computed_from(nano):
    known = listed(nano)
    define(nano, "nano", Definition("Muon_x", "Muon_pt + mu", "ada"))
    assert known.changed(NAMES, replied(nano, *NAMES)) == ["Muon_x"]
    define(nano, "nano", Definition("Muon_x", "Muon_pt + rho", "ada"))
    known = listed(nano)
    other = with_other_recipe(PARENT, "rho", "12" * 16)
    nano.record_file("mini", record(1, LUMIS, columnset=other), other)
    assert known.changed(["Muon_x"], replied(nano, "Muon_x")) == ["rho"]
    assert listed(nano).version("Muon_x") != known.version("Muon_x")
