"""The EventIndex: a File's EventKeys in row order, read once, kept as a memory-mapped Arrow file.

Run and luminosity block change rarely, so they are run-length encoded. Knows formats and readers;
not what the keys are joined with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columnservice.alignment.files import open_arrow, write_arrow
from columnservice.errors import DamagedFile
from columnservice.formats import format_named
from columnservice.model import FileIdentity, FileLocation, Keys
from columnservice.reader import FilePool, read_rows


def eventindex_path(index_dir: Path, identity: FileIdentity, mtime_seconds: int = 0) -> Path:
    """Where a File's EventIndex is kept; an in-place update may change nothing but the time."""
    name = f"{identity.uuid}-{identity.size_bytes}-{mtime_seconds}.arrow"
    return index_dir / "events" / identity.uuid[:2] / name


def read_keys(pool: FilePool, location: FileLocation, format_name: str) -> Keys:
    """A File's EventKeys, read from its key branches.

    Raises:
        NoEventKeys: the tree has none.
        FileError, TransportError: the file cannot be read.
    """
    form = format_named(format_name)
    with pool.tree(location) as opened:
        reads = form.key_reads(opened.tree)
        entries = int(opened.tree.num_entries)
    rows = np.arange(entries, dtype=np.int64)
    keys: Keys = form.keys(read_rows(pool, location, reads, rows).arrays)
    if len(keys) != entries:
        raise DamagedFile(f"{location.lfn} gave {len(keys)} event keys for {entries} events.")
    return keys


def _run_lengths(values: NDArray[Any]) -> pa.Array:
    """A run-end-encoded Arrow array of the same values."""
    if not len(values):
        ends, first = np.zeros(0, np.int64), values
    else:
        change = np.flatnonzero(values[1:] != values[:-1]) + 1
        ends = np.concatenate((change, [len(values)])).astype(np.int64)
        first = values[np.concatenate(([0], change))]
    return pa.RunEndEncodedArray.from_arrays(pa.array(ends), pa.array(first))


def _expand(array: pa.Array) -> NDArray[Any]:
    ends = array.run_ends.to_numpy()
    return np.repeat(array.values.to_numpy(), np.diff(ends, prepend=0))


def write_eventindex(path: Path, keys: Keys) -> None:
    """Keep keys as an EventIndex that appears whole or not at all."""
    batch = pa.RecordBatch.from_arrays(
        [_run_lengths(keys.run), _run_lengths(keys.lumi), pa.array(keys.event)],
        names=["run", "lumi", "event"],
    )
    write_arrow(path, batch)


def open_eventindex(path: Path) -> Keys | None:
    """The kept keys; ``event`` is a view of the mapped file. None when there are none."""
    batch = open_arrow(path)
    if batch is None:
        return None
    run, lumi = _expand(batch.column("run")), _expand(batch.column("lumi"))
    event = batch.column("event").to_numpy()
    return Keys(run, lumi, event) if len(run) == len(lumi) == len(event) else None


def ensure_eventindex(
    index_dir: Path, pool: FilePool, location: FileLocation, format_name: str
) -> Keys:
    """A registered File's keys: the kept ones, else read now and kept.

    Raises:
        FileChanged, NoEventKeys, FileError, TransportError: they cannot be had.
    """
    assert location.identity is not None
    path = eventindex_path(index_dir, location.identity, location.mtime_seconds)
    keys = open_eventindex(path)
    if keys is None:
        keys = read_keys(pool, location, format_name)
        write_eventindex(path, keys)
    return keys
