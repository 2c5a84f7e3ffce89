from __future__ import annotations

import queue
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uproot.source.chunk import Chunk

from columnservice.reader import heldreads, progress
from columnservice.reader.heldreads import HeldFile, HeldReads, coalesce, requests

pytestmark = pytest.mark.fast

RANGES = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 90)), max_size=20).map(
    lambda pairs: [(start, start + length) for start, length in pairs]
)


@given(RANGES, st.integers(1, 200))
def test_requests_carry_every_range_once_and_no_more_bytes_than_told(ranges, most):
    cut = list(requests(ranges, most))
    assert [r for request in cut for r in request] == ranges
    assert all(sum(b - a for a, b in request) <= most or len(request) == 1 for request in cut)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 90)), max_size=20),
    st.integers(0, 20),
    st.integers(1, 200),
)
def test_baskets_are_not_joined_to_more_than_the_limit(gaps_and_lengths, gap, most):
    ranges, at = [], 0
    for hole, length in gaps_and_lengths:
        ranges.append((at + hole, at + hole + length))
        at += hole + length
    merged = coalesce(ranges, gap, most)
    wanted = {b for start, stop in ranges for b in range(start, stop)}
    assert wanted <= {b for start, stop in merged for b in range(start, stop)}
    assert all(before[1] <= after[0] for before, after in pairwise(merged))
    assert all(stop - start <= most or (start, stop) in ranges for start, stop in merged)


CONTENT = np.random.default_rng(2).integers(0, 256, 50_000, np.uint8)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("heldreads") / "bytes"
    path.write_bytes(CONTENT.tobytes())
    with HeldFile(str(path), num_fallback_workers=1) as opened:
        yield opened


@given(ranges=RANGES)
def test_what_is_held_is_what_the_file_holds(source, ranges):
    source.hold(ranges)
    for start, stop in ranges:
        arrived = queue.Queue()
        (chunk,) = source.chunks([(start, stop)], arrived)
        assert arrived.get_nowait() is chunk
        assert np.array_equal(chunk.raw_data, CONTENT[start:stop])
    requests_until_now = source.num_requests
    source.chunks(ranges, queue.Queue())
    assert source.num_requests == requests_until_now
    source.release()


class Recording:
    """A source that answers at once and notes how many blocks had been taken when it was asked."""

    def __init__(self, ticks):
        self.ticks, self.asked = ticks, []

    def chunks(self, ranges, arrived):
        self.asked.append(len(self.ticks))
        for start, stop in ranges:
            arrived.put(Chunk.wrap(self, np.zeros(stop - start, np.uint8), start))


class HeldRecording(HeldReads, Recording):
    pass


def test_a_long_read_is_told_block_by_block_and_asked_for_little_by_little(monkeypatch):
    monkeypatch.setattr(heldreads, "UNDER_WAY_BYTES", 3 * heldreads.REQUEST_BYTES)
    size = heldreads.REQUEST_BYTES
    ticks = []
    held = HeldRecording(ticks)
    progress.watch(lambda: ticks.append(1))
    try:
        held.hold([(n * size, (n + 1) * size) for n in range(6)])
    finally:
        progress.watch(None)
    assert len(ticks) == 6
    assert held.asked == [0, 0, 0, 1, 2, 3]
