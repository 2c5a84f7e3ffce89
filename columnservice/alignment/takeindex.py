"""The TakeIndex: for each local row, the parent file and row that hold the same event.

Made by a join on (run, luminosityBlock, event), kept as a memory-mapped Arrow file. Knows keys and
rows; not how keys are read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columnservice.alignment.blockjoin import join_blocks
from columnservice.alignment.files import open_arrow, write_arrow
from columnservice.alignment.hashjoin import join_hashed
from columnservice.model import FileIdentity, Keys


@dataclass(frozen=True)
class TakeIndex:
    """Where the events of a local File stand in its parent files.

    Attributes:
        file: int32 per local row, index into ``parents``; -1 where the event is absent.
        row: int64 per local row, the parent row; -1 where absent.
        repeated: bool per local row: the event stands more than once in the parents.
        local_repeats: how many local keys stand in more than one row.
        parents: the identities of the parent files that ``file`` counts.
    """

    file: NDArray[np.int32]
    row: NDArray[np.int64]
    repeated: NDArray[np.bool_]
    local_repeats: int
    parents: tuple[FileIdentity, ...]

    def __len__(self) -> int:
        return len(self.file)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which local rows have a parent."""
        return self.file >= 0

    def rows(self, start: int, stop: int) -> TakeIndex:
        """The part for local rows ``start`` to ``stop``."""
        cut = slice(start, stop)
        return TakeIndex(
            self.file[cut], self.row[cut], self.repeated[cut], self.local_repeats, self.parents
        )


def join(
    local: Keys, parents: Sequence[Keys]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_], int]:
    """Find each local key among the keys of several parent files.

    Args:
        local: keys in local row order.
        parents: keys of each parent file in its row order.

    Returns:
        ``file`` (int32), ``row`` (int64), ``repeated`` (bool), one entry per local row; file and
        row are -1 where no parent holds the key. Of several equal parent keys the first counts,
        and ``repeated`` is set. Last, how many local keys stand in more than one row.
    """
    mine, theirs = _plain(local), [_plain(keys) for keys in parents]
    found = join_blocks(mine, theirs)
    return (*found, 0) if found is not None else join_hashed(mine, theirs)


def _plain(keys: Keys) -> Keys:
    """The same keys as the kernels take them."""
    return Keys(
        np.ascontiguousarray(keys.run, np.uint32),
        np.ascontiguousarray(keys.lumi, np.uint32),
        np.ascontiguousarray(keys.event, np.uint64),
    )


def make_takeindex(
    local: Keys, parents: Sequence[Keys], identities: Sequence[FileIdentity]
) -> TakeIndex:
    """Join a local file with its candidate parents."""
    return TakeIndex(*join(local, parents), tuple(identities))


def write_takeindex(path: Path, index: TakeIndex) -> None:
    """Keep a TakeIndex as an Arrow file that appears whole or not at all."""
    about = {
        "parents": json.dumps([asdict(p) for p in index.parents]),
        "local_repeats": str(index.local_repeats),
    }
    batch = pa.record_batch(
        {
            "file": pa.array(index.file),
            "row": pa.array(index.row),
            "repeated": pa.array(index.repeated.view(np.uint8)),
        }
    )
    write_arrow(path, batch.replace_schema_metadata(about))


def open_takeindex(path: Path) -> TakeIndex | None:
    """The kept TakeIndex, memory-mapped; None when there is none or it is damaged."""
    batch = open_arrow(path)
    if batch is None or batch.schema.metadata is None:
        return None
    about = batch.schema.metadata
    return TakeIndex(
        batch.column("file").to_numpy(),
        batch.column("row").to_numpy(),
        batch.column("repeated").to_numpy().view(np.bool_),
        int(about[b"local_repeats"]),
        tuple(FileIdentity(**p) for p in json.loads(about[b"parents"])),
    )
