"""Columns as uproot and Awkward Array see them: interpretations, Forms, and arrays without copies.

Knows one Column at a time; neither files nor the service.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import uproot

from columnservice.errors import RequestError
from columnservice.model import Column, Ragged

_C_NAMES = {
    "bool": "bool",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "uint64": "uint64_t",
    "float32": "float",
    "float64": "double",
}


def is_plain(column: Column) -> bool:
    """Whether the items are numbers, not records."""
    return len(column.members) == 1 and not column.members[0].name


def typename(column: Column) -> str:
    """The C++ type as uproot writes it for a local branch of that type."""
    if is_plain(column):
        item = _C_NAMES.get(column.members[0].dtype, column.members[0].dtype)
    else:
        inner = "; ".join(f"{_C_NAMES.get(m.dtype, m.dtype)} {m.name}" for m in column.members)
        item = f"struct {{{inner}}}"
    if column.depth == 1:
        return f"{item}[]"
    return "std::vector<" * column.depth + item + ">" * column.depth


def form_of(column: Column) -> ak.forms.Form:
    """The Form of a Column: 64-bit offsets around numbers or records of numbers."""
    form: ak.forms.Form
    if is_plain(column):
        form = ak.forms.NumpyForm(column.members[0].dtype)
    else:
        contents = [ak.forms.NumpyForm(m.dtype) for m in column.members]
        form = ak.forms.RecordForm(contents, [m.name for m in column.members])
    for _ in range(column.depth):
        form = ak.forms.ListOffsetForm("i64", form)
    return form


class AsColumn(uproot.interpretation.Interpretation):  # type: ignore[misc]
    """The interpretation of what is neither a number nor a list of numbers."""

    def __init__(self, column: Column) -> None:
        self._column = column

    def __repr__(self) -> str:
        return f"AsColumn({self._column.type!r})"

    @property
    def cache_key(self) -> str:
        """Names the type, as part of keys of array caches."""
        return repr(self)

    @property
    def typename(self) -> str:
        """The C++ type."""
        return typename(self._column)

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Python objects, as for uproot's own nested types."""
        return np.dtype(object)

    def awkward_form(self, *_: Any, **__: Any) -> ak.forms.Form:
        """The Form of the Column."""
        return form_of(self._column)


def interpretation(column: Column) -> uproot.interpretation.Interpretation:
    """The same interpretation that uproot gives a local branch, where it has one."""
    if is_plain(column) and column.depth <= 1:
        number = uproot.AsDtype(np.dtype(column.members[0].dtype))
        return uproot.AsJagged(number) if column.depth else number
    return AsColumn(column)


def to_awkward(column: Column, ragged: Ragged) -> ak.Array:
    """The values as an array that shares their memory."""
    content: ak.contents.Content
    if is_plain(column):
        content = ak.contents.NumpyArray(ragged.values)
    else:
        parts = [ak.contents.NumpyArray(ragged.content[m.name]) for m in column.members]
        content = ak.contents.RecordArray(parts, [m.name for m in column.members])
    for offsets in reversed(ragged.offsets):
        content = ak.contents.ListOffsetArray(ak.index.Index64(offsets), content)
    return ak.Array(content)


def to_library(column: Column, ragged: Ragged, library: Any, branch: Any, start: int) -> Any:
    """The values as one of uproot's libraries holds them (``ak``, ``np``, ``pd``).

    Raises:
        RequestError: nested columns exist in ``ak`` only.
    """
    if library.name == "ak":
        return to_awkward(column, ragged)
    if column.depth > 1 or not is_plain(column):
        raise RequestError(
            f"{column.name} ({column.type}) cannot be given as library={library.name!r}.",
            "Ask with library='ak'.",
        )
    values = ragged.values
    if column.depth:
        flat, offsets = values, ragged.offsets[0]
        values = np.empty(len(ragged), dtype=object)
        for row in range(len(ragged)):
            values[row] = flat[offsets[row] : offsets[row + 1]]
    return library.finalize(values, branch, branch.interpretation, start, start + len(ragged), {})
