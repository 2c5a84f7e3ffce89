"""Digests of how Columns are made: another one whenever values may be others, and only then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from columnservice.catalogue import files, makings
from columnservice.catalogue.definitions import Definition
from columnservice.catalogue.drafting import define
from columnservice.catalogue.makings import makings_of, parents_state
from columnservice.catalogue.manifest import ManifestEntry
from columnservice.errors import FileError
from columnservice.model import BranchRead, ColumnSet, Dataset, LumiRange
from tests.catalogue.conftest import offered, record

pytestmark = pytest.mark.fast

LUMIS = LumiRange(1, 1, 1)
LOCAL = ColumnSet(
    "cd" * 16,
    tuple(
        offered(f"Muon_{f}", depth=1, collection="Muon", field=f, shape="Muon")
        for f in ("pt", "eta", "phi")
    ),
)
PARENT = ColumnSet("ef" * 16, (offered("rho"), offered("mu"), *LOCAL.columns))


def with_other_recipe(layout: ColumnSet, name: str, digest: str) -> ColumnSet:
    columns = tuple(
        replace(o, recipe=replace(o.recipe, reads=(BranchRead("elsewhere"),)))
        if o.column.name == name
        else o
        for o in layout.columns
    )
    return ColumnSet(digest, columns)


@pytest.fixture
def nano(catalogue):
    """A catalogue with one local dataset and its parent."""
    catalogue.add_dataset(Dataset("mini", "miniaod"))
    catalogue.add_dataset(Dataset("nano", "nanoaod", "mini"))
    catalogue.record_file("mini", record(1, LUMIS, columnset=PARENT), PARENT)
    catalogue.record_file("nano", record(2, LUMIS, columnset=LOCAL), LOCAL)
    define(catalogue, "nano", Definition("Muon_x", "Muon_pt + rho", "ada"))
    return catalogue


def test_every_column_that_can_be_delivered_has_one_for_each_layout(nano):
    before = makings_of(nano, "nano")
    assert {"rho", "mu", "Muon_pt", "parent:Muon_pt", "Muon_x"} <= before.keys()
    assert all(len(digests) == 1 for digests in before.values())
    other = with_other_recipe(PARENT, "rho", "12" * 16)
    nano.record_file("mini", record(3, LUMIS, columnset=other), other)
    after = makings_of(nano, "nano")
    assert set(after["rho"]) > set(before["rho"])
    assert len(after["rho"]) == 2
    assert {n: d for n, d in after.items() if n != "rho"} == {
        n: d for n, d in before.items() if n != "rho"
    }


def test_the_parent_s_version_of_a_local_column_is_made_as_the_parent_has_it(nano):
    other = with_other_recipe(PARENT, "Muon_pt", "12" * 16)
    before = makings_of(nano, "nano")
    nano.record_file("mini", record(1, LUMIS, columnset=other), other)
    after = makings_of(nano, "nano")
    assert after["Muon_pt"] == before["Muon_pt"]
    assert not {*after["parent:Muon_pt"]} & {*before["parent:Muon_pt"]}


def test_only_another_expression_is_another_digest(nano):
    before = makings_of(nano, "nano")
    define(nano, "nano", Definition("Muon_x", "Muon_pt+rho", "ada", doc="told"))
    assert makings_of(nano, "nano") == before
    define(nano, "nano", Definition("Muon_x", "Muon_pt + mu", "ada"))
    after = makings_of(nano, "nano")
    assert after["Muon_x"] != before["Muon_x"]
    assert {**after, "Muon_x": before["Muon_x"]} == before


def test_other_decoders_are_other_digests_of_what_is_read(nano, monkeypatch):
    before = makings_of(nano, "nano")
    monkeypatch.setattr(makings, "DECODE_VERSION", 99)
    nano.record_file("mini", record(4, LUMIS, columnset=PARENT), PARENT)
    after = makings_of(nano, "nano")
    assert {n for n in after if after[n] == before[n]} == {"Muon_x"}


def test_the_state_of_the_parents_changes_with_their_files_and_not_with_definitions(nano):
    before = parents_state(nano, "nano")
    define(nano, "nano", Definition("Muon_y", "Muon_pt", "ada"))
    assert parents_state(nano, "nano") == before
    nano.record_file("mini", replace(record(1, LUMIS, columnset=PARENT), mtime_seconds=5), PARENT)
    assert parents_state(nano, "nano") != before
    assert parents_state(nano, "mini") == ""


def test_the_state_of_the_parents_is_that_of_the_readable_files_and_not_of_changes(nano):
    before = parents_state(nano, "nano")
    edition = nano.edition(("mini",))
    nano.record_file("mini", record(1, LUMIS, columnset=PARENT), PARENT)
    nano.add_files("mini", ["root://h//new.root"])
    nano.import_manifest("mini", [ManifestEntry("root://h//later.root", 5, (LUMIS,))])
    nano.record_failure("mini", "root://h//new.root", FileError("broken."))
    assert nano.edition(("mini",)) != edition
    assert parents_state(nano, "nano") == before
    nano.record_file("mini", record(3, LUMIS, columnset=PARENT), PARENT)
    more = parents_state(nano, "nano")
    assert more != before
    nano.remove_files("mini", [record(3, LUMIS).url])
    assert parents_state(nano, "nano") == before


def test_a_catalogue_that_is_built_anew_has_the_state_of_its_files(make_catalogue):
    """Its counts of changes begin anew, and say nothing."""

    def state(*records):
        made = make_catalogue()
        made.add_dataset(Dataset("mini", "miniaod"))
        made.add_dataset(Dataset("nano", "nanoaod", "mini"))
        for found in records:
            made.record_file("mini", found, PARENT)
        return made.edition(("mini",)), parents_state(made, "nano")

    one, two, three = (record(n, LUMIS, columnset=PARENT) for n in (1, 2, 3))
    first = state(one, two)
    assert state(two, one) == first
    others = [state(one, three), state(one, replace(two, mtime_seconds=5))]
    others.append(state(one, replace(two, identity=replace(two.identity, size_bytes=99))))
    assert {edition for edition, _ in others} == {first[0]}
    assert len({first[1], *(found for _, found in others)}) == 4


def test_the_identities_of_files_are_read_once_for_each_edition(nano, monkeypatch):
    asked = []
    identities = files.identities
    monkeypatch.setattr(files, "identities", lambda c, d: asked.append(1) or identities(c, d))
    assert len({parents_state(nano, "nano") for _ in range(3)}) == 1
    nano.record_file("mini", record(3, LUMIS, columnset=PARENT), PARENT)
    parents_state(nano, "nano")
    assert len(asked) == 2
