from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from columnservice.cache.piecefile import check_piece, open_piece, write_piece
from columnservice.errors import DamagedFile
from tests.cache.support import same, truth

pytestmark = pytest.mark.fast

KEY = "0123456789abcdef"
BATCHES = {
    "numbers": truth(1),
    "no rows": truth(2, rows=0),
    "no columns": truth(3).select([]),
    "a slice": truth(4).slice(3, 100),
    "nulls": pa.record_batch({"x": pa.array([1, None, 3], pa.int32())}),
    "booleans cut within a byte": pa.record_batch({"x": pa.array([True, False] * 50)}).slice(3, 90),
    "lists": pa.record_batch({"x": pa.array([[1.0], [], [2.0, 3.0]], pa.large_list(pa.float32()))}),
    "a dictionary": pa.record_batch({"x": pa.array(["a", "b", "a"]).dictionary_encode()}),
}


@pytest.mark.parametrize("kind", BATCHES)
def test_a_batch_comes_back_as_it_was(tmp_path, kind):
    path = tmp_path / "piece.arrow"
    size_bytes = write_piece(path, KEY, BATCHES[kind])
    assert size_bytes == path.stat().st_size
    for read in (open_piece, check_piece):
        key, batch = read(path)
        assert key == KEY
        assert same(batch, BATCHES[kind])


def test_any_arrow_reader_can_read_a_piece(tmp_path):
    path = tmp_path / "piece.arrow"
    write_piece(path, KEY, truth(1))
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    assert table.to_batches()[0].equals(truth(1))


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_columns_are_views_of_the_mapped_file_and_hold_no_descriptor(tmp_path):
    path = tmp_path / "piece.arrow"
    write_piece(path, KEY, truth(1, rows=100_000))
    allocated, descriptors = pa.total_allocated_bytes(), _descriptors()
    opened = [open_piece(path).batch for _ in range(10)]
    assert pa.total_allocated_bytes() == allocated
    assert _descriptors() == descriptors
    maps = Path("/proc/self/maps").read_text().splitlines()
    ranges = [line.split()[0].split("-") for line in maps if str(path) in line]
    bounds = [(int(begin, 16), int(end, 16)) for begin, end in ranges]
    for batch in opened:
        for column in batch.columns:
            address = column.buffers()[1].address
            assert any(begin <= address < end for begin, end in bounds)
    values = opened[0].column("items").to_numpy(zero_copy_only=True)
    assert not values.flags.writeable


def test_a_batch_outlives_its_file(tmp_path):
    path = tmp_path / "piece.arrow"
    write_piece(path, KEY, truth(1))
    batch = open_piece(path).batch
    path.unlink()
    assert same(batch, truth(1))


def _flipped(path: Path) -> Iterator[tuple[int, int]]:
    """Flip bits of a file, one byte at a time; gives place and flip."""
    sound = path.read_bytes()
    for place in range(len(sound)):
        for flip in (0x01, 0x04, 0x80, 0xFF):
            damaged = bytearray(sound)
            damaged[place] ^= flip
            path.write_bytes(damaged)
            yield place, flip


def test_a_flipped_byte_is_never_both_unseen_by_the_check_and_harmful(tmp_path):
    path, expected = tmp_path / "piece.arrow", truth(1, rows=20)
    size_bytes = write_piece(path, KEY, expected)
    found = 0
    for place, flip in _flipped(path):
        try:
            key, batch = check_piece(path)
        except DamagedFile:
            found += 1
        else:
            assert (key, same(batch, expected)) == (KEY, True), (place, flip)
    assert found > 2 * size_bytes  # what is left is padding, and the schema's spare copy


def test_a_flipped_byte_never_lets_columns_reach_outside_of_their_buffers(tmp_path):
    """Opening does not read the body, but what it hands out must be safe to read."""
    path = tmp_path / "piece.arrow"
    write_piece(path, KEY, pa.record_batch({"x": pa.array([1, None, 3], pa.int32())}))
    for _ in _flipped(path):
        with suppress(DamagedFile):
            open_piece(path).batch.validate()


def test_a_truncated_file_is_damaged_wherever_it_ends(tmp_path):
    path = tmp_path / "piece.arrow"
    write_piece(path, KEY, truth(1, rows=20))
    sound = path.read_bytes()
    for size_bytes in range(len(sound)):
        path.write_bytes(sound[:size_bytes])
        with pytest.raises(DamagedFile):
            open_piece(path)


def _stream() -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, truth(1).schema) as writer:
        writer.write_batch(truth(1))
    return sink.getvalue().to_pybytes()


def _foreign(batches: int) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, truth(1).schema) as writer:
        for _ in range(batches):
            writer.write_batch(truth(1))
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 4096, b"ARROW1\x00\x00" * 64, _stream(), _foreign(0), _foreign(1), _foreign(2)],
    ids=["empty", "zeros", "magic only", "a stream", "no batch", "no key", "two batches"],
)
def test_what_is_no_piece_is_damaged(tmp_path, content):
    path = tmp_path / "piece.arrow"
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"piece\.arrow is no sound Piece"):
        open_piece(path)


def test_a_missing_file_is_damaged(tmp_path):
    with pytest.raises(DamagedFile):
        open_piece(tmp_path / "piece.arrow")


def test_a_process_out_of_descriptors_does_not_call_a_sound_file_damaged(tmp_path):
    path = tmp_path / "piece.arrow"
    write_piece(path, KEY, truth(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="open") as caught:
            open_piece(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE
    assert same(open_piece(path).batch, truth(1))


def test_not_a_number_passes_the_check(tmp_path):
    path = tmp_path / "piece.arrow"
    write_piece(path, KEY, pa.record_batch({"x": np.full(7, np.nan)}))
    assert np.isnan(check_piece(path).batch.column("x").to_numpy()).all()
