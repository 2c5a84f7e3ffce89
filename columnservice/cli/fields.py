"""Fetched columns as fields of an RNTuple, as uproot writes them.

Lists are fields of their own under their columns' names, with their counts as in NanoAOD, so that
coffea sees collections. Where a name has a dot, which RNTuples do not allow, a colon stands, as in
ATLAS's own files. Events without a parent hold empty lists, NaN, 0 or False, and the field
``hasParent`` tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from columnservice import wire
from columnservice.cli.branches import collections_of, masked
from columnservice.model import Column, Ragged

if TYPE_CHECKING:
    from columnservice.client import Reply

_NTUPLES = {"CollectionTree": "EventData"}
"""Name of an experiment's TTree → of its RNTuple, where they differ."""


def ntuple_named(tree: str) -> str:
    """What the RNTuple is called that stands for a TTree."""
    return _NTUPLES.get(tree, tree)


def ttree_named(ntuple: str) -> str:
    """What the TTree is called that stands for an RNTuple."""
    return next((tree for tree, name in _NTUPLES.items() if name == ntuple), ntuple)


def field_name(column: Column) -> str:
    """What a Column's field is called."""
    return column.name.replace(".", ":")


def _counted(columns: Sequence[Column]) -> dict[str, Column]:
    """Counts that are not among the columns → a list of those that they count."""
    known = {c.name for c in columns}
    collections = collections_of(columns)
    found: dict[str, Column] = {}
    for column in columns:
        name = f"n{collections.get(column.name)}"
        if column.name in collections and name not in known:
            found.setdefault(name, column)
    return found


def _item(column: Column) -> ak.forms.Form:
    if [m.name for m in column.members] == [""]:
        return ak.forms.NumpyForm(column.members[0].dtype)
    members = {m.name: ak.forms.NumpyForm(m.dtype) for m in column.members}
    return ak.forms.RecordForm(list(members.values()), list(members))


def field_form(columns: Sequence[Column]) -> ak.forms.RecordForm:
    """All fields and their types, for ``mkrntuple``."""
    forms: dict[str, ak.forms.Form] = {wire.HAS_PARENT: ak.forms.NumpyForm("bool")}
    for column in columns:
        form = _item(column)
        for _ in range(column.depth):
            form = ak.forms.ListOffsetForm("i64", form)
        forms[field_name(column)] = form
    forms |= {name: ak.forms.NumpyForm("int32") for name in _counted(columns)}
    return ak.forms.RecordForm(list(forms.values()), list(forms))


def fields_of(columns: Sequence[Column], reply: Reply) -> ak.Array:
    """The fields of one reply, for ``extend``."""
    present = reply.has_parent
    found: dict[str, ak.contents.Content] = {}
    for column in columns:
        ragged = reply.values(column)
        if not column.depth:
            shown = {m: masked(v, present) for m, v in ragged.content.items()}
            ragged = Ragged((), shown)
        found[field_name(column)] = layout_of(ragged)
    return with_counts(columns, found, present)


def with_counts(
    columns: Sequence[Column],
    values: Mapping[str, ak.contents.Content],
    present: NDArray[np.bool_],
) -> ak.Array:
    """Some events, as ``field_form`` says.

    Args:
        columns: all Columns.
        values: by the names of their fields.
        present: which events have a parent.
    """
    found: dict[str, ak.contents.Content] = {
        wire.HAS_PARENT: ak.contents.NumpyArray(np.asarray(present, dtype=np.bool_))
    }
    found |= {field_name(column): values[field_name(column)] for column in columns}
    for name, column in _counted(columns).items():
        counts = ak.num(ak.Array(values[field_name(column)]), axis=1)
        found[name] = ak.contents.NumpyArray(np.asarray(counts).astype(np.int32))
    return ak.Array(ak.contents.RecordArray(list(found.values()), list(found)))


def layout_of(ragged: Ragged) -> ak.contents.Content:
    """Values as awkward holds them."""
    parts = {m: ak.contents.NumpyArray(v) for m, v in ragged.content.items()}
    layout: ak.contents.Content
    if list(parts) == [""]:
        layout = parts[""]
    else:
        layout = ak.contents.RecordArray(list(parts.values()), list(parts))
    for offsets in reversed(ragged.offsets):
        layout = ak.contents.ListOffsetArray(ak.index.Index64(offsets), layout)
    return layout
