from __future__ import annotations

import logging
import resource
import sqlite3
import stat
import threading

import numpy as np
import pyarrow as pa
import pytest

from columnservice.cache import PieceCache, PieceKey, shelf
from columnservice.errors import RequestError, SetupError, Unavailable
from tests.cache.support import file_of, file_size, key_of, piece_files, same, truth

pytestmark = pytest.mark.fast


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "home" / "cache"


@pytest.fixture
def cache(directory):
    """A cache that uses every means at once: no batching of touches, no trust in held maps."""
    opened = PieceCache(directory, 1_000_000, recheck_seconds=0, touch_entries=1)
    yield opened
    opened.close()


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("text", ["0123456789abcdef", "f" * 64])
def test_a_key_is_hexadecimal(text):
    assert PieceKey(text).text == text


@pytest.mark.parametrize(
    "text", ["", "0" * 15, "0" * 65, "0" * 15 + "g", "0" * 16 + "\n", "A" * 16, "../" * 8, "٣" * 16]
)
def test_another_text_is_no_key(text):
    with pytest.raises(RequestError, match="no piece key"):
        PieceKey(text)


def test_what_was_put_comes_back(cache):
    assert cache.get(key_of(1)) is None
    assert not cache.contains(key_of(1))
    assert cache.put(key_of(1), truth(1))
    assert cache.contains(key_of(1))
    assert same(cache.get(key_of(1)), truth(1))
    assert cache.get(key_of(2)) is None


def test_an_empty_batch_is_no_miss(cache):
    assert cache.put(key_of(1), truth(1, rows=0))
    assert same(cache.get(key_of(1)), truth(1, rows=0))
    assert cache.stats().hits == 1


def test_the_last_put_counts(cache, directory):
    assert cache.put(key_of(1), truth(1))
    assert same(cache.get(key_of(1)), truth(1))
    assert cache.put(key_of(1), truth(2))
    assert same(cache.get(key_of(1)), truth(2))
    assert len(piece_files(directory)) == 1


def test_nobody_else_may_enter_the_directory(cache, directory):
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_cache_that_stood_open_is_closed_to_others(directory):
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    PieceCache(directory, 10**6).close()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_entries_survive_the_process(cache, directory):
    cache.put(key_of(1), truth(1))
    cache.get(key_of(1))
    cache.close()
    again = PieceCache(directory, 1_000_000)
    assert same(again.get(key_of(1)), truth(1))
    assert again.stats().hits == 2
    again.close()


def test_a_directory_that_cannot_be_used_is_a_setup_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot be opened"):
        PieceCache(tmp_path / "file" / "cache", 10**6)


def test_a_directory_named_after_a_variable_is_refused(tmp_path):
    with pytest.raises(SetupError, match="names a variable"):
        PieceCache(tmp_path / "$HOME" / "cache", 10**6)
    assert list(tmp_path.iterdir()) == []


def test_an_item_over_a_tenth_of_the_limit_is_not_admitted(cache, directory, caplog):
    assert cache.put(key_of(1), truth(1, rows=10_900))
    barely = truth(2, rows=11_000)
    assert pa.ipc.get_record_batch_size(barely) < 100_000 < file_size(barely)
    assert not cache.put(key_of(2), barely)
    assert not cache.put(key_of(3), truth(3, rows=1_000_000))
    assert [path.stat().st_size <= 100_000 for path in piece_files(directory)] == [True]
    assert cache.get(key_of(2)) is None
    assert cache.stats().rejected == 2
    assert "not cached" in caplog.text


def test_exactly_as_much_is_evicted_as_the_limit_asks_for(cache, directory):
    """diskcache would take ten entries away, whatever their size."""
    for number in range(40):
        assert cache.put(key_of(number), truth(number, rows=9_000))
        on_disk = sum(path.stat().st_size for path in piece_files(directory))
        stats = cache.stats()
        assert stats.size_bytes == on_disk <= 1_000_000
        assert stats.entries + stats.evictions == number + 1
    assert cache.stats().entries == 12
    assert [n for n in range(40) if cache.contains(key_of(n))] == list(range(28, 40))


def test_many_small_items_make_room_for_a_large_one(cache):
    for number in range(300):
        cache.put(key_of(number), truth(number, rows=200))
    before = cache.stats()
    assert before.evictions == 0
    for number in range(300, 310):
        assert cache.put(key_of(number), truth(number, rows=10_900))
    after = cache.stats()
    assert 900_000 < after.size_bytes <= 1_000_000
    assert all(cache.contains(key_of(number)) for number in range(300, 310))


def test_what_was_used_last_is_evicted_last(cache):
    for number in range(10):
        cache.put(key_of(number), truth(number, rows=9_000))
    for number in (0, 3):
        assert cache.get(key_of(number)) is not None
    for number in range(10, 15):
        cache.put(key_of(number), truth(number, rows=9_000))
    assert [n for n in range(15) if cache.contains(key_of(n))] == [0, 3, *range(5, 15)]


def test_a_use_counts_before_anything_is_evicted_for_a_new_item(directory):
    cache = PieceCache(directory, 1_000_000, touch_seconds=1e9, touch_entries=10**9)
    for number in range(12):
        cache.put(key_of(number), truth(number, rows=9_000))
    assert cache.get(key_of(0)) is not None
    cache.put(key_of(12), truth(12, rows=9_000))
    assert [n for n in range(13) if cache.contains(key_of(n))] == [0, *range(2, 13)]
    cache.close()


def test_uses_in_another_process_count_once_they_are_written_down(cache, directory):
    clock = Clock()
    reader = PieceCache(directory, 1_000_000, touch_seconds=10, touch_entries=99, clock=clock)
    for number in range(12):
        cache.put(key_of(number), truth(number, rows=9_000))
    assert reader.get(key_of(0)) is not None
    clock.seconds = 11
    assert reader.get(key_of(2)) is not None
    for number in range(12, 16):
        cache.put(key_of(number), truth(number, rows=9_000))
    assert [n for n in range(16) if cache.contains(key_of(n))] == [0, 2, *range(6, 16)]
    reader.close()


def test_touches_are_written_down_after_so_many_uses(cache, directory):
    reader = PieceCache(directory, 1_000_000, touch_entries=5)
    cache.put(key_of(1), truth(1))
    for _ in range(4):
        reader.get(key_of(1))
    assert cache.stats().hits == 0
    reader.get(key_of(1))
    assert cache.stats().hits == 5
    reader.close()


def test_a_late_touch_does_not_make_an_entry_older(cache, directory):
    cache.put(key_of(1), truth(1))
    connection = sqlite3.connect(directory / "cache.db")
    ((stored,),) = connection.execute("SELECT store_time FROM Cache")
    assert cache._shelf.record({key_of(1).text: stored - 100}, {}, wait=True)
    ((after,),) = connection.execute("SELECT store_time FROM Cache")
    assert after == stored
    connection.close()


def test_a_map_stays_valid_when_its_entry_is_evicted(cache, directory):
    cache.put(key_of(1), truth(1))
    held = cache.get(key_of(1))
    place = file_of(directory, 1)
    assert cache.evict() == file_size(held)
    assert not place.exists()
    assert cache.get(key_of(1)) is None
    assert same(held, truth(1))


def test_so_many_bytes_are_evicted_oldest_first(cache):
    for number in range(5):
        cache.put(key_of(number), truth(number))
    size_bytes = file_size(truth(1))
    assert cache.evict(0) == 0
    assert cache.evict(size_bytes + 1) == 2 * size_bytes
    assert [n for n in range(5) if cache.contains(key_of(n))] == [2, 3, 4]
    assert cache.evict(10**9) == 3 * size_bytes
    assert cache.stats().evictions == 5


def test_a_smaller_limit_holds_from_the_start(cache, directory):
    for number in range(10):
        cache.put(key_of(number), truth(number, rows=9_000))
    smaller = PieceCache(directory, 300_000)
    assert smaller.stats().size_bytes <= 300_000
    assert [n for n in range(10) if smaller.contains(key_of(n))] == [7, 8, 9]
    smaller.close()


def test_a_dropped_entry_is_gone_at_once(directory):
    cache = PieceCache(directory, 10**6, recheck_seconds=1e9)
    for number in range(4):
        cache.put(key_of(number), truth(number))
        assert cache.get(key_of(number)) is not None
    assert cache.drop([key_of(1), key_of(2), key_of(9)]) == 2
    assert [n for n in range(4) if cache.get(key_of(n)) is not None] == [0, 3]
    assert cache.drop([]) == 0
    cache.close()


def test_a_dropped_entry_is_served_elsewhere_for_no_longer_than_the_bound(cache, directory):
    clock = Clock()
    other = PieceCache(directory, 1_000_000, recheck_seconds=1.0, clock=clock)
    cache.put(key_of(1), truth(1))
    assert same(other.get(key_of(1)), truth(1))
    cache.drop([key_of(1)])
    clock.seconds = 0.9
    assert same(other.get(key_of(1)), truth(1))
    clock.seconds = 1.0
    assert other.get(key_of(1)) is None
    cache.put(key_of(1), truth(2))
    assert same(other.get(key_of(1)), truth(2))
    cache.put(key_of(1), truth(3))
    clock.seconds = 2.0
    assert same(other.get(key_of(1)), truth(3))
    other.close()


def test_a_replaced_entry_is_replaced_at_once(directory):
    cache = PieceCache(directory, 10**6, recheck_seconds=1e9)
    for content in (1, 2):
        cache.put(key_of(1), truth(content))
        assert same(cache.get(key_of(1)), truth(content))
    cache.close()


def test_what_is_dropped_while_it_is_being_opened_is_not_held(directory, monkeypatch):
    cache = PieceCache(directory, 10**6, recheck_seconds=1e9)
    cache.put(key_of(1), truth(1))
    look = cache._shelf.get

    def dropped_meanwhile(key):
        found = look(key)
        cache.drop([key_of(1)])
        return found

    monkeypatch.setattr(cache._shelf, "get", dropped_meanwhile)
    assert same(cache.get(key_of(1)), truth(1))  # asked for before the drop
    monkeypatch.undo()
    assert cache.get(key_of(1)) is None
    cache.close()


def test_warm_hits_do_not_touch_the_index(directory, monkeypatch):
    cache = PieceCache(
        directory, 10**6, recheck_seconds=1e9, touch_seconds=1e9, touch_entries=10**9
    )
    cache.put(key_of(1), truth(1))
    first = cache.get(key_of(1))
    index = cache._shelf
    monkeypatch.setattr(cache, "_shelf", None)
    for _ in range(100):
        assert cache.get(key_of(1)) is first
    monkeypatch.setattr(cache, "_shelf", index)
    cache.close()
    assert PieceCache(directory, 10**6).stats().hits == 101


@pytest.fixture
def aged(cache, directory):
    """A reader that looks again after a second, its clock, and a key that it holds."""
    clock = Clock()
    reader = PieceCache(directory, 1_000_000, recheck_seconds=1.0, touch_entries=1, clock=clock)
    for number in range(3):
        cache.put(key_of(number), truth(number))
        reader.get(key_of(number))
    yield reader, clock
    reader.close()


def test_what_is_held_is_at_hand_and_looked_at_again_in_time(aged):
    reader, clock = aged
    keys = [key_of(number) for number in range(3)]
    for seconds in (0.5, 1.5, 9.0):
        clock.seconds = seconds
        assert [same(held.batch, truth(n)) for n, held in enumerate(reader.held(keys))] == [
            True
        ] * 3
        assert reader.at_hand(keys)
    assert reader.held([*keys, key_of(9)]) is None
    assert not reader.at_hand([key_of(9)])


def _dropped(cache, directory):
    cache.drop([key_of(1)])


def _replaced(cache, directory):
    cache.put(key_of(1), truth(7))


def _removed_by_hand(cache, directory):
    file_of(directory, 1).unlink()


@pytest.mark.parametrize("change", [_dropped, _replaced, _removed_by_hand])
def test_what_is_gone_is_at_hand_no_longer_than_the_bound(aged, cache, directory, change):
    reader, clock = aged
    change(cache, directory)
    assert reader.at_hand([key_of(1)])
    clock.seconds = 1.0
    assert not reader.at_hand([key_of(0), key_of(1)])
    assert reader.at_hand([key_of(0), key_of(2)])


def test_nothing_old_is_at_hand_while_the_index_cannot_be_read(aged, monkeypatch):
    reader, clock = aged

    def locked(*_):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(reader._shelf, "places_of", locked)
    assert reader.at_hand([key_of(0)])
    clock.seconds = 1.0
    assert not reader.at_hand([key_of(0)])
    monkeypatch.undo()
    assert reader.at_hand([key_of(0)])


def test_a_use_without_a_look_counts_like_one_with_it(directory):
    cache = PieceCache(directory, 250_000, recheck_seconds=1e9, touch_entries=1)
    for number in range(4):
        cache.put(key_of(number), truth(number, rows=2_000))
    before = cache.stats().hits
    cache.used([key_of(0), key_of(1)])
    assert cache.stats().hits == before + 2
    cache.evict(1)
    assert [n for n in range(4) if cache.contains(key_of(n))] == [0, 1, 3]
    cache.close()


def test_no_more_maps_are_held_than_allowed(directory):
    cache = PieceCache(directory, 10**6, open_maps=3, recheck_seconds=1e9)
    first = []
    for number in range(6):
        cache.put(key_of(number), truth(number))
        first.append(cache.get(key_of(number)))
    assert len(cache._maps) == 3
    assert cache.get(key_of(5)) is first[5]
    assert cache.get(key_of(0)) is not first[0]
    assert same(cache.get(key_of(0)), truth(0))
    cache.close()


def test_maps_of_evicted_files_are_let_go(cache, directory):
    """They would keep the disk space of files that are gone."""
    clock = Clock()
    reader = PieceCache(directory, 1_000_000, recheck_seconds=1e9, touch_seconds=10, clock=clock)
    for number in range(3):
        cache.put(key_of(number), truth(number))
        reader.get(key_of(number))
    cache.evict()
    assert len(reader._maps) == 3
    clock.seconds = 11
    reader.get(key_of(9))
    assert len(reader._maps) == 0
    reader.close()


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-9])


def _zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def _spoil_magic(path):
    path.write_bytes(path.read_bytes()[:-1] + b"2")


def _spoil_footer(path):
    content = bytearray(path.read_bytes())
    content[-200:-20] = b"\xff" * 180
    path.write_bytes(content)


def _empty(path):
    path.write_bytes(b"")


def _become_a_directory(path):
    path.unlink()
    path.mkdir()


def _change_a_value(path):
    """As a bad disk does: a whole file whose structure says nothing against it."""
    content = bytearray(path.read_bytes())
    place = content.index(truth(1).column("items").to_numpy().tobytes())
    content[place + 8 * 250] ^= 1
    path.write_bytes(content)


DAMAGES = [_truncate, _zero, _spoil_magic, _spoil_footer, _empty, _become_a_directory]
DAMAGES.append(_change_a_value)
DAMAGES.append(lambda path: path.unlink())


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_a_miss_and_is_removed(cache, directory, damage, caplog):
    cache.put(key_of(1), truth(1))
    cache.put(key_of(2), truth(2))
    damage(file_of(directory, 1))
    assert cache.contains(key_of(1))
    assert cache.get(key_of(1)) is None
    assert "damaged" in caplog.text
    assert not cache.contains(key_of(1))
    stats = cache.stats()
    assert (stats.entries, stats.damaged, stats.misses) == (1, 1, 1)
    assert same(cache.get(key_of(2)), truth(2))
    assert cache.put(key_of(1), truth(1))
    assert same(cache.get(key_of(1)), truth(1))


def test_a_file_under_another_pieces_name_is_damage(cache, directory):
    cache.put(key_of(1), truth(1))
    cache.put(key_of(2), truth(2))
    file_of(directory, 1).write_bytes(file_of(directory, 2).read_bytes())
    assert cache.get(key_of(1)) is None
    assert not cache.contains(key_of(1))
    assert same(cache.get(key_of(2)), truth(2))


def test_an_entry_replaced_while_it_is_looked_at_is_found(cache, directory, monkeypatch):
    """Its old file vanishes between index and map: that is no damage."""
    cache.put(key_of(1), truth(1))
    look = cache._shelf.get
    looked = []

    def replaced_meanwhile(key):
        if not looked:
            looked.append(key)
            old = file_of(directory, 1)
            cache.put(key_of(1), truth(2))
            return shelf.PieceDisk(str(directory)).fetch(5, old.relative_to(directory).as_posix())
        return look(key)

    monkeypatch.setattr(cache._shelf, "get", replaced_meanwhile)
    assert same(cache.get(key_of(1)), truth(2))
    assert cache.stats().damaged == 0


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


def test_many_threads_share_one_cache(directory):
    cache = PieceCache(directory, 300_000, open_maps=8, touch_entries=7)
    start = threading.Barrier(8)
    wrong = []

    def work(seed):
        random = np.random.default_rng(seed)
        start.wait()
        for _ in range(60):
            number = int(random.integers(30))
            batch = cache.get(key_of(number))
            if batch is None:
                cache.put(key_of(number), truth(number))
            elif not same(batch, truth(number)):
                wrong.append(number)
            if random.random() < 0.05:
                cache.drop([key_of(number)])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    stats = cache.stats()
    assert stats.hits + stats.misses == 8 * 60
    assert stats.size_bytes == sum(p.stat().st_size for p in piece_files(directory)) <= 300_000
    assert cache.verify(grace_seconds=-1).clean
    cache.close()
