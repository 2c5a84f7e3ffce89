from __future__ import annotations

import sqlite3

import pytest

from columnservice.cache import PieceCache
from tests.cache.support import Clock, file_of, key_of, same, truth

pytestmark = pytest.mark.fast


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
    monkeypatch.setattr(cache._held, "_shelf", None)
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


def test_no_more_maps_are_held_than_allowed(directory):
    cache = PieceCache(directory, 10**6, open_maps=3, recheck_seconds=1e9)
    first = []
    for number in range(6):
        cache.put(key_of(number), truth(number))
        first.append(cache.get(key_of(number)))
    assert len(cache._held) == 3
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
    assert len(reader._held) == 3
    clock.seconds = 11
    reader.get(key_of(9))
    assert len(reader._held) == 0
    reader.close()
