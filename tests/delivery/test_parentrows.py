from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from columnservice.alignment.takeindex import TakeIndex
from columnservice.delivery import parentrows
from columnservice.delivery.parentrows import bundles, read_parents
from columnservice.delivery.tools import Tools
from columnservice.errors import CountsMismatch, NotAllowed
from columnservice.model import BranchRead, Recipe
from columnservice.reader import FilePool, parts
from tests.delivery.test_materialise import location_of, task_of
from tests.integration.test_provenance import KEYS, write_nano

pytestmark = pytest.mark.fast


def index(file, row):
    """A TakeIndex of so many rows."""
    return TakeIndex(np.array(file, np.int32), np.array(row), np.zeros(len(file), bool), 0, ())


LINKS = st.lists(st.sets(st.integers(0, 8), max_size=3), max_size=8)


@given(LINKS)
def test_bundles_share_no_branch_and_hold_every_recipe_once(links):
    recipes = {
        f"c{n}": Recipe(f"c{n}", tuple(BranchRead(f"b{b}") for b in sorted(own)), "as_is")
        for n, own in enumerate(links)
    }
    found = list(bundles(recipes))
    assert sorted(name for _, own in found for name in own) == sorted(recipes)
    read = [branch for reads, _ in found for branch in reads]
    assert len(read) == len(set(read)) == len({b for own in links for b in own})
    for reads, own in found:
        assert {r for recipe in own.values() for r in recipe.reads} == set(reads)
    # No bundle is larger than it must be: brute force over what is linked through others.
    groups = [{n} for n in range(len(links))]
    for n, own in enumerate(links):
        for m in range(n):
            if own & links[m]:
                both = next(g for g in groups if n in g) | next(g for g in groups if m in g)
                groups = [*(g for g in groups if not g & both), both]
    assert len(found) == len(groups)


def test_rows_of_several_parents_in_several_parts_are_found_again(tmp_path, monkeypatch):
    cut = parts.cut
    monkeypatch.setattr(parts, "cut", lambda branches, rows: cut(branches, rows, 1))
    rho = [np.linspace(10 * n, 30, 100).astype("f4") for n in range(3)]
    muons = [[float(e)] * (e % 3) for e in range(100)]
    paths = [write_nano(tmp_path / f"{n}.root", KEYS, rho[n], muons) for n in range(3)]
    told = [location_of(path) for path in paths]
    columns = told[0][1]
    task = task_of(told[0][0], columns["Muon_pt"], columns["fixedGridRhoFastjetAll"])
    task = replace(
        task,
        parents=tuple(location for location, _ in told),
        columns=tuple(replace(work, recipes=work.recipes * 3) for work in task.columns),
    )
    rng = np.random.default_rng(5)
    take = index(rng.integers(-1, 3, 80), rng.integers(0, 100, 80))
    with ThreadPoolExecutor(2) as threads, ThreadPoolExecutor(3) as readers:
        found = read_parents(
            Tools(FilePool(4), None, tmp_path, threads, readers),  # type: ignore[arg-type]
            task,
            take,
        )
    assert ((found.part < 0) == (take.file < 0)).all()
    for n in np.flatnonzero(take.file >= 0):
        values, row = found.columns[found.part[n]], found.row[n]
        assert values["fixedGridRhoFastjetAll"].values[row] == rho[take.file[n]][take.row[n]]
        assert found.keys[found.part[n]].event[row] == KEYS[take.row[n]][2]
        offsets = values["Muon_pt"].offsets[0]
        own = values["Muon_pt"].values[offsets[row] : offsets[row + 1]].tolist()
        assert own == muons[take.row[n]]


def test_a_copy_whose_columns_hold_different_numbers_of_objects_is_read_at_the_origin(tmp_path):
    """As when a cache holds wrong bytes of a basket that is not compressed: no checksum tells."""
    muons = [[float(e)] * (e % 3) for e in range(100)]
    good = write_nano(tmp_path / "good.root", KEYS, np.zeros(100, "f4"), muons, extra=True)
    location, columns = location_of(good)
    bad = tmp_path / "bad.root"
    with uproot.open({good: "Events"}) as tree, uproot.recreate(bad) as file:
        arrays = {
            name: tree[name].array() for name in tree.keys(filter_name=lambda name: name != "nMuon")
        }
        # Each list has a counter of its own here, and that of the second one is another.
        arrays["Muon_zeta"] = arrays["Muon_zeta"][np.r_[99, :99]]
        file.mktree("Events", {name: ak.type(array).content for name, array in arrays.items()})
        file["Events"].extend(arrays)
    task = task_of(location, columns["Muon_pt"], columns["Muon_zeta"])
    copied = replace(location, replicas=(str(bad), *location.replicas), identity=None)
    tools = Tools(FilePool(4), None, tmp_path, None, None)  # type: ignore[arg-type]
    found = read_parents(tools, replace(task, parents=(copied,)), index([0] * 100, range(100)))
    assert found.source_bytes.keys() == set(location.replicas)
    assert found.columns[0]["Muon_zeta"].values.tolist() == [e for own in muons for e in own]
    only = replace(task, parents=(replace(copied, replicas=(str(bad),)),))
    with pytest.raises(CountsMismatch, match="Muon_pt and Muon_zeta hold different numbers"):
        read_parents(tools, only, index([0] * 100, range(100)))


def test_the_first_error_ends_the_reading_of_other_parents(tmp_path, monkeypatch):
    begun, ended = threading.Event(), []

    def read(tools, task, abandoned, number, rows):
        if number == 1:
            begun.wait(60)
            raise NotAllowed("parent 1 is closed.")
        begun.set()
        ended.append(abandoned.wait(60))

    monkeypatch.setattr(parentrows, "_read_one", read)
    with ThreadPoolExecutor(3) as readers:
        tools = Tools(FilePool(4), None, tmp_path, None, readers)  # type: ignore[arg-type]
        with pytest.raises(NotAllowed):
            read_parents(tools, None, index([0, 1, 2], [0, 0, 0]))  # type: ignore[arg-type]
    assert ended
    assert all(ended)
