"""A full disk, a locked or broken index: a miss or a refusal, and nothing left behind."""

from __future__ import annotations

import logging
import resource
import sqlite3

import numpy as np
import pytest

from columnservice.cache import PieceCache, shelf
from columnservice.errors import Unavailable
from tests.cache.support import file_of, key_of, piece_files, same, truth

pytestmark = pytest.mark.fast


def test_a_full_disk_refuses_and_leaves_nothing_behind(cache, directory, caplog):
    """A limit on file sizes makes write(2) fail part-way, as a full disk does."""
    cache.put(key_of(1), truth(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = piece_files(directory)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        assert not cache.put(key_of(2), truth(2, rows=8_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert piece_files(directory) == before
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert cache.get(key_of(2)) is None
    assert cache.stats().rejected == 1
    assert same(cache.get(key_of(1)), truth(1))
    assert cache.put(key_of(2), truth(2, rows=8_000))


def test_an_index_that_cannot_grow_refuses_and_leaves_nothing_behind(cache, directory, caplog):
    """SQLite's own word for a full disk, met after the file was adopted."""
    for number in range(100):
        cache.put(key_of(number), truth(number, rows=10))
    ((pages,),) = cache._shelf._sql("PRAGMA page_count").fetchall()
    cache._shelf._sql(f"PRAGMA max_page_count = {pages}").fetchall()
    kept = [number for number in range(100, 300) if cache.put(key_of(number), truth(number))]
    assert "database or disk is full" in caplog.text
    assert 0 < len(kept) < 200
    assert len(piece_files(directory)) == cache.stats().entries == 100 + len(kept)
    assert same(cache.get(key_of(1)), truth(1, rows=10))
    cache._shelf._sql("PRAGMA max_page_count = 1000000").fetchall()
    assert cache.put(key_of(999), truth(999))


def test_what_is_dropped_goes_even_if_the_index_cannot_be_written(cache, directory, caplog):
    """A full disk must not keep old bytes alive, in this process or another."""
    other = PieceCache(directory, 1_000_000, recheck_seconds=0)
    for number in (1, 2):
        cache.put(key_of(number), truth(number))
        assert same(other.get(key_of(number)), truth(number))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size_bytes = (directory / "cache.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        assert cache.drop([key_of(1), key_of(9)]) == 1
        assert [handle.get(key_of(1)) for handle in (cache, other)] == [None, None]
        assert same(other.get(key_of(2)), truth(2))
        with pytest.raises(Unavailable, match="cannot evict"):
            cache.evict(1)
        assert piece_files(directory) == [file_of(directory, 2)]  # 1 was the oldest
        with pytest.raises(Unavailable, match="cannot evict"):
            cache.evict()
        assert piece_files(directory) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be written" in caplog.text
    assert [handle.get(key_of(2)) for handle in (cache, other)] == [None, None]
    assert cache.put(key_of(1), truth(3))
    assert same(other.get(key_of(1)), truth(3))
    assert cache.verify(grace_seconds=-1).clean
    other.close()


def test_a_locked_index_does_not_keep_what_is_dropped(directory, monkeypatch):
    monkeypatch.setattr(shelf, "TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(shelf, "READER_TIMEOUT_SECONDS", 0.01)
    cache = PieceCache(directory, 10**6, recheck_seconds=0)
    cache.put(key_of(1), truth(1))
    other = sqlite3.connect(directory / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert cache.drop([key_of(1)]) == 1
    assert cache.get(key_of(1)) is None
    other.execute("ROLLBACK")
    other.close()
    assert cache.get(key_of(1)) is None
    assert cache.stats().entries == 0
    cache.close()


def test_a_locked_index_refuses_writers_and_stops_no_reader(directory, monkeypatch, caplog):
    monkeypatch.setattr(shelf, "TIMEOUT_SECONDS", 0.01)
    cache = PieceCache(directory, 10**6, recheck_seconds=0, touch_entries=1)
    cache.put(key_of(1), truth(1))
    other = sqlite3.connect(directory / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(3):
        assert same(cache.get(key_of(1)), truth(1))
    assert cache.get(key_of(2)) is None
    assert not cache.put(key_of(2), truth(2))
    with pytest.raises(Unavailable, match="cannot evict"):
        cache.evict()
    assert len(piece_files(directory)) == 1
    other.execute("ROLLBACK")
    other.close()
    assert cache.put(key_of(2), truth(2))
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.rejected) == (3, 1, 1)  # nothing counted is lost
    cache.close()


def test_a_reader_that_writes_down_its_uses_does_not_wait_for_writers(cache):
    cache.put(key_of(1), truth(1))
    said: list[str] = []
    cache._shelf._con.set_trace_callback(said.append)
    assert same(cache.get(key_of(1)), truth(1))
    cache._shelf._con.set_trace_callback(None)
    begun = said.index("BEGIN IMMEDIATE")
    assert said[begun - 1] == "PRAGMA busy_timeout = 0"
    assert said[-1] == "PRAGMA busy_timeout = 20000"


def test_an_index_that_is_no_database_is_begun_anew(directory, caplog):
    cache = PieceCache(directory, 10**6)
    cache.put(key_of(1), truth(1))
    cache.close()
    (directory / "cache.db").write_bytes(b"not a database" * 1000)
    again = PieceCache(directory, 10**6)
    assert "begins anew" in caplog.text
    assert again.get(key_of(1)) is None
    assert again.put(key_of(1), truth(2))
    assert same(again.get(key_of(1)), truth(2))
    assert again.verify(grace_seconds=-1).orphans_removed == 1
    assert len(piece_files(directory)) == 1
    again.close()


def test_a_page_of_the_index_gone_bad_is_found_on_opening(directory, caplog):
    cache = PieceCache(directory, 10**7)
    for number in range(300):
        cache.put(key_of(number), truth(number, rows=10))
    cache.close()
    index = bytearray((directory / "cache.db").read_bytes())
    index[5 * 4096 : 12 * 4096] = np.random.default_rng(0).bytes(7 * 4096)
    (directory / "cache.db").write_bytes(index)
    again = PieceCache(directory, 10**7)
    assert "begins anew" in caplog.text
    assert again.put(key_of(1), truth(1))
    assert same(again.get(key_of(1)), truth(1))
    again.close()


def test_an_index_that_breaks_while_in_use_fails_no_request(cache, directory, caplog):
    cache.put(key_of(1), truth(1))
    cache._shelf._sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    size_bytes = (directory / "cache.db").stat().st_size
    (directory / "cache.db").write_bytes(b"\x55" * size_bytes)
    cache._shelf.close()
    assert cache.get(key_of(1)) is None
    assert not cache.contains(key_of(1))
    assert not cache.put(key_of(2), truth(2))
    with pytest.raises(Unavailable):
        cache.stats()
    assert "piece cache cannot look up" in caplog.text
    assert piece_files(directory / "incoming") == []
