"""A real file without taus in what was looked at, beside the whole one: read as the other names it.

Not fast: a real MiniAOD is indexed twice. What layouts tell each other is in ``test_layouts``.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import uproot

from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.indexing import index_file
from columnservice.catalogue.layouts import completed, layouts_of, recipes_of
from columnservice.formats import apply, labelsought
from columnservice.model import ColumnSet, Dataset
from columnservice.reader import FilePool, location_of, read_rows
from tests.catalogue.test_layouts import MENU, path, store


@pytest.fixture(scope="module")
def looked_at(data_dir, tmp_path_factory):
    """A real MiniAOD twice: first looked at in its first event only, without taus; then whole."""
    path = data_dir / "cms/miniaodsim_phys14_10ev.root"
    copy = tmp_path_factory.mktemp("twin") / "copy.root"
    shutil.copyfile(path, copy)
    uuid = uproot.open(path).file.uuid.bytes
    data = copy.read_bytes()
    copy.chmod(0o644)
    copy.write_bytes(data.replace(uuid, b"another file too", 1))
    whole = index_file(str(path), "miniaod", {})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(labelsought, "FIRST_EVENTS", (1,))
        patched.setattr(labelsought, "LAST_EVENTS", 0)
        first = index_file(str(copy), "miniaod", {})
    return first, whole


@pytest.fixture
def twins(catalogue, looked_at):
    """Both in a catalogue, as the parents of a dataset."""
    catalogue.add_dataset(Dataset("mini", "miniaod"))
    catalogue.add_dataset(Dataset("nano", "nanoaod", "mini"))
    for record, layout in looked_at:
        assert catalogue.record_file("mini", record, layout) is None
    (first, _), (whole, _) = looked_at
    return first, whole


def values_of(record, recipes):
    """The Columns of a whole file, read at once."""
    reads = [read for recipe in recipes for read in recipe.reads]
    pool = FilePool(open_files=1)
    found = iter(read_rows(pool, location_of(record, {}), reads, np.arange(record.entries)).arrays)
    pool.close()
    return [apply(recipe, [next(found) for _ in recipe.reads]) for recipe in recipes]


def test_a_path_of_another_files_menu_is_false_in_real_events(catalogue, twins):
    """Real results and their menus, asked for a path that only another file has."""
    first, _ = twins
    layout = next(one for one, _ in layouts_of(catalogue, "mini") if one.digest == first.columnset)
    source = next(o.column.source for o in layout.columns if o.column.name == "TriggerResultsHLT")
    other = ColumnSet(
        "f" * 32,
        (store("TriggerResultsHLT", source, "trigger_path", "by path", (MENU, -1.0)),
         path("HLT_New", source, "HLT", (MENU, 2.0), (f"{MENU}.paths", 9.0))),
    )  # fmt: skip
    (filled, _), _ = completed([(layout, 1), (other, 1)])
    recipes = {o.column.name: o.recipe for o in filled.columns}
    assert recipes["HLT_New"].reads[0].path == source
    mine = [r for n, r in recipes.items() if n.startswith("HLT_") and n != "HLT_New" and r]
    found, *there = values_of(first, [recipes["HLT_New"], *mine])
    assert any(one.values.any() for one in there)
    assert found.values.dtype == there[0].values.dtype == bool
    assert found.values.tolist() == [False] * 10


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


def test_what_a_file_needs_to_know_survives_the_catalogue(catalogue, twins):
    kept = catalogue.columnset(twins[0].columnset)
    unlisted = {o.column.name: o.unlisted for o in kept.columns if o.unlisted}
    assert unlisted["slimmedTaus_tauIDs"].decode == "pair_float32"
    assert unlisted["slimmedTaus_tauIDs"].parameters == ()
    reasons = {o.column.name: o.column.reason for o in kept.columns}
    assert reasons["slimmedTaus_tauIDs"].startswith("the events that were looked at hold no label")
    assert reasons["slimmedJets_pairDiscriVector"].startswith("offered label by label")
    assert len(layouts_of(catalogue, "mini")) == 2
