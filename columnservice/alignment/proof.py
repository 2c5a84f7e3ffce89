"""The proof: row hashes made from the *parent's* keys, gathered through the TakeIndex.

The client makes the same hashes from its own keys; only a right join gives the same sums. Knows
nothing of how either side reads its keys.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from columnservice import wire
from columnservice.alignment.gather import gather
from columnservice.model import Keys, Ragged


def gathered_keys(parents: Sequence[Keys], file: NDArray[np.int32], row: NDArray[np.int64]) -> Keys:
    """The parents' keys in local row order; zeros where absent."""
    parts = [Ragged((), {"run": k.run, "lumi": k.lumi, "event": k.event}) for k in parents]
    if not parts:
        n = len(file)
        return Keys(np.zeros(n, np.uint32), np.zeros(n, np.uint32), np.zeros(n, np.uint64))
    content = gather(parts, file, row).content
    return Keys(content["run"], content["lumi"], content["event"])


def proof_hashes(
    parents: Sequence[Keys], file: NDArray[np.int32], row: NDArray[np.int64], first_row: int
) -> NDArray[np.uint64]:
    """One hash per local row, from keys read out of the parent files.

    Args:
        parents: for each parent file, the keys of the rows that were read from it.
        file, row: which of these keys belongs to each local row; file is negative where absent.
        first_row: number of the first of these rows in the local file.
    """
    return wire.row_hashes(gathered_keys(parents, file, row), file >= 0, first_row)
