"""Layouts of a dataset: one that cannot know a label gets it, one that lacks it does not."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import uproot

from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.indexing import index_file
from columnservice.catalogue.layouts import completed, layouts_of, recipes_of
from columnservice.formats import apply, labels
from columnservice.model import BranchRead, ColumnSet, Dataset, OfferedColumn, Recipe
from columnservice.reader import FilePool, location_of, read_rows
from tests.catalogue.conftest import offered

pytestmark = pytest.mark.fast

MENU, OTHER = "ab" * 16, "cd" * 16


def store(name: str, source: str, unlisted: str = "") -> OfferedColumn:
    """A store of values under names; ``unlisted`` is the decoder of a file that tells no names."""
    made = offered(name, support="unsupported", reason=unlisted or "label by label", source=source)
    how = Recipe(name, (BranchRead(source, raw=True),), unlisted) if unlisted else None
    return replace(made, unlisted=how)


def label(name: str, source: str, decode: str, *parameters) -> OfferedColumn:
    made = offered(name, source=source)
    return replace(made, recipe=Recipe(name, (BranchRead(source, raw=True),), decode, parameters))


def names(layout: ColumnSet) -> list[str]:
    return [o.column.name for o in layout.columns]


KNOWS = ColumnSet(
    "a" * 32,
    (store("ids", "here.ids"), label("Tau_x", "here.ids", "pair_float32", ("x", 0.0))),
)
UNKNOWING = ColumnSet("b" * 32, (store("ids", "there.ids", "pair_float32"),))


def test_a_layout_that_tells_no_labels_gets_those_of_the_others_from_its_own_branches():
    (_, first), (filled, count) = completed([(KNOWS, 1), (UNKNOWING, 2)])
    assert (first, count) == (1, 2)
    made = filled.columns[1]
    assert made.column.name == "Tau_x"
    assert made.column.source == "there.ids"
    assert made.recipe == Recipe(
        "Tau_x", (BranchRead("there.ids", raw=True),), "pair_float32", (("x", 0.0),)
    )
    assert filled.columns[0].column.reason == "label by label"


def test_a_layout_that_tells_other_labels_still_lacks_them():
    other = ColumnSet(
        "c" * 32, (store("ids", "s"), label("Tau_y", "s", "pair_float32", ("y", 0.0)))
    )
    found = {layout.digest: names(layout) for layout, _ in completed([(KNOWS, 1), (other, 1)])}
    assert found == {KNOWS.digest: ["ids", "Tau_x"], other.digest: ["ids", "Tau_y"]}


def test_a_store_of_another_kind_or_name_gets_nothing_and_no_name_is_given_twice():
    kind = ColumnSet("c" * 32, (store("ids", "s", "label_float32"),))
    name = ColumnSet("d" * 32, (store("flags", "s", "pair_float32"),))
    held = ColumnSet("e" * 32, (store("ids", "s", "pair_float32"), offered("Tau_x")))
    found = completed([(KNOWS, 1), (kind, 1), (name, 1), (held, 1)])
    assert [names(layout) for layout, _ in found[1:]] == [["ids"], ["flags"], ["ids", "Tau_x"]]


def test_a_file_without_menus_gets_those_of_all_others():
    def menu(hashed, number):
        path = (hashed, float(number)), (f"{hashed}.paths", 9.0)
        return store("bits", "b"), label("HLT_x", "b", "trigger_path", *path)

    one, two = ColumnSet("a" * 32, menu(MENU, 3)), ColumnSet("c" * 32, menu(OTHER, 5))
    bare = ColumnSet("b" * 32, (store("bits", "b", "trigger_path"),))
    *_, (filled, _) = completed([(one, 1), (two, 1), (bare, 1)])
    assert dict(filled.columns[1].recipe.parameters) == {
        MENU: 3, f"{MENU}.paths": 9, OTHER: 5, f"{OTHER}.paths": 9,
    }  # fmt: skip


@pytest.fixture
def twins(catalogue, data_dir, tmp_path, monkeypatch):
    """A real MiniAOD twice: first looked at in its first event only, without taus; then whole."""
    path = data_dir / "cms/miniaodsim_phys14_10ev.root"
    copy = tmp_path / "copy.root"
    shutil.copyfile(path, copy)
    uuid = uproot.open(path).file.uuid.bytes
    data = copy.read_bytes()
    copy.chmod(0o644)
    copy.write_bytes(data.replace(uuid, b"another file too", 1))
    catalogue.add_dataset(Dataset("mini", "miniaod"))
    catalogue.add_dataset(Dataset("nano", "nanoaod", "mini"))
    whole = index_file(str(path), "miniaod", {})
    monkeypatch.setattr(labels, "FIRST_EVENTS", (1,))
    first = index_file(str(copy), "miniaod", {})
    for record, layout in (first, whole):
        assert catalogue.record_file("mini", record, layout) is None
    return first[0], whole[0]


def test_tau_ids_are_offered_though_one_file_begins_without_taus(catalogue, twins):
    first, whole = twins
    assert first.columnset != whole.columnset
    here = {o.column.name: o for o in columns_of(catalogue, "nano")}
    ids = [o.column for o in here.values() if o.column.doc.startswith("tau ID")]
    assert len(ids) >= 20
    assert all(c.support == "ok" for c in ids)
    assert here["slimmedTaus_tauIDs"].column.reason.startswith("offered label by label")
    recipes = recipes_of(catalogue, "mini")
    of_first, of_whole = (
        values_of(record, [recipes[record.columnset][c.name] for c in ids]) for record in twins
    )
    for one, other in zip(of_first, of_whole, strict=True):
        assert np.array_equal(one.offsets[0], other.offsets[0])
        assert np.array_equal(one.values, other.values)
        assert one.offsets[0][:3].tolist() == [0, 0, 0]  # two events without taus


def values_of(record, recipes):
    """The Columns of a whole file, read at once."""
    reads = [read for recipe in recipes for read in recipe.reads]
    pool = FilePool(open_files=1)
    found = iter(read_rows(pool, location_of(record, {}), reads, np.arange(record.entries)).arrays)
    pool.close()
    return [apply(recipe, [next(found) for _ in recipe.reads]) for recipe in recipes]


def test_what_a_file_needs_to_know_survives_the_catalogue(catalogue, twins):
    kept = catalogue.columnset(twins[0].columnset)
    unlisted = {o.column.name: o.unlisted for o in kept.columns if o.unlisted}
    assert unlisted["slimmedTaus_tauIDs"].decode == "pair_float32"
    assert "slimmedJets_pairDiscriVector" not in unlisted  # the first event has jets
    assert len(layouts_of(catalogue, "mini")) == 2
