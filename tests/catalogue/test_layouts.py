"""Layouts of a dataset: what one does not name is read as the others name it, and never mixed."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import uproot

from columnservice.catalogue.columns import columns_of, merged
from columnservice.catalogue.indexing import index_file
from columnservice.catalogue.layouts import completed, layouts_of, recipes_of
from columnservice.formats import apply, labelsought
from columnservice.model import BranchRead, ColumnSet, Dataset, OfferedColumn, Recipe
from columnservice.reader import FilePool, location_of, read_rows
from tests.catalogue.conftest import offered

pytestmark = pytest.mark.fast

MENU, OTHER = "ab" * 16, "cd" * 16


def store(name: str, source: str, unlisted: str = "", reason: str = "", *menus) -> OfferedColumn:
    """A store of values under names; ``unlisted`` is the decoder of those that are not listed."""
    reason = reason or unlisted or "label by label"
    made = offered(name, support="unsupported", reason=reason, source=source)
    how = Recipe(name, (BranchRead(source, raw=True),), unlisted, menus) if unlisted else None
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


def test_a_layout_that_tells_other_labels_reads_those_of_the_others_too():
    """Labels are known from some events only; an object that lacks one has NaN in any file."""
    other = ColumnSet(
        "c" * 32,
        (store("ids", "there.ids", "pair_float32", "label by label"),
         label("Tau_y", "there.ids", "pair_float32", ("y", 0.0))),
    )  # fmt: skip
    knows = replace(
        KNOWS, columns=(store("ids", "here.ids", "pair_float32", "both"), *KNOWS.columns[1:])
    )
    made = [layout for layout, _ in completed([(knows, 1), (other, 1)])]
    assert [sorted(names(layout)) for layout in made] == [["Tau_x", "Tau_y", "ids"]] * 2
    found = {o.column.name: o for o in made[1].columns}
    assert found["Tau_x"].recipe.parameters == (("x", 0.0),)
    assert found["Tau_x"].recipe.reads == (BranchRead("there.ids", raw=True),)
    assert [o.column.reason for layout in made for o in layout.columns if o.recipe is None] == [
        "both", "label by label",
    ]  # fmt: skip


def test_a_name_that_means_two_labels_is_refused_and_says_so(catalogue):
    """``a:b`` and ``a_b`` are cleaned alike; a file that has both calls the second otherwise."""

    def layout(digest, *told):
        labels = (label(n, "s.tauIDs_", "pair_float32", (text, 0.0)) for n, text in told)
        return ColumnSet(digest * 32, (store("ids", "s.tauIDs_", "pair_float32"), *labels))

    both = layout("a", ("Tau_a_b", "a:b"), ("Tau_tauIDs_a_b", "a_b"))
    one = layout("b", ("Tau_a_b", "a_b"), ("Tau_c", "c"))
    columns = {o.column.name: o for o in merged(completed([(both, 1), (one, 1)]), "parent")}
    assert columns["Tau_a_b"].recipe is None
    assert columns["Tau_a_b"].column.reason == (
        "it stands for different labels in different files: tauIDs_ a:b, tauIDs_ a_b"
    )
    assert columns["Tau_c"].column.support == "ok"
    # the other name means one label everywhere
    assert columns["Tau_tauIDs_a_b"].column.support == "ok"
    assert merged(completed([(one, 2)]), "parent")[1].column.support == "ok"


def test_a_tau_id_and_a_user_float_of_one_name_are_not_one_column():
    def layout(digest, source, decode):
        made = label("Tau_x", source, decode, ("x", 0.0))
        return ColumnSet(digest * 32, (store(source, source, decode), made))

    ids = layout("a", "s.tauIDs_", "pair_float32")
    floats = layout("b", "s:userFloatLabels_", "label_float32")
    columns = {o.column.name: o for o in merged(completed([(ids, 1), (floats, 1)]), "parent")}
    assert columns["Tau_x"].recipe is None
    assert "tauIDs_ x, userFloatLabels_ x" in columns["Tau_x"].column.reason


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


def menu_layout(digest, hashed, *paths):
    """A file with one menu of nine paths, some of them by name and number."""
    lacking = (hashed, -1.0), (f"{hashed}.paths", 9.0)
    made = [
        label(name, "b", "trigger_path", (hashed, float(number)), (f"{hashed}.paths", 9.0))
        for name, number in paths
    ]
    return ColumnSet(digest * 32, (store("bits", "b", "trigger_path", "by path", *lacking), *made))


def test_a_path_that_the_menus_of_a_file_lack_is_read_as_not_in_the_menu():
    """As in one file with two menus; only its own menus are known there."""
    one = menu_layout("a", MENU, ("HLT_x", 3), ("HLT_y", 4))
    two = menu_layout("c", OTHER, ("HLT_x", 5))
    bare = ColumnSet("b" * 32, (store("bits", "b", "trigger_path"),))
    layouts = completed([(one, 1), (two, 1), (bare, 1)])
    of_one, of_two, of_bare = (
        {o.column.name: o.recipe and dict(o.recipe.parameters) for o in layout.columns}
        for layout, _ in layouts
    )
    assert of_one["HLT_y"] == {MENU: 4, f"{MENU}.paths": 9}
    assert of_two["HLT_y"] == {OTHER: -1, f"{OTHER}.paths": 9}
    assert of_bare["HLT_y"] == {MENU: 4, f"{MENU}.paths": 9, OTHER: -1, f"{OTHER}.paths": 9}
    assert of_bare["HLT_x"] == {MENU: 3, f"{MENU}.paths": 9, OTHER: 5, f"{OTHER}.paths": 9}
    offered_of_all = {o.column.name: o.column for o in merged(layouts, "parent")}
    assert {offered_of_all[name].support for name in ("HLT_x", "HLT_y")} == {"ok"}


def test_a_path_of_another_files_menu_is_false_in_real_events(catalogue, twins, data_dir):
    """Real results and their menus, asked for a path that only another file has."""
    first, _ = twins
    layout = next(one for one, _ in layouts_of(catalogue, "mini") if one.digest == first.columnset)
    source = next(o.column.source for o in layout.columns if o.column.name == "TriggerResultsHLT")
    other = ColumnSet(
        "f" * 32,
        (store("TriggerResultsHLT", source, "trigger_path", "by path", (MENU, -1.0)),
         label("HLT_New", source, "trigger_path", (MENU, 2.0), (f"{MENU}.paths", 9.0))),
    )  # fmt: skip
    (filled, _), _ = completed([(layout, 1), (other, 1)])
    recipes = {o.column.name: o.recipe for o in filled.columns}
    assert recipes["HLT_New"].reads[0].path == source
    mine = [r for n, r in recipes.items() if n.startswith("HLT_") and n != "HLT_New" and r]
    found, *there = values_of(first, [recipes["HLT_New"], *mine])
    assert any(one.values.any() for one in there)
    assert found.values.dtype == there[0].values.dtype == bool
    assert found.values.tolist() == [False] * 10


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
    monkeypatch.setattr(labelsought, "FIRST_EVENTS", (1,))
    monkeypatch.setattr(labelsought, "LAST_EVENTS", 0)
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
    assert unlisted["slimmedTaus_tauIDs"].parameters == ()
    reasons = {o.column.name: o.column.reason for o in kept.columns}
    assert reasons["slimmedTaus_tauIDs"].startswith("the events that were looked at hold no label")
    assert reasons["slimmedJets_pairDiscriVector"].startswith("offered label by label")
    assert len(layouts_of(catalogue, "mini")) == 2
