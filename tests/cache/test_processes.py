"""Many processes in one cache directory, and processes killed in the middle of a write."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from columnservice.cache import PieceCache
from tests.cache import torture
from tests.cache.support import file_size, key_of, piece_files, same, truth

SPAWN = multiprocessing.get_context("spawn")
PATIENCE_SECONDS = 60


def _start(work, *args):
    here, there = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=work, args=(*args, there), daemon=True)
    process.start()
    there.close()
    return process, here


def _kill(process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == -signal.SIGKILL


POINTS = {
    "die_while_writing": False,
    "die_when_written": False,
    "die_when_adopted": False,
    "die_before_commit": False,
    "die_after_commit": True,
}


def test_a_writer_killed_among_several_leaves_none_of_them_visible(tmp_path):
    service = PieceCache(tmp_path, 10**6, recheck_seconds=0)
    service.put(key_of(2), truth(7))
    process, told = _start(torture.die_among_several, tmp_path, 10**6, 1)
    assert told.poll(PATIENCE_SECONDS)
    assert told.recv() == "there"
    _kill(process)
    assert [service.contains(key_of(n)) for n in (1, 2, 3)] == [False, True, False]
    assert same(service.get(key_of(2)), truth(7))
    report = service.verify(grace_seconds=-1)
    assert (report.checked, report.damaged_removed, report.orphans_removed) == (1, 0, 3)
    with service.writing() as together:
        for n in (1, 2, 3):
            together.write(key_of(n), truth(n))
    assert all(same(service.get(key_of(n)), truth(n)) for n in (1, 2, 3))
    service.close()


@pytest.mark.parametrize("where", POINTS)
def test_a_writer_killed_on_the_way_leaves_nothing_visible(tmp_path, where):
    size_bytes = file_size(truth(1))
    limit_bytes = 11 * size_bytes
    service = PieceCache(tmp_path, limit_bytes, recheck_seconds=0)
    for number in range(11):
        assert service.put(key_of(number), truth(number))
    process, told = _start(torture.die, tmp_path, limit_bytes, where, 99)
    assert told.poll(PATIENCE_SECONDS)
    assert told.recv() == "there"
    _kill(process)
    entered = POINTS[where]
    for cache in (service, PieceCache(tmp_path, limit_bytes)):
        assert cache.contains(key_of(99)) == entered
        assert (cache.get(key_of(99)) is not None) == entered
        for number in range(11):
            batch = cache.get(key_of(number))
            assert same(batch, truth(number)) or (batch is None and entered and number == 0)
        assert (cache.stats().entries, cache.stats().size_bytes) == (11, limit_bytes)
    assert len(piece_files(tmp_path)) == 12
    report = service.verify(grace_seconds=-1)
    assert (report.checked, report.damaged_removed, report.orphans_removed) == (11, 0, 1)
    assert len(piece_files(tmp_path)) == 11
    assert service.put(key_of(99), truth(99))
    assert same(service.get(key_of(99)), truth(99))
    service.close()
    cache.close()


def _end_state_is_right(directory: Path, grace_seconds: float) -> None:
    with_all = PieceCache(directory, torture.LIMIT_BYTES)
    with_all.verify(grace_seconds)
    assert with_all.verify(grace_seconds=-1).clean
    stats = with_all.stats()
    on_disk = piece_files(directory)
    assert stats.entries == len(on_disk) > 0
    assert stats.size_bytes == sum(p.stat().st_size for p in on_disk) <= torture.LIMIT_BYTES
    for number in range(torture.NUMBERS):
        batch = with_all.get(key_of(number))
        assert batch is None or same(batch, truth(number, torture.rows_of(number)))
    assert with_all.stats().damaged == 0
    with_all.close()


def _torture(directory: Path, writers: int, steps: int) -> None:
    """Writers at work while this process reads; nothing wrong is ever seen by anyone."""
    reader = PieceCache(directory, torture.LIMIT_BYTES)
    started = [_start(torture.mistreat, directory, seed, steps) for seed in range(writers)]
    random, running = np.random.default_rng(99), dict(started)
    while running:
        number = int(random.integers(torture.NUMBERS))
        batch = reader.get(key_of(number))
        assert batch is None or same(batch, truth(number, torture.rows_of(number)))
        for process, told in list(running.items()):
            try:
                while told.poll():
                    assert told.recv() == 0
            except EOFError:
                del running[process]
    for process, _ in started:
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == 0
    stats = reader.stats()
    assert stats.evictions > 0
    assert stats.hits > 0
    reader.close()
    _end_state_is_right(directory, grace_seconds=600)


def test_processes_share_a_cache_and_see_nothing_wrong(tmp_path):
    _torture(tmp_path, writers=3, steps=150)


@pytest.mark.soak
def test_processes_share_a_cache_for_long_and_see_nothing_wrong(tmp_path):
    _torture(tmp_path, writers=6, steps=5_000)


def _kill_at_random(directory: Path, kills: int) -> None:
    """Writers that never end are killed after a random number of steps, again and again."""
    random = np.random.default_rng(7)
    reader = PieceCache(directory, torture.LIMIT_BYTES)
    for seed in range(kills):
        victims = [
            _start(torture.mistreat, directory, 1000 * seed + n, torture.ENDLESS) for n in range(2)
        ]
        for process, told in victims:
            for _ in range(int(random.integers(1, 40))):
                assert told.poll(PATIENCE_SECONDS)
                assert told.recv() == 0
            _kill(process)
        for number in range(torture.NUMBERS):
            batch = reader.get(key_of(number))
            assert batch is None or same(batch, truth(number, torture.rows_of(number)))
    # The last thing that a victim did may have been to evict everything.
    assert reader.put(key_of(0), truth(0, torture.rows_of(0)))
    reader.close()
    _end_state_is_right(directory, grace_seconds=-1)


def test_killed_writers_leave_a_cache_that_works(tmp_path):
    _kill_at_random(tmp_path, kills=2)


@pytest.mark.soak
def test_very_many_killed_writers_leave_a_cache_that_works(tmp_path):
    _kill_at_random(tmp_path, kills=50)
