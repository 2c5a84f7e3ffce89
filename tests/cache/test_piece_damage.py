"""Damaged Pieces are misses."""

from __future__ import annotations

import pyarrow as pa
import pytest

from columnservice.cache import shelf
from tests.cache.support import file_of, key_of, same, truth

pytestmark = pytest.mark.fast


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


def _become_anothers(path):
    """An Arrow file that no cache wrote: nothing in it says what it is."""
    batch = pa.record_batch({"items": pa.array([1.0])})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


DAMAGES = [_truncate, _zero, _spoil_magic, _spoil_footer, _empty, _become_a_directory]
DAMAGES += [_change_a_value, _become_anothers]
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
