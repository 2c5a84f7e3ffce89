"""RNTuples for tests: the columns of a TTree file written anew by uproot, in clusters as wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from columnservice.model import Column
from tests.support.truth import Parent, as_awkward


def write_ntuple(
    path: Path, name: str, arrays: dict[str, ak.Array], cluster_rows: int | None = None
) -> Path:
    """An RNTuple of these fields with a cluster for each so many rows."""
    rows = len(next(iter(arrays.values())))
    step = cluster_rows or max(rows, 1)
    with uproot.recreate(path, compression=uproot.ZSTD(5)) as file:
        made = file.mkrntuple(name, {f: a[:step] for f, a in arrays.items()})
        for start in range(step, rows, step):
            made.extend({f: a[start : start + step] for f, a in arrays.items()})
    return path


def columns_of(
    source: Path, format_name: str, keep: Callable[[Column], bool]
) -> dict[str, ak.Array]:
    """The readable columns of a TTree file by plain uproot, decoded."""
    parent = Parent(source, format_name)
    return {
        name: as_awkward(parent.ragged(name))
        for name, offered in parent.columns.items()
        if keep(offered.column)
    }


def as_ntuple(
    source: Path,
    format_name: str,
    target: Path,
    rows: Sequence[int] | None = None,
    cluster_rows: int | None = None,
    keep: Callable[[Column], bool] = lambda _: True,
) -> Path:
    """A TTree file as an RNTuple; ATLAS writes colons where its TTrees have dots.

    Args:
        source: the TTree file.
        format_name: its format.
        target: where the RNTuple goes.
        rows: which events, in which order; all if not told.
        cluster_rows: events of a cluster.
        keep: which columns.
    """
    arrays = columns_of(source, format_name, keep)
    picked = {
        name.replace(".", ":"): array if rows is None else array[np.asarray(rows)]
        for name, array in arrays.items()
    }
    tree = "Events" if format_name == "nanoaod" else "EventData"
    return write_ntuple(target, tree, picked, cluster_rows)
