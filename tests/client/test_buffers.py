"""Memory of replies: never used again while anything refers to it, and used again afterwards."""

from __future__ import annotations

import gc
import mmap
import threading

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.client.buffers import LEAST_BYTES, Buffers

pytestmark = pytest.mark.fast
SIZE = 3 * LEAST_BYTES


def address(place: memoryview) -> int:
    return np.frombuffer(place, np.uint8).ctypes.data


@pytest.mark.parametrize(
    "keep",
    [
        lambda place: place,
        lambda place: place[5:9],
        lambda place: np.frombuffer(place, np.uint8)[7:],
        lambda place: pa.py_buffer(place).slice(3, 4),
        lambda place: pa.Array.from_buffers(pa.uint8(), 9, [None, pa.py_buffer(place)]).slice(1),
    ],
)
def test_memory_is_not_used_again_while_a_part_of_it_is_referred_to(keep):
    buffers = Buffers()
    place = buffers.place(SIZE)
    first = address(place)
    held = keep(place)
    del place
    assert buffers.kept_bytes == 0
    assert address(other := buffers.place(SIZE)) != first
    del held
    assert buffers.kept_bytes == SIZE
    assert address(again := buffers.place(SIZE - 1)) == first
    assert len(again) == SIZE - 1
    assert len(other) == SIZE


def test_memory_that_is_much_too_large_or_too_small_is_left_for_others():
    buffers = Buffers()
    address(buffers.place(SIZE))
    large, small = buffers.place(SIZE + 1), buffers.place(SIZE // 2 - 1)
    assert (len(large), len(small)) == (SIZE + 1, SIZE // 2 - 1)
    assert buffers.kept_bytes == SIZE


def test_the_smallest_that_fits_is_taken():
    buffers = Buffers()
    places = [buffers.place(n * LEAST_BYTES) for n in (6, 4, 5)]
    small = address(places[1])
    places.clear()
    assert address(buffers.place(4 * LEAST_BYTES)) == small


def test_small_memory_is_none_of_it():
    buffers = Buffers()
    place = buffers.place(LEAST_BYTES - 1)
    place[:3] = b"abc"
    del place
    assert buffers.kept_bytes == 0
    assert len(buffers.place(0)) == 0


@given(st.lists(st.integers(1, 9), max_size=12))
def test_what_is_kept_stays_below_its_limit(sizes):
    buffers = Buffers(8 * LEAST_BYTES)
    places = [buffers.place(n * LEAST_BYTES) for n in sizes]
    while places:
        places.pop()
        assert buffers.kept_bytes <= 8 * LEAST_BYTES


def test_what_the_collector_gives_another_life_keeps_its_memory():
    """It calls back for what is dead in its eyes before it finalises what refers to that."""
    buffers, kept = Buffers(), []

    class Chunk:
        def __init__(self, place: memoryview) -> None:
            self.place, self.me = place, self

        def __del__(self) -> None:
            kept.append(self.place)

    Chunk(buffers.place(SIZE))
    gc.collect()
    assert len(kept) == 1
    assert address(buffers.place(SIZE)) != address(kept[0])
    kept.clear()
    gc.collect()
    assert buffers.kept_bytes == 2 * SIZE


@pytest.mark.parametrize("advice", ["MADV_FREE", "MADV_HUGEPAGE"])
@pytest.mark.parametrize("known", [True, False])
def test_a_system_that_takes_no_advice_serves_all_the_same(monkeypatch, advice, known):
    if known:
        monkeypatch.setattr(mmap, advice, 9999)
    else:
        monkeypatch.delattr(mmap, advice)
    buffers = Buffers()
    place = buffers.place(SIZE)
    place[-3:] = b"abc"
    assert bytes(place[-3:]) == b"abc"
    del place
    # What the system may not take while nobody uses it is not kept.
    assert buffers.kept_bytes == (0 if advice == "MADV_FREE" else SIZE)


def test_threads_never_share_memory():
    buffers, wrong, meet = Buffers(), [], threading.Barrier(4, timeout=60)

    def use(mark: int) -> None:
        for _ in range(100):
            place = buffers.place(LEAST_BYTES)
            seen = np.frombuffer(place, np.uint8)[:: LEAST_BYTES // 8]
            place[:: LEAST_BYTES // 8] = bytes([mark]) * len(seen)
            meet.wait()
            if (seen != mark).any():
                wrong.append(mark)
            meet.wait()
            del place, seen

    threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 0 < buffers.kept_bytes <= 8 * LEAST_BYTES
