"""What the service must answer: the parents read directly, in the order that the generator knows.

Knows uproot, the generator's truth and the formulas of CMSSW's ``PackedCandidate::unpack``; nothing
of the service's reader, join and decoders, so that it can judge them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from benchmarks.measure import WrongAnswer
from columnservice.demo.cms import CANDIDATES
from columnservice.demo.generate import Pair

MEMBERS = {
    "PFCands_pt": "packedPt_",
    "PFCands_eta": "packedEta_",
    "PFCands_phi": "packedPhi_",
    "PFCands_mass": "packedM_",
    "PFCands_pdgId": "pdgId_",
}
PHI_LSB = 3.2 / 32767
"""What one step of the code of phi is worth, in rad."""
CLOSE = 1e-2 * PHI_LSB
"""How far two float32 values of phi may differ: only the same code is as close."""


def branch_of(column: str) -> str:
    """The parents' branch that holds a Column's codes: ``PFCandsRaw_…`` are codes as they are."""
    head, _, element = column.removeprefix("PFCandsRaw_").partition("_")
    raw = f"{head}_.{element}" if element else f"{head}_"
    return f"{CANDIDATES}.obj.{MEMBERS.get(column, raw)}"


def branches_of(columns: Sequence[str]) -> list[str]:
    """The branches of Columns, in their order."""
    return [branch_of(column) for column in columns]


def decoded(column: str, codes: Any) -> ak.Array:
    """A Column from its codes.

    Args:
        column: its name.
        codes: branches by name; phi needs that of pt besides its own.
    """
    own = codes[branch_of(column)]
    counts, flat = ak.num(own), np.asarray(ak.flatten(own))
    if column in ("PFCands_pt", "PFCands_mass"):
        flat = flat.astype(np.uint16).view(np.float16).astype(np.float32)
    elif column == "PFCands_eta":
        signed = flat.astype(np.uint16).view(np.int16).astype(np.float32)
        flat = signed * np.float32(6) / np.float32(32767)
    elif column == "PFCands_phi":
        signed = flat.astype(np.uint16).view(np.int16).astype(np.float64)
        pt = np.asarray(ak.flatten(decoded("PFCands_pt", codes)))
        below = np.where(pt < 1, 0.1 * pt, 0.1 / np.maximum(pt, np.float32(1)))
        below[(pt * np.float32(10)).astype(np.int64) % 2 == 1] *= -1
        flat = ((signed + below) * PHI_LSB).astype(np.float32)
    return ak.unflatten(flat, counts)


def expected(
    pair: Pair, columns: Sequence[str], rows: NDArray[np.int64] | slice = slice(None)
) -> ak.Array:
    """Columns of local rows, by the generator's truth.

    Args:
        pair: all of its local events have a parent.
        columns: names of PFCands_… and PFCandsRaw_….
        rows: of the local file.
    """
    codes = []
    for path in pair.parents:
        with uproot.open({path: "Events"}) as tree:
            codes.append(tree.arrays(branches_of(columns)))
    return in_order(pair, columns, codes, rows)


def in_order(
    pair: Pair,
    columns: Sequence[str],
    codes: Sequence[Any],
    rows: NDArray[np.int64] | slice = slice(None),
) -> ak.Array:
    """Columns of local rows from the codes of all parents, each whole and in its own order."""
    starts = np.cumsum([0, *(len(c) for c in codes)])
    place = (starts[pair.truth.parent_file] + pair.truth.parent_row)[rows]
    found = {b: ak.concatenate([c[b] for c in codes])[place] for b in branches_of(columns)}
    return columns_of(columns, found)


def columns_of(columns: Sequence[str], codes: Mapping[str, Any]) -> ak.Array:
    """Columns side by side, from their codes."""
    return ak.zip({name: decoded(name, codes) for name in columns}, depth_limit=1)


def agrees(ours: Any, other: Any) -> bool:
    """Whether two record arrays hold the same Columns: all but phi to the last bit."""
    names = sorted(ours.fields)
    return names == sorted(other.fields) and all(
        _agrees(ours[name], other[name], CLOSE if name == "PFCands_phi" else 0.0) for name in names
    )


def _agrees(ours: Any, other: Any, close: float) -> bool:
    if len(ours) != len(other) or not np.array_equal(ak.num(ours), ak.num(other)):
        return False
    mine, theirs = (np.asarray(ak.flatten(array)) for array in (ours, other))
    if close:
        return bool(np.all(np.abs(mine - theirs) <= close))
    return np.array_equal(mine, theirs)


def demand(row: str, ours: Any, other: Any) -> None:
    """Refuse to time what is not right.

    Raises:
        WrongAnswer: ours differs from what the parents hold.
    """
    if not agrees(ours, other):
        raise WrongAnswer(f"{row}: our answer differs from what the parents hold.")


def equal(ours: Any, peer: Any) -> bool:
    """Whether two record arrays hold the same columns with the same values, bit by bit."""
    names = sorted(ours.fields)
    return names == sorted(peer.fields) and all(_equal(ours[n], peer[n]) for n in names)


def _equal(ours: Any, peer: Any) -> bool:
    if ours.ndim > 1 and not np.array_equal(ak.num(ours), ak.num(peer)):
        return False
    mine, other = (np.asarray(ak.flatten(a, axis=None)) for a in (ours, peer))
    return mine.dtype == other.dtype and mine.tobytes() == other.tobytes()
