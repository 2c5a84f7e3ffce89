"""Random histories of a cache, seen from two processes' worth of handles, against a plain dict.

The model keeps batches in order of last use and knows sizes from Arrow files of its own making; it
decides what must be there after every step, to the byte.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from columnservice.cache import PieceCache
from tests.cache.support import file_of, file_size, key_of, piece_files, same

LIMIT_BYTES = 60_000
NUMBERS = st.integers(0, 24)
ROWS = st.integers(450, 600) | st.integers(0, 800)
HANDLES = st.integers(0, 1)


def _batch(seed: int, rows: int) -> pa.RecordBatch:
    values = np.random.default_rng(seed).integers(0, 2**62, rows)
    return pa.record_batch({"x": values}, metadata={"seed": str(seed)})


def _shorten(path: Path, part: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])


DAMAGES = {
    "shorter": _shorten,
    "gone": lambda path, _: path.unlink(),
    "zeros": lambda path, _: path.write_bytes(bytes(path.stat().st_size)),
    "another tail": lambda path, _: path.write_bytes(path.read_bytes()[:-6] + b"PARQUE"),
}


class CacheMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="machine-"))
        self.handles = [self._open(), self._open()]
        self.model: OrderedDict[int, pa.RecordBatch] = OrderedDict()
        self.damaged: set[int] = set()
        self.gone: set[int] = set()
        self.left_behind = 0
        self.evicted = 0
        self.removed = 0

    def _open(self) -> PieceCache:
        return PieceCache(self.directory, LIMIT_BYTES, recheck_seconds=0, touch_entries=1)

    def teardown(self) -> None:
        for handle in self.handles:
            handle.close()
        shutil.rmtree(self.directory)

    def _forget(self, number: int) -> None:
        del self.model[number]
        self.damaged.discard(number)
        self.gone.discard(number)

    def _evict_oldest(self) -> int:
        number, batch = next(iter(self.model.items()))
        self._forget(number)
        self.evicted += 1
        return file_size(batch)

    def _size(self) -> int:
        return sum(map(file_size, self.model.values()))

    @rule(handle=HANDLES, begin=NUMBERS, count=st.integers(2, 9), rows=st.integers(450, 600))
    def fill(self, handle, begin, count, rows):
        for number in range(begin, min(begin + count, 25)):
            self.put(handle, number, 0, rows)

    @rule(handle=HANDLES, number=NUMBERS, seed=st.integers(0, 5), rows=ROWS)
    def put(self, handle, number, seed, rows):
        batch = _batch(seed, rows)
        admitted = file_size(batch) <= LIMIT_BYTES // 10
        assert self.handles[handle].put(key_of(number), batch) == admitted
        if not admitted:
            return
        if number in self.model:
            self._forget(number)
        self.model[number] = batch
        while self._size() > LIMIT_BYTES:
            self._evict_oldest()

    @rule(handle=HANDLES, number=NUMBERS)
    def get(self, handle, number):
        batch = self.handles[handle].get(key_of(number))
        if number in self.damaged:
            assert batch is None
            self.removed += 1
            self._forget(number)
        elif number in self.model:
            assert same(batch, self.model[number])
            self.model.move_to_end(number)
        else:
            assert batch is None

    @rule(handle=HANDLES, number=NUMBERS)
    def contains(self, handle, number):
        assert self.handles[handle].contains(key_of(number)) == (number in self.model)

    @rule(handle=HANDLES, numbers=st.sets(NUMBERS, max_size=4))
    def drop(self, handle, numbers):
        there = numbers & set(self.model)
        assert self.handles[handle].drop(key_of(n) for n in numbers) == len(there)
        for number in there:
            self._forget(number)

    @rule(handle=HANDLES, size_bytes=st.none() | st.integers(0, 20_000))
    def evict(self, handle, size_bytes):
        freed = 0
        while self.model and (size_bytes is None or freed < size_bytes):
            freed += self._evict_oldest()
        assert self.handles[handle].evict(size_bytes) == freed

    @rule(handle=HANDLES)
    def reopen(self, handle):
        self.handles[handle].close()
        self.handles[handle] = self._open()

    @precondition(lambda self: set(self.model) - self.damaged)
    @rule(data=st.data(), kind=st.sampled_from(sorted(DAMAGES)), part=st.floats(0, 0.99))
    def damage(self, data, kind, part):
        number = data.draw(st.sampled_from(sorted(set(self.model) - self.damaged)))
        for handle in (0, 1):  # a mapped file cannot be shortened without harm to its readers
            self.reopen(handle)
        DAMAGES[kind](file_of(self.directory, number), part)
        self.damaged.add(number)
        if kind == "gone":
            self.gone.add(number)

    @rule(place=st.sampled_from(["incoming", "ab/cd"]))
    def leave_behind(self, place):
        self.left_behind += 1
        path = self.directory / place / f"{self.left_behind:028x}.arrow"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"ARROW1")

    @rule(handle=HANDLES, grace_seconds=st.sampled_from([-1, 600]))
    def verify(self, handle, grace_seconds):
        orphans = len(piece_files(self.directory)) - len(self.model) + len(self.gone)
        report = self.handles[handle].verify(grace_seconds)
        assert report.checked == len(self.model)
        assert report.damaged_removed == len(self.damaged)
        assert report.orphans_removed == (orphans if grace_seconds < 0 else 0)
        self.removed += len(self.damaged)
        for number in sorted(self.damaged):
            self._forget(number)

    @invariant()
    def what_is_counted_is_there(self):
        stats = self.handles[0].stats()
        assert stats.entries == len(self.model)
        assert stats.size_bytes == self._size() <= LIMIT_BYTES
        assert stats.evictions == self.evicted
        assert stats.damaged == self.removed
        assert len(piece_files(self.directory)) >= len(self.model) - len(self.gone)


CacheMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestCacheAgainstDict = pytest.mark.fast(CacheMachine.TestCase)
