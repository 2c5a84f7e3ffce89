"""Indexes stay within their limit, and what is in use stays."""

from __future__ import annotations

import os

import pyarrow as pa
import pytest

from columnservice.alignment import tidy
from columnservice.alignment.files import open_arrow, write_arrow
from columnservice.alignment.tidy import SPARED_SECONDS, TIDY_SECONDS, Indexes

pytestmark = pytest.mark.fast
BATCH = pa.record_batch({"x": pa.array(range(1000))})
NOW = 1_700_000_000.0


def index(folder, name, age_seconds):
    path = folder / "takes" / name[:2] / f"{name}.arrow"
    write_arrow(path, BATCH)
    os.utime(path, (NOW, NOW - age_seconds))
    return path


def test_the_longest_unused_go_until_the_rest_fits(tmp_path):
    old = [index(tmp_path, f"a{n}", SPARED_SECONDS * (10 - n)) for n in range(4)]
    size = old[0].stat().st_size
    assert Indexes(tmp_path, 2 * size, lambda: NOW).tidy() == 2
    assert [path.exists() for path in old] == [False, False, True, True]


def test_what_was_used_lately_is_spared_whatever_the_limit(tmp_path):
    old, new = index(tmp_path, "old", 2 * SPARED_SECONDS), index(tmp_path, "new", 60)
    indexes = Indexes(tmp_path, 1, lambda: NOW)
    assert indexes.tidy() == 1
    assert (old.exists(), new.exists()) == (False, True)
    assert indexes.size_bytes == new.stat().st_size


def test_it_is_looked_once_in_a_while_only(tmp_path):
    now = [NOW]
    indexes = Indexes(tmp_path, 1, lambda: now[0])
    assert indexes.tidy() == 0
    path = index(tmp_path, "old", 2 * SPARED_SECONDS)
    now[0] += TIDY_SECONDS / 2
    assert indexes.tidy() == 0
    assert path.exists()
    now[0] += TIDY_SECONDS
    assert indexes.tidy() == 1


def test_opening_an_index_counts_as_use_and_its_map_outlives_it(tmp_path):
    used, idle = (index(tmp_path, name, 2 * SPARED_SECONDS) for name in ("used", "idle"))
    os.utime(used, (NOW - 3 * SPARED_SECONDS,) * 2)
    batch = open_arrow(used)
    assert used.stat().st_mtime != NOW - 3 * SPARED_SECONDS
    os.utime(used, (NOW, NOW))
    Indexes(tmp_path, used.stat().st_size, lambda: NOW).tidy()
    assert (used.exists(), idle.exists()) == (True, False)
    used.unlink()
    assert batch.equals(BATCH)


def test_an_index_on_a_disk_that_cannot_be_written_is_used_all_the_same(tmp_path, monkeypatch):
    path = index(tmp_path, "a", 2 * SPARED_SECONDS)

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(tidy.os, "utime", refuse)
    assert open_arrow(path).equals(BATCH)


def test_what_a_killed_process_left_unfinished_is_swept_up(tmp_path):
    index(tmp_path, "a", 60)
    old, new = (tmp_path / "takes" / f".new-{n}" for n in ("old", "new"))
    for path, age in ((old, 2 * SPARED_SECONDS), (new, 60)):
        path.write_bytes(b"half")
        os.utime(path, (NOW, NOW - age))
    assert Indexes(tmp_path, 10**9, lambda: NOW).tidy() == 1
    assert (old.exists(), new.exists()) == (False, True)
