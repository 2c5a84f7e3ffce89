"""Columns of one shape hold the same numbers of objects, as files of their Format are made.

Where they do not, bytes are wrong or a File is not what it seems. Knows values; no files.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from columnservice.errors import CountsMismatch
from columnservice.model import Column, Ragged


def demand_shapes(columns: Mapping[str, tuple[Column, Ragged]], lfn: str) -> dict[str, Ragged]:
    """One Column's values for each shape.

    Args:
        columns: by name.
        lfn: the local File, for the message.

    Raises:
        CountsMismatch: Columns of one shape hold different numbers of objects.
    """
    first: dict[str, tuple[str, Ragged]] = {}
    for name, (column, ragged) in columns.items():
        if column.shape is None:
            continue
        other, known = first.setdefault(column.shape, (name, ragged))
        if not np.array_equal(known.offsets[0], ragged.offsets[0]):
            raise CountsMismatch(
                f"{other} and {name} hold different numbers of objects in the parents of {lfn}."
            )
    return {shape: ragged for shape, (_, ragged) in first.items()}
