"""Checks of what decoders take: that codes are codes, and that inputs belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from columnservice.errors import DamagedFile
from columnservice.formats.ragged import native
from columnservice.formats.tables import Values
from columnservice.model import Offsets, Ragged


def codes_of(read: Ragged, kind: type[np.unsignedinteger[Any]]) -> Values:
    """Flat packed codes as unsigned numbers of that size; DamagedFile where the size is another."""
    values = native(read.values)
    if values.dtype.kind not in "iu" or values.dtype.itemsize != np.dtype(kind).itemsize:
        raise DamagedFile(
            f"packed codes are {values.dtype}, not {np.dtype(kind)}: "
            "the file's layout is not the one that it was indexed with."
        )
    return values.view(kind)


def together(inputs: Sequence[Ragged]) -> tuple[Offsets, ...]:
    """The offsets of inputs that hold members of the same objects; DamagedFile otherwise."""
    first = inputs[0]
    for other in inputs[1:]:
        same = len(other.offsets) == len(first.offsets) and all(
            np.array_equal(a, b) for a, b in zip(first.offsets, other.offsets, strict=True)
        )
        if not same:
            raise DamagedFile("members of the same objects have different counts.")
    return first.offsets
