from __future__ import annotations

import numpy as np
import pytest

from columnservice.model import plain
from columnservice.nanoevents.memory import Evidence, Memory, Range, Source

pytestmark = pytest.mark.fast

SOURCE = Source("http://here", "nano")


def at(start: int, uuid: str = "u") -> Range:
    return Range(SOURCE, uuid, start, start + 10)


def evidence(present: bool = True) -> Evidence:
    return Evidence(((0, 10, "00"),), np.full(10, present))


def kilobytes(number: int):
    return plain(np.zeros(number * 1000, np.uint8))


def test_what_is_kept_is_recalled_by_service_dataset_file_and_range():
    memory = Memory()
    told = evidence()
    memory.keep(at(0), told, {"a": kilobytes(1)})
    memory.keep(at(0), evidence(), {"b": kilobytes(1)})
    assert memory.recall(at(0)).keys() == {"a", "b"}
    assert memory.recall(at(0))["a"][1] is told
    for other in (at(1), at(0, "v"), Range(Source("http://there", "nano"), "u", 0, 10)):
        assert memory.recall(other) == {}
    assert memory.size_bytes == 2000


def test_the_oldest_ranges_are_forgotten_beyond_the_limit():
    memory = Memory(limit_bytes=3000)
    for start in (0, 10, 20):
        memory.keep(at(start), evidence(), {"a": kilobytes(1)})
    assert memory.recall(at(0))
    memory.keep(at(30), evidence(), {"a": kilobytes(1)})
    assert not memory.recall(at(10))
    assert memory.recall(at(0))
    assert memory.size_bytes == 3000


def test_the_newest_range_is_kept_whole_whatever_its_size():
    memory = Memory(limit_bytes=10)
    memory.keep(at(0), evidence(), {"a": kilobytes(1)})
    memory.keep(at(10), evidence(), {"a": kilobytes(1)})
    memory.keep(at(10), evidence(), {"b": kilobytes(1)})
    assert not memory.recall(at(0))
    assert memory.recall(at(10)).keys() == {"a", "b"}


def test_a_reply_that_contradicts_older_ones_replaces_them():
    memory = Memory()
    memory.keep(at(0), evidence(True), {"a": kilobytes(1)})
    memory.keep(at(0), evidence(False), {"b": kilobytes(1)})
    assert memory.recall(at(0)).keys() == {"b"}
    assert memory.size_bytes == 1000


def test_touched_columns_are_noted_in_order_and_per_dataset():
    memory = Memory()
    memory.touch(SOURCE, ["b", "a"])
    memory.touch(SOURCE, ["a", "c"])
    assert memory.touched(SOURCE) == ["b", "a", "c"]
    assert memory.touched(Source("http://here", "other")) == []
    memory.clear()
    assert memory.touched(SOURCE) == []
