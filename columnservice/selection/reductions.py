"""What makes one value of a list: sums, extremes, conditions, the object largest in something.

Knows flat arrays and the offsets of the lists in them; no column and no axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.model import Offsets
from columnservice.selection.operations import Misfit, Operand


@dataclass(frozen=True)
class Reduction:
    """A reduction of the innermost lists.

    Attributes:
        doc: what it gives.
        empties: whether an empty list needs a value of its own (``default=``).
        ordered: whether a second operand (``by=``) says which object is meant.
    """

    doc: str
    empties: bool = False
    ordered: bool = False


REDUCTIONS: Mapping[str, Reduction] = {
    "sum": Reduction("sum, 0 of none; of a condition: how often it holds"),
    "mean": Reduction("mean, NaN of none"),
    "count": Reduction("how many objects there are"),
    "any": Reduction("whether a condition holds for at least one object"),
    "all": Reduction("whether a condition holds for every object"),
    "min": Reduction("the smallest", empties=True),
    "max": Reduction("the largest", empties=True),
    "leading": Reduction("leading(x, by): x of the object with the largest by", True, True),
    "closest": Reduction("closest(x, by): x of the object with the smallest by", True, True),
}


def result_type(name: str, value: Operand) -> str:
    """The type of a reduction's result.

    Raises:
        Misfit: values of that type cannot be reduced so.
    """
    if name in ("any", "all"):
        if value.kind != "b":
            raise Misfit(f"{name} needs a condition", f"Compare first: {name}(x > 0).")
        return "bool"
    if name in ("min", "max") and value.kind == "b":
        raise Misfit(f"{name} needs numbers, not a condition", "Use any(…) or all(…).")
    if name == "count":
        return "int64"
    if name == "sum" and value.kind != "f":
        return "uint64" if value.dtype == "uint64" else "int64"
    if name == "mean" and value.kind != "f":
        return "float64"
    return value.dtype


def nothing(dtype: str) -> Any:
    """What stands for a value that is not there: NaN, False, else the smallest of the type."""
    kind = np.dtype(dtype).kind
    if kind == "f":
        return np.nan
    return False if kind == "b" else int(np.iinfo(dtype).min)


def _filled(reduce: np.ufunc, values: NDArray[Any], offsets: Offsets, empty: Any) -> NDArray[Any]:
    """One value per list; ``empty`` for lists without any."""
    out = np.full(len(offsets) - 1, empty, values.dtype)
    some = offsets[1:] > offsets[:-1]
    if some.any():
        out[some] = reduce.reduceat(values, offsets[:-1][some])
    return out


def _sum(values: NDArray[Any], offsets: Offsets, dtype: str) -> NDArray[Any]:
    wide = "float64" if values.dtype.kind == "f" else dtype
    return _filled(np.add, values.astype(wide, copy=False), offsets, 0)


def _extreme_rows(largest: bool, by: NDArray[Any], offsets: Offsets) -> NDArray[np.int64]:
    """In each list the first object with the largest (smallest) value, NaN aside; -1 for none."""
    if by.dtype.kind == "b":
        by = by.view(np.uint8)
    pick = np.fmax if largest else np.fmin
    extreme = _filled(pick, by, offsets, 0)
    is_it = by == np.repeat(extreme, np.diff(offsets))
    none = np.int64(len(by))
    rows = np.where(is_it, np.arange(len(by)), none)
    first = _filled(np.minimum, rows, offsets, none)
    return np.where(first == none, -1, first)


def reduce_lists(  # noqa: PLR0911 (one for each reduction)
    name: str, operands: Sequence[NDArray[Any]], offsets: Offsets, dtype: str, empty: Any
) -> NDArray[Any]:
    """One value per list.

    Sums of floats are added up in float64 and rounded once, so that long lists of float32 lose
    nothing.

    Args:
        name: of ``REDUCTIONS``.
        operands: flat values; for an ordered reduction also what it goes by; none for ``count``.
        offsets: of the lists, from 0 to the number of values.
        dtype: of the result.
        empty: what a list without objects gives where the reduction ``empties``.
    """
    if name == "count":
        return np.diff(offsets)
    values = operands[0]
    match name:
        case "sum":
            return _sum(values, offsets, dtype).astype(dtype, copy=False)
        case "mean":
            total = _sum(values, offsets, "float64").astype("float64", copy=False)
            return (total / np.diff(offsets)).astype(dtype)
        case "any":
            return _filled(np.logical_or, values, offsets, False)
        case "all":
            return _filled(np.logical_and, values, offsets, True)
        case "min":
            return _filled(np.minimum, values.astype(dtype, copy=False), offsets, empty)
        case "max":
            return _filled(np.maximum, values.astype(dtype, copy=False), offsets, empty)
    return picked(values, _extreme_rows(name == "leading", operands[1], offsets), dtype, empty)


def picked(values: NDArray[Any], rows: NDArray[np.int64], dtype: str, empty: Any) -> NDArray[Any]:
    """The values of some rows; ``empty`` for row -1."""
    out = np.full(len(rows), empty, dtype)
    there = rows >= 0
    out[there] = values[rows[there]]
    return out


def item_rows(number: int, offsets: Offsets) -> NDArray[np.int64]:
    """In each list the row of the object of that number, from the end if negative; -1 for none."""
    rows = offsets[:-1] + number if number >= 0 else offsets[1:] + number
    return np.where((rows >= offsets[:-1]) & (rows < offsets[1:]), rows, -1)
