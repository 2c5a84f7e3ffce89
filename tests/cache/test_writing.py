"""Pieces of one task: all there or none, in one transaction, and no file left over."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from columnservice.cache import PieceCache, shelf, writing
from columnservice.cache.disk import PieceDisk
from columnservice.errors import Unavailable
from tests.cache.support import file_of, file_size, key_of, piece_files, same, truth

pytestmark = pytest.mark.fast


def test_pieces_are_found_when_all_are_written_and_not_before(cache):
    with cache.writing() as together:
        for number in range(5):
            together.write(key_of(number), truth(number))
        assert not any(cache.contains(key_of(number)) for number in range(5))
    assert together.unkept == {}
    assert all(same(cache.get(key_of(number)), truth(number)) for number in range(5))
    assert cache.stats().entries == 5


def test_pieces_of_a_task_take_one_transaction_and_one_directory(cache, directory):
    said: list[str] = []
    cache._shelf._con.set_trace_callback(said.append)
    with cache.writing() as together:
        for number in range(5):
            together.write(key_of(number), truth(number))
    cache._shelf._con.set_trace_callback(None)
    assert said.count("BEGIN IMMEDIATE") == said.count("COMMIT") == 1
    assert len({file_of(directory, number).parent for number in range(5)}) == 1


def test_many_threads_write_at_once(cache):
    with ThreadPoolExecutor(4) as threads, cache.writing() as together:
        list(threads.map(lambda n: together.write(key_of(n), truth(n)), range(40)))
    assert all(same(cache.get(key_of(number)), truth(number)) for number in range(40))


def test_an_error_on_the_way_leaves_nothing_behind(cache, directory):
    cache.put(key_of(9), truth(9))
    before = piece_files(directory)

    def stumble() -> None:
        with cache.writing() as together:
            together.write(key_of(1), truth(1))
            together.write(key_of(9), truth(2))
            raise RuntimeError("stumbled")

    with pytest.raises(RuntimeError, match="stumbled"):
        stumble()
    assert piece_files(directory) == before
    assert cache.get(key_of(1)) is None
    assert same(cache.get(key_of(9)), truth(9))


def test_one_that_is_too_large_is_given_back_and_the_others_are_kept(cache, directory):
    large = truth(1, rows=20_000)
    with cache.writing() as together:
        together.write(key_of(1), large)
        together.write(key_of(2), truth(2))
    assert together.unkept == {key_of(1): large}
    assert same(cache.get(key_of(2)), truth(2))
    assert len(piece_files(directory)) == 1
    assert cache.stats().rejected == 1


def test_a_locked_index_gives_all_back_and_leaves_nothing_behind(directory, monkeypatch, caplog):
    monkeypatch.setattr(shelf, "TIMEOUT_SECONDS", 0.01)
    cache = PieceCache(directory, 10**6)
    other = sqlite3.connect(directory / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with cache.writing() as together:
        for number in (1, 2):
            together.write(key_of(number), truth(number))
    other.execute("ROLLBACK")
    other.close()
    assert {k: same(b, truth(int(k.text, 16))) for k, b in together.unkept.items()} == {
        key_of(1): True,
        key_of(2): True,
    }
    assert piece_files(directory) == []
    assert caplog.text.count("the index cannot be written") == 2
    assert cache.stats().entries == 0
    cache.close()


def test_a_file_that_cannot_be_adopted_takes_none_in(cache, directory, monkeypatch):
    """The second file's directory cannot be made, as on a full disk."""
    store, adopted = PieceDisk.store, []

    def fails(self: PieceDisk, value: object, *args: object, **named: object) -> object:
        if adopted:
            raise OSError(28, "No space left on device")
        adopted.append(value)
        return store(self, value, *args, **named)

    monkeypatch.setattr(PieceDisk, "store", fails)
    with cache.writing() as together:
        for number in (1, 2, 3):
            together.write(key_of(number), truth(number))
    assert len(together.unkept) == 3
    assert len(adopted) == 1
    assert piece_files(directory) == []
    assert cache.stats().entries == 0


def test_what_waits_is_entered_before_it_takes_too_much_of_the_disk(cache, monkeypatch):
    size_bytes = file_size(truth(1))
    monkeypatch.setattr(writing, "MOST_WAITING_BYTES", 2 * size_bytes)
    with cache.writing() as together:
        together.write(key_of(1), truth(1))
        assert not cache.contains(key_of(1))
        together.write(key_of(2), truth(2))
        assert cache.contains(key_of(1))
        assert cache.contains(key_of(2))
        together.write(key_of(3), truth(3))
        assert not cache.contains(key_of(3))
    assert cache.contains(key_of(3))


def test_new_pieces_take_the_place_of_old_ones_and_of_each_other(cache, directory):
    cache.put(key_of(1), truth(7))
    with cache.writing() as together:
        together.write(key_of(1), truth(8))
        together.write(key_of(1), truth(9))
    assert same(cache.get(key_of(1)), truth(9))
    assert len(piece_files(directory)) == 1


def test_exactly_as_many_of_the_oldest_go_as_there_is_no_room_for(directory):
    size_bytes = file_size(truth(1))
    cache = PieceCache(directory, 20 * size_bytes)
    for number in range(20):
        cache.put(key_of(number), truth(number))
    with cache.writing() as together:
        for number in range(20, 23):
            together.write(key_of(number), truth(number))
    gone = [number for number in range(23) if not cache.contains(key_of(number))]
    assert gone == [0, 1, 2]
    assert len(piece_files(directory)) == 20
    assert cache.stats().evictions == 3
    cache.close()


def test_a_writer_that_is_ended_while_it_writes_leaves_no_half_of_a_file(
    cache, directory, monkeypatch
):
    """SIGTERM comes as SystemExit, in the middle of anything."""

    def half(path: Path, *_: object) -> int:
        path.write_bytes(b"ARROW1")
        raise SystemExit(0)

    monkeypatch.setattr(writing, "write_piece", half)
    with pytest.raises(SystemExit), cache.writing() as together:
        together.write(key_of(1), truth(1))
    assert piece_files(directory) == []


def test_two_tasks_enter_side_by_side(directory):
    caches = [PieceCache(directory, 10**7, sweep=False) for _ in range(2)]
    start = threading.Barrier(2)

    def work(cache: PieceCache, first: int) -> dict:
        start.wait()
        with cache.writing() as together:
            for number in range(first, first + 20):
                together.write(key_of(number), truth(number))
        return together.unkept

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(work, caches, (0, 100))) == [{}, {}]
    for number in (*range(20), *range(100, 120)):
        assert same(caches[0].get(key_of(number)), truth(number))
    for cache in caches:
        cache.close()


def test_what_is_still_written_when_a_task_fails_is_given_up(cache, directory, monkeypatch):
    """Other threads of the task are in the middle of something, and end after it."""
    go_on, write = threading.Event(), writing.write_piece

    def slowly(path: Path, key: str, batch: object) -> int:
        go_on.wait(10)
        return write(path, key, batch)

    monkeypatch.setattr(writing, "write_piece", slowly)
    with ThreadPoolExecutor(1) as threads:

        def stumble() -> None:
            with cache.writing() as together:
                threads.submit(together.write, key_of(1), truth(1))
                raise RuntimeError("stumbled")

        with pytest.raises(RuntimeError, match="stumbled"):
            stumble()
        go_on.set()
    assert piece_files(directory) == []
    assert not cache.contains(key_of(1))


def test_no_more_waits_than_one_piece_may_have(cache):
    """A tenth of the limit, where that is less."""
    size_bytes = file_size(truth(1))
    number = -(-100_000 // size_bytes)
    with cache.writing() as together:
        for n in range(number):
            assert not cache.contains(key_of(0))
            together.write(key_of(n), truth(n))
        assert cache.contains(key_of(0))


@pytest.mark.parametrize("used", [True, False])
def test_an_index_that_cannot_even_be_opened_is_no_error_of_a_task(
    cache, directory, monkeypatch, used
):
    """A thread has a connection of its own, which may be one too many."""
    if used:
        cache.get(key_of(5))  # there is something to write down

    def fails(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    with ThreadPoolExecutor(1) as threads, monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", fails)
        assert not threads.submit(cache.put, key_of(1), truth(1)).result()
    assert piece_files(directory) == []
    stats = cache.stats()
    assert (stats.misses, stats.rejected) == (int(used), 1)  # nothing counted is lost


def test_a_thread_without_a_connection_gets_what_is_mapped(directory, monkeypatch):
    """That the use cannot be written down is nobody's trouble."""
    cache = PieceCache(directory, 10**6, recheck_seconds=1e9, touch_entries=1)
    cache.put(key_of(1), truth(1))
    assert same(cache.get(key_of(1)), truth(1))

    def fails(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    with ThreadPoolExecutor(1) as threads, monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", fails)
        assert same(threads.submit(cache.get, key_of(1)).result(), truth(1))
        threads.submit(cache.used, [key_of(1)]).result()
        with pytest.raises(Unavailable, match="cannot evict"):
            threads.submit(cache.evict).result()
    assert cache.stats().hits == 3
    cache.close()
