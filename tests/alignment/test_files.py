"""Index files appear whole or not at all."""

from __future__ import annotations

import errno

import pyarrow as pa
import pytest

from columnservice.alignment import files
from columnservice.errors import Unavailable

pytestmark = pytest.mark.fast
BATCH = pa.record_batch({"x": pa.array([1, 2, 3])}, metadata={"about": "this"})


def _runs() -> pa.RecordBatch:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([500, 1000]), pa.array([1, 2], pa.uint32()))
    return pa.record_batch({"run": runs, "event": pa.array(range(1000), pa.uint64())})


def test_a_batch_comes_back_as_it_was(tmp_path):
    for n, batch in enumerate((BATCH, _runs(), BATCH.slice(1, 0))):
        path = tmp_path / f"{n}.arrow"
        files.write_arrow(path, batch)
        for _ in range(2):
            assert files.open_arrow(path).equals(batch, check_metadata=True)


def test_a_changed_event_number_is_noticed(tmp_path):
    path = tmp_path / "a.arrow"
    files.write_arrow(path, _runs())
    content = bytearray(path.read_bytes())
    content[content.index((777).to_bytes(8, "little"))] ^= 1
    path.unlink()
    path.write_bytes(content)
    assert files.open_arrow(path) is None


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
