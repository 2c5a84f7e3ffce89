from __future__ import annotations

import numpy as np
import pytest
import uproot

from columnservice.model import BranchRead, FileLocation
from columnservice.reader import FilePool, progress, read_rows

pytestmark = pytest.mark.fast


@pytest.fixture
def location(tmp_path):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {"x": "int64", "y": "int64"})
        for _ in range(3):
            file["Events"].extend({"x": np.arange(20_000), "y": np.arange(20_000)})
    return FileLocation("a", (str(path),), "Events")


def test_opening_the_tree_each_block_and_each_decoded_run_are_told(ticks, location):
    pool = FilePool()
    with pool.tree(location) as opened:
        assert len(ticks) == 1
        assert opened.tree.num_entries == 60_000
        assert len(ticks) == 2
    read_rows(pool, location, [BranchRead("x")], np.array([0, 45_000]))
    assert len(ticks) == 2 + 2 + 2


def test_nobody_watching_costs_nothing(location):
    progress.tick()
    read = read_rows(FilePool(), location, [BranchRead("y")], np.array([1]))
    assert read.arrays[0].values.tolist() == [1]


def test_a_watcher_that_left_is_not_called(ticks, location):
    progress.watch(None)
    read_rows(FilePool(), location, [BranchRead("y")], np.array([1]))
    assert ticks == []
