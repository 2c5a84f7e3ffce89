"""Index files appear whole or not at all."""

from __future__ import annotations

import errno

import pyarrow as pa
import pytest

from columnservice.alignment import files
from columnservice.errors import Unavailable

pytestmark = pytest.mark.fast
BATCH = pa.record_batch({"x": pa.array([1, 2, 3])})


def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "takes" / "a.arrow"
    files.write_arrow(path, BATCH)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(Unavailable, match=r"a\.arrow cannot be written: No space left") as told:
        files.write_arrow(path, pa.record_batch({"x": pa.array([9])}))
    assert "make room" in told.value.remedy
    assert told.value.__cause__ is None
    assert [p.name for p in path.parent.iterdir()] == ["a.arrow"]
    assert files.open_arrow(path).equals(BATCH)
