from __future__ import annotations

import queue
import threading
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uproot.source.chunk import Chunk

from columnservice.reader import heldreads, progress
from columnservice.reader.heldreads import (
    Abandoned,
    HeldFile,
    HeldReads,
    Window,
    coalesce,
    requests,
)

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


class Silent:
    """A source that never answers; nobody wants it to once it was asked."""

    def __init__(self):
        self.asked = threading.Event()
        self.requests = 0

    def chunks(self, *_):
        self.requests += 1
        self.asked.set()


class HeldSilent(HeldReads, Silent):
    pass


SIZE = heldreads.REQUEST_BYTES


@pytest.fixture
def still(monkeypatch):
    """A clock that stands still, so that nothing ever came lately."""
    clock = SimpleNamespace(monotonic=lambda: clock.now, now=0.0)
    monkeypatch.setattr(heldreads, "time", clock)
    monkeypatch.setattr(heldreads, "WINDOW", Window())
    return clock


def blocks(first, stop):
    return [(n * SIZE, (n + 1) * SIZE) for n in range(first, stop)]


def test_a_long_read_is_told_block_by_block_and_asked_for_little_by_little(
    monkeypatch, still, ticks
):
    monkeypatch.setattr(heldreads, "UNDER_WAY_BYTES", 3 * SIZE)
    monkeypatch.setattr(heldreads, "WINDOW_SECONDS", 0.0)
    held = HeldRecording(ticks)
    held.hold(blocks(0, 6))
    assert len(ticks) == 6
    assert held.asked == [0, 0, 0, 1, 2, 3]


def test_a_fast_server_is_asked_for_as_much_as_came_lately(monkeypatch, still, ticks):
    monkeypatch.setattr(heldreads, "UNDER_WAY_BYTES", SIZE)
    monkeypatch.setattr(heldreads, "MOST_UNDER_WAY_BYTES", 4 * SIZE)
    held = HeldRecording(ticks)
    arrive = progress.tick

    def later():
        still.now += heldreads.WINDOW_SECONDS / 4
        arrive()

    monkeypatch.setattr(heldreads, "tick", later)
    held.hold(blocks(0, 6))
    assert held.asked == [0, 1, 2, 2, 3, 3]


def test_all_streams_share_what_may_be_under_way_and_each_may_have_one_request(still, ticks):
    most = heldreads.UNDER_WAY_BYTES // SIZE
    greedy, other = HeldSilent(), HeldRecording(ticks)
    coming = greedy.stream([blocks(0, 2 * most)], greedy.asked)
    with pytest.raises(Abandoned):
        next(coming)
    assert greedy.requests == most
    heldreads.WINDOW.sent(most * SIZE)  # as if others were waiting for so much
    other.hold(blocks(0, 3))
    assert other.asked == [0, 1, 2]
    heldreads.WINDOW.lost(most * SIZE)
    assert heldreads.WINDOW._under_way_bytes == 0


def test_what_came_long_ago_does_not_count(still):
    window = Window()
    window.sent(40 * SIZE)
    window.came(20 * SIZE)
    assert not window.has_room()
    window.came(10 * SIZE)
    assert window.has_room()
    still.now += heldreads.WINDOW_SECONDS
    assert not window.has_room()


def test_groups_are_held_one_after_the_other_while_the_next_are_under_way(still, ticks):
    held = HeldRecording(ticks)
    coming = held.stream([blocks(0, 1), blocks(1, 3), blocks(3, 4)])
    assert next(coming) == SIZE
    assert set(held._held) == set(blocks(0, 1))
    assert len(held.asked) == 4
    assert next(coming) == 2 * SIZE
    held.drop(blocks(0, 1))
    assert set(held._held) == set(blocks(1, 3))
    assert list(coming) == [SIZE]
    held.release()
    assert held._held is None


def test_bytes_that_belong_to_two_groups_are_refused_and_not_waited_for(ticks):
    with pytest.raises(ValueError, match="the same bytes belong to different rows"):
        list(HeldRecording(ticks).stream([blocks(0, 1), blocks(0, 1)]))


def test_a_read_that_is_abandoned_ends_although_nothing_comes(monkeypatch, still):
    monkeypatch.setattr(heldreads, "LOOK_SECONDS", 0.01)
    silent = HeldSilent()
    with pytest.raises(Abandoned):
        list(silent.stream([blocks(0, 1)], silent.asked))
