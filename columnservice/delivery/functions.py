"""Runs functions that the operator installed (``selection.installed``) over awkward arrays.

They are called with a thousand events at a time, so that a long computation shows that it goes on;
whatever they do wrong becomes one clear error, and the worker goes on. They can change nothing that
they are given, and nothing that they keep is in what they gave. What a function must declare stands
in ``selection.installed``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from columnservice.errors import FunctionFailed
from columnservice.formats.ragged import ragged_from_layout
from columnservice.model import Ragged
from columnservice.reader.progress import tick
from columnservice.selection.evaluation import cut_rows, joined
from columnservice.selection.installed import InstalledFunction, function_named

log = logging.getLogger(__name__)
EVENTS_PER_CALL = 1000


def run_function(inputs: Sequence[Ragged], parameters: Mapping[str, Any]) -> Ragged:
    """The values of a function's Column.

    Args:
        inputs: the values of what it is called with.
        parameters: ``name``, ``source``, ``version`` and ``dtype`` of the function;
            ``objects_of``: which input has the lists that its values must have, -1 for one value
            per event.

    Raises:
        FunctionFailed: it is not installed here, it failed, or gave what it did not declare.
    """
    function = function_named(parameters["name"], parameters["source"], parameters["version"])
    objects_of, events = parameters["objects_of"], len(inputs[0])
    parts = []
    for start in range(0, max(events, 1), EVENTS_PER_CALL):
        stop = min(start + EVENTS_PER_CALL, events)
        given = [cut_rows(values, start, stop) for values in inputs]
        found = _called(function, given)
        lists = given[objects_of].offsets[:1] if objects_of >= 0 else ()
        parts.append(_demanded(function, found, lists, stop - start))
        tick()
    return joined(parts)


def awkward_of(values: Ragged) -> ak.Array:
    """A column as an awkward array, without a copy: others use it too, so it cannot be written."""
    arrays = {
        name: ak.contents.NumpyArray(_read_only(array)) for name, array in values.content.items()
    }
    layout = (
        arrays[""] if "" in arrays else ak.contents.RecordArray(list(arrays.values()), list(arrays))
    )
    for offsets in reversed(values.offsets):
        layout = ak.contents.ListOffsetArray(ak.index.Index64(_read_only(offsets)), layout)
    return ak.Array(layout)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _called(function: InstalledFunction, inputs: Sequence[Ragged]) -> Any:
    try:
        return function.call(*(awkward_of(values) for values in inputs))
    except (Exception, SystemExit) as error:
        log.exception("the function of %s failed (%s)", function.name, function.source)
        said = " ".join(str(error).split())
        raise _failed(function, f"failed: {type(error).__name__}: {said}") from None


def _demanded(function: InstalledFunction, found: Any, lists: Sequence[Any], events: int) -> Ragged:
    """What a function gave, if it is what it declared."""
    try:
        values = ragged_from_layout(ak.to_packed(ak.Array(found)).layout)
    except (TypeError, ValueError) as error:
        raise _failed(function, f"gave no numbers: {' '.join(str(error).split())}") from None
    if len(values.offsets) != len(lists) or set(values.content) != {""} or len(values) != events:
        wanted = f"one value for each {function.collection or 'event'}"
        raise _failed(function, f"gave {len(values)} of depth {values.depth}, not {wanted}")
    for mine, theirs in zip(values.offsets, lists, strict=True):
        if not np.array_equal(mine, theirs):
            raise _failed(function, f"gave other numbers of {function.collection} than there are")
    if not np.can_cast(values.values.dtype, function.dtype, "same_kind"):
        raise _failed(function, f"gave {values.values.dtype}, not {function.dtype}")
    too_large = _outside(values.values, np.dtype(function.dtype))
    if too_large is not None:
        raise _failed(function, f"gave {too_large}, which {function.dtype} cannot hold")
    # Copied: the function may write its next values to the same place.
    return Ragged(tuple(lists), {"": values.values.astype(function.dtype)})


def _outside(values: NDArray[Any], dtype: np.dtype[Any]) -> Any:
    """A value beyond what a type can hold, None if there is none; NaN and inf fit any float."""
    if np.can_cast(values.dtype, dtype, "safe"):
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            outside = np.isinf(values.astype(dtype)) & np.isfinite(values)
    else:
        limits = np.iinfo(dtype)
        outside = (values < limits.min) | (values > limits.max)
    return values[outside][0] if outside.any() else None


def _failed(function: InstalledFunction, what: str) -> FunctionFailed:
    return FunctionFailed(f"The function of {function.name}, by {function.author}, {what}.")
