"""EventKeys and luminosity blocks of EDM files, from the bytes of their auxiliary branches.

uproot cannot interpret ``edm::EventAuxiliary`` (it is never split); the bytes of one entry are
decoded as ``kernels.event_ids`` says. Files written by uproot hold the same bytes in a jagged
uint8 branch and are read by the same decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from columnservice.errors import DamagedFile, NoEventKeys
from columnservice.formats.format import merge_lumis, tree_named
from columnservice.formats.ragged import ragged_from_layout
from columnservice.model import BranchRead, Keys, LumiRange, Ragged

if TYPE_CHECKING:
    from uproot import ReadOnlyDirectory, TTree

EVENTS = "EventAuxiliary"
LUMIS = "LuminosityBlockAuxiliary"


def key_reads(tree: TTree) -> tuple[BranchRead, ...]:
    """The one branch that holds the EventKeys, read as bytes."""
    if EVENTS not in tree:
        raise NoEventKeys(f"{tree.name!r} has no branch {EVENTS}, so its events have no EventKeys.")
    return (BranchRead(EVENTS, raw=True),)


def _decode(decoder: Callable[..., int], raw: Ragged, what: str, *out: NDArray[Any]) -> None:
    """Run a decoder over every row's bytes; DamagedFile names the first row that it refuses."""
    if raw.depth != 1 or raw.values.dtype != np.uint8:
        raise DamagedFile(f"{what} holds something else than bytes.")
    row = decoder(raw.offsets[0], raw.values, *out)
    if row >= 0:
        raise DamagedFile(f"{what} of row {row} is not one of the known layouts.")


def keys(inputs: Sequence[Ragged]) -> Keys:
    """Keys from the bytes of EventAuxiliary.

    Raises:
        DamagedFile: if a row's bytes are none of the known layouts.
    """
    from columnservice.formats import kernels

    (raw,) = inputs
    rows = len(raw)
    run, lumi = np.zeros(rows, np.uint32), np.zeros(rows, np.uint32)
    event = np.zeros(rows, np.uint64)
    _decode(kernels.event_ids, raw, EVENTS, run, lumi, event)
    return Keys(run, lumi, event)


def lumi_ranges(directory: ReadOnlyDirectory) -> tuple[LumiRange, ...] | None:
    """The luminosity blocks that the file's ``LuminosityBlocks`` tree lists; None without any."""
    from uproot import AsDtype, AsJagged

    from columnservice.formats import kernels

    tree = tree_named(directory, "LuminosityBlocks")
    if tree is None or LUMIS not in tree or not tree.num_entries:
        return None
    raw = ragged_from_layout(tree[LUMIS].array(AsJagged(AsDtype("u1"))).layout)
    run, lumi = np.zeros(len(raw), np.uint32), np.zeros(len(raw), np.uint32)
    _decode(kernels.lumi_ids, raw, LUMIS, run, lumi)
    return merge_lumis(run, lumi)
