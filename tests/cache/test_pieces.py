from __future__ import annotations

import sqlite3
import stat
import threading

import numpy as np
import pyarrow as pa
import pytest

from columnservice.cache import PieceCache
from columnservice.errors import SetupError
from tests.cache.support import Clock, file_of, file_size, key_of, piece_files, same, truth

pytestmark = pytest.mark.fast


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


def test_a_replaced_entry_is_replaced_at_once(directory):
    cache = PieceCache(directory, 10**6, recheck_seconds=1e9)
    for content in (1, 2):
        cache.put(key_of(1), truth(content))
        assert same(cache.get(key_of(1)), truth(content))
    cache.close()


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
