"""What users write who know of no service: read branches, merge keys with pandas, take rows.

Knows uproot, pandas and awkward, and which branches hold what; not what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import uproot
from numpy.typing import NDArray

from benchmarks.peers import Way
from benchmarks.truth import branches_of, columns_of
from benchmarks.world import KEYS

AUXILIARY = "EventAuxiliary"
NEAR_EVENTS = 100
"""Wanted rows so close to each other are read in one go, with what lies between."""
_WORDS = {"run": (35, 39, ">u4"), "luminosityBlock": (39, 43, ">u4"), "event": (43, 51, ">u8")}
_BYTES = uproot.AsJagged(uproot.AsDtype("u1"))


def bare(way: Way, columns: Sequence[str]) -> list[ak.Array]:
    """The branches of all parents, as they are: no join, no decoding."""
    return [tree.arrays(branches_of(columns)) for tree in way.each()]


def script(way: Way, local: Path, columns: Sequence[str], *, by_runs: bool = False) -> ak.Array:
    """Columns in local order.

    Args:
        way: to the parents.
        local: the file whose events are wanted.
        columns: names.
        by_runs: whether only runs of entries around wanted rows are read (``entry_start``,
            ``entry_stop``), else all rows of each parent that has any.
    """
    with uproot.open({local: "Events"}) as tree:
        mine = tree.arrays(KEYS, library="pd")
    frames, values, filled = [], [], 0
    for tree in way.each():
        keys = _keys_of(tree[AUXILIARY].array(_BYTES))
        keys["row"] = np.arange(len(keys))
        wanted = keys.merge(mine, on=list(KEYS))["row"].to_numpy()
        if not len(wanted):
            continue
        for start, stop in _runs(wanted) if by_runs else [(0, len(keys))]:
            part = keys.iloc[start:stop].copy()
            part["row"] += filled - start
            frames.append(part)
            values.append(tree.arrays(branches_of(columns), entry_start=start, entry_stop=stop))
            filled += stop - start
    take = mine.merge(pd.concat(frames), on=list(KEYS), how="left")["row"].to_numpy(np.int64)
    codes = ak.concatenate(values)[take]
    return columns_of(columns, codes)


def _keys_of(auxiliaries: Any) -> pd.DataFrame:
    """EventKeys, cut out of the bytes of ``edm::EventAuxiliary``."""
    raw = np.asarray(ak.to_regular(auxiliaries))
    return pd.DataFrame(
        {
            key: np.ascontiguousarray(raw[:, a:b]).view(kind).ravel().astype(kind[1:])
            for key, (a, b, kind) in _WORDS.items()
        }
    )


def _runs(rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Half-open ranges that hold all rows and no long gap."""
    ordered = np.unique(rows)
    parts = np.split(ordered, np.flatnonzero(np.diff(ordered) > NEAR_EVENTS) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]
