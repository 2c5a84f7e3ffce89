"""Fetched columns as branches of a TTree, as uproot writes them.

Columns of one collection share one counter branch, as in NanoAOD. A TTree has no nulls: events
without a parent hold empty lists, NaN, 0 or False, and the branch ``hasParent`` tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from columnservice import wire
from columnservice.errors import RequestError
from columnservice.model import LOCAL_PREFIX, Column, Ragged

if TYPE_CHECKING:
    from columnservice.client import Reply


def collections_of(columns: Sequence[Column]) -> dict[str, str]:
    """Column → its collection, where its list is counted by a counter of that, as in NanoAOD.

    Columns that were computed for local objects are counted as these are. Of two kinds of objects
    under one name only the first are.
    """
    found: dict[str, str] = {}
    shape_of: dict[str, str] = {}
    for column in columns:
        shape = column.shape or ""
        name = shape.removeprefix(LOCAL_PREFIX)
        is_listed = column.depth and column.field and column.name == f"{name}_{column.field}"
        if is_listed and shape_of.setdefault(name, shape) == shape:
            found[column.name] = name
    return found


def _groups(columns: Sequence[Column]) -> dict[str, dict[str, tuple[Column, str]]]:
    """Record branch → its fields → (Column, Member): all that shares one counter branch."""
    found: dict[str, dict[str, tuple[Column, str]]] = {}
    collections = collections_of(columns)
    for column in columns:
        if column.depth == 0:
            continue
        plain = not column.members[0].name
        if plain and column.name in collections:
            found.setdefault(collections[column.name], {})[str(column.field)] = column, ""
        else:
            fields = {m.name: (column, m.name) for m in column.members}
            found.setdefault(column.name, {}).update(fields)
    return found


def _scalars(columns: Sequence[Column]) -> dict[str, tuple[Column, str]]:
    """Flat branch → (Column, Member); a counter branch that uproot writes itself is left out."""
    counters = {f"n{name}" for name in _groups(columns)}
    return {
        f"{c.name}_{m.name}" if m.name else c.name: (c, m.name)
        for c in columns
        if c.depth == 0 and c.name not in counters
        for m in c.members
    }


def _dtype(column: Column, member: str) -> str:
    return next(m.dtype for m in column.members if m.name == member)


def branch_types(columns: Sequence[Column]) -> dict[str, Any]:
    """Branch → its type, for ``mktree``.

    Raises:
        RequestError: a Column is nested deeper than uproot can write.
    """
    deep = [c.name for c in columns if c.depth > 1]
    if deep:
        raise RequestError(
            f"{', '.join(deep)}: lists of lists cannot be written into a TTree.",
            "Write to .arrow or .parquet, or an RNTuple with --rntuple.",
        )
    types: dict[str, Any] = {wire.HAS_PARENT: np.dtype(np.bool_)}
    for name, (column, member) in _scalars(columns).items():
        types[name] = np.dtype(_dtype(column, member))
    for name, fields in _groups(columns).items():
        if list(fields) == [""]:
            types[name] = f"var * {_dtype(*fields[''])}"
        else:
            inner = ", ".join(f"{f}: {_dtype(*source)}" for f, source in fields.items())
            types[name] = f"var * {{{inner}}}"
    return types


def branches_of(columns: Sequence[Column], reply: Reply) -> dict[str, Any]:
    """Branch → values of one reply, for ``extend``."""
    present = reply.has_parent
    values = {c.name: reply.values(c) for c in columns}
    found: dict[str, Any] = {wire.HAS_PARENT: present}
    for name, (column, member) in _scalars(columns).items():
        found[name] = masked(values[column.name].content[member], present)
    for name, fields in _groups(columns).items():
        found[name] = _lists(fields, values)
    return found


def masked(values: NDArray[Any], present: NDArray[np.bool_]) -> NDArray[Any]:
    """Numbers with NaN, 0 or False where an event has no parent."""
    if present.all():
        return values
    nothing = np.nan if values.dtype.kind == "f" else 0
    return np.where(present, values, np.array(nothing, dtype=values.dtype))


def _lists(fields: dict[str, tuple[Column, str]], values: dict[str, Ragged]) -> ak.Array:
    """One record (or plain number) per object, in lists per event."""
    contents = {f: values[column.name].content[member] for f, (column, member) in fields.items()}
    first = values[next(iter(fields.values()))[0].name]
    arrays = [ak.contents.NumpyArray(content) for content in contents.values()]
    is_plain = list(contents) == [""]
    items = arrays[0] if is_plain else ak.contents.RecordArray(arrays, list(contents))
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(first.offsets[0]), items))
