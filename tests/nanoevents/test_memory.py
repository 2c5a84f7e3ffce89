from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from columnservice.model import plain
from columnservice.nanoevents.memory import Evidence, Made, Memory, Range, Source

pytestmark = pytest.mark.fast

SOURCE = Source("http://here", "nano")
A, B = Made("a", "1"), Made("b", "1")


def at(start: int, uuid: str = "u") -> Range:
    return Range(SOURCE, uuid, start, start + 10)


def evidence(present: bool = True) -> Evidence:
    return Evidence(((0, 10, "00"),), np.full(10, present))


def kilobytes(number: int):
    return plain(np.zeros(number * 1000, np.uint8))


def test_what_is_kept_is_recalled_by_service_dataset_file_and_range():
    memory = Memory()
    told = evidence()
    memory.keep(at(0), told, {A: kilobytes(1)})
    memory.keep(at(0), evidence(), {B: kilobytes(1)})
    assert memory.recall(at(0)).keys() == {A, B}
    assert memory.recall(at(0))[A][1] is told
    for other in (at(1), at(0, "v"), Range(Source("http://there", "nano"), "u", 0, 10)):
        assert memory.recall(other) == {}
    assert memory.size_bytes == 2000


def test_the_oldest_ranges_are_forgotten_beyond_the_limit():
    memory = Memory(limit_bytes=3000)
    for start in (0, 10, 20):
        memory.keep(at(start), evidence(), {A: kilobytes(1)})
    assert memory.recall(at(0))
    memory.keep(at(30), evidence(), {A: kilobytes(1)})
    assert not memory.recall(at(10))
    assert memory.recall(at(0))
    assert memory.size_bytes == 3000


def test_the_newest_range_is_kept_whole_whatever_its_size():
    memory = Memory(limit_bytes=10)
    memory.keep(at(0), evidence(), {A: kilobytes(1)})
    memory.keep(at(10), evidence(), {A: kilobytes(1)})
    memory.keep(at(10), evidence(), {B: kilobytes(1)})
    assert not memory.recall(at(0))
    assert memory.recall(at(10)).keys() == {A, B}


def test_a_reply_that_contradicts_older_ones_replaces_them():
    memory = Memory()
    memory.keep(at(0), evidence(True), {A: kilobytes(1)})
    memory.keep(at(0), evidence(False), {B: kilobytes(1)})
    assert memory.recall(at(0)).keys() == {B}
    assert memory.size_bytes == 1000


def test_another_version_of_a_column_is_another_one_and_takes_its_place():
    memory = Memory(limit_bytes=10)
    memory.keep(at(0), evidence(), {A: kilobytes(1), B: kilobytes(1)})
    changed = Made("a", "2")
    memory.keep(at(0), evidence(), {changed: kilobytes(3)})
    assert memory.recall(at(0)).keys() == {B, changed}
    assert memory.size_bytes == 4000


def test_a_reply_that_is_joined_with_another_file_of_a_name_replaces_older_ones():
    def joined(*sizes: int) -> Evidence:
        parents = [{"lfn": f"/{n}", "uuid": "u", "size_bytes": s} for n, s in enumerate(sizes)]
        return replace(evidence(), provenance={"parents": parents})

    memory = Memory()
    memory.keep(at(0), joined(1, 2), {A: kilobytes(1)})
    memory.keep(at(0), joined(1, 2, 3), {B: kilobytes(1)})
    assert memory.recall(at(0)).keys() == {A, B}
    memory.keep(at(0), joined(1, 5), {B: kilobytes(1)})
    assert memory.recall(at(0)).keys() == {B}


def test_touched_columns_are_noted_in_order_and_per_dataset():
    memory = Memory()
    memory.touch(SOURCE, ["b", "a"])
    memory.touch(SOURCE, ["a", "c"])
    assert memory.touched(SOURCE) == ["b", "a", "c"]
    assert memory.touched(Source("http://here", "other")) == []
    memory.clear()
    assert memory.touched(SOURCE) == []
