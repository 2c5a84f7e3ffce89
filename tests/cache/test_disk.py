from __future__ import annotations

import pickle
import shutil
import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest

from columnservice.cache import PieceCache
from columnservice.cache.disk import FILENAME, MODE_PIECE, Damaged, Finished, PieceDisk
from columnservice.cache.piecefile import write_piece
from tests.cache.support import file_of, key_of, same, truth

pytestmark = pytest.mark.fast


@pytest.fixture
def disk(tmp_path):
    return PieceDisk(str(tmp_path))


@pytest.mark.parametrize("key", [b"ab", 1, 1.5, None, ("a",), {"a": 1}])
def test_only_strings_are_keys(disk, key):
    with pytest.raises(TypeError):
        disk.put(key)


@pytest.mark.parametrize(("key", "raw"), [(pickle.dumps("a"), False), ("a", False), (b"a", True)])
def test_a_key_that_was_not_written_by_us_is_not_read(disk, key, raw):
    with pytest.raises(TypeError):
        disk.get(key, raw)


@pytest.mark.parametrize("value", [b"bytes", "text", 1, 1.5, None, {"json": []}, object()])
def test_only_finished_pieces_are_values(disk, tmp_path, value):
    with pytest.raises(TypeError):
        disk.store(value, read=False, key="ab")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0, 1, 2, 3, 4, None, "5"])
def test_no_other_kind_of_value_is_read(disk, tmp_path, mode):
    filename, path = disk.filename()
    Path(path).parent.mkdir(parents=True)
    write_piece(Path(path), "ab", truth(1))
    assert not isinstance(disk.fetch(MODE_PIECE, filename, None, False), Damaged)
    assert isinstance(disk.fetch(mode, filename, pickle.dumps(1), False), Damaged)


@pytest.mark.parametrize(
    "filename", ["../x.arrow", "/etc/passwd", "ab/cd/x.val", "", None, 7, b"x"]
)
def test_no_file_outside_the_cache_is_read_or_removed(disk, tmp_path, filename):
    outside = tmp_path.parent / "x.arrow"
    write_piece(outside, "ab", truth(1))
    assert isinstance(disk.fetch(MODE_PIECE, filename, None, False), Damaged)
    disk.remove(filename)
    assert outside.exists()


class Bomb:
    """Unpickling this leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("in_file", [False, True])
def test_a_pickle_planted_in_the_index_is_never_loaded(tmp_path, in_file):
    directory, exploded = tmp_path / "cache", tmp_path / "exploded"
    cache = PieceCache(directory, 10**6, recheck_seconds=0)
    assert cache.put(key_of(1), truth(1))
    bomb = pickle.dumps(Bomb(exploded))
    with sqlite3.connect(directory / "cache.db") as connection:
        if in_file:
            file_of(directory, 1).write_bytes(bomb)
            connection.execute("UPDATE Cache SET mode = 4")
        else:
            connection.execute("UPDATE Cache SET mode = 4, filename = NULL, value = ?", (bomb,))
        connection.execute(
            "INSERT INTO Cache (key, raw, store_time, size, mode, value) VALUES (?, 0, 0, 0, 4, ?)",
            (pickle.dumps(Bomb(exploded)), bomb),
        )
    connection.close()
    assert cache.get(key_of(1)) is None
    assert not cache.contains(key_of(1))
    assert cache.verify().damaged_removed == 1  # the pickled key
    assert cache.stats().entries == 0
    cache.close()
    assert not exploded.exists()


def test_a_file_is_adopted_though_its_directory_is_removed_meanwhile(disk, tmp_path, monkeypatch):
    """Another process that removes the last file of a directory removes the directory too."""
    finished = tmp_path / "finished.arrow"
    size_bytes = write_piece(finished, "ab", truth(1))
    filename, path = disk.filename()
    rename, removed = Path.rename, []

    def late(self, target):
        if len(removed) < 3:
            removed.append(target.parent)
            shutil.rmtree(target.parent.parent)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    stored = disk.store(Finished(finished, size_bytes, filename), read=False, key="ab")
    assert stored == (size_bytes, MODE_PIECE, filename, None)
    assert len(removed) == 3
    assert not finished.exists()
    assert same(
        pa.ipc.open_file(path).get_batch(0).replace_schema_metadata(None),
        truth(1).replace_schema_metadata(None),
    )


def test_adoption_gives_up_when_the_file_itself_is_gone(disk, tmp_path):
    with pytest.raises(FileNotFoundError):
        disk.store(Finished(tmp_path / "gone.arrow", 1, disk.filename()[0]), read=False)


def test_filenames_are_random_and_of_one_form(disk):
    names = {disk.filename()[0] for _ in range(100)}
    assert len(names) == 100
    assert all(FILENAME.fullmatch(name) for name in names)
