"""Fetched columns as fields of an RNTuple, as uproot writes them.

Lists are fields of their own under their columns' names, with their counts as in NanoAOD, so that
coffea sees collections. Where a name has a dot, which RNTuples do not allow, a colon stands, as in
ATLAS's own files. Events without a parent hold empty lists, NaN, 0 or False, and the field
``hasParent`` tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from columnservice import wire
from columnservice.cli.branches import masked
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


def _name(column: Column) -> str:
    return column.name.replace(".", ":")


def _counted(columns: Sequence[Column]) -> Iterator[tuple[str, Column]]:
    """Counts that are not among the columns → a list of those that they count."""
    known = {c.name for c in columns}
    for column in columns:
        if column.depth and column.field and column.name == f"{column.shape}_{column.field}":
            name = f"n{column.shape}"
            if name not in known:
                known.add(name)
                yield name, column


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
        forms[_name(column)] = form
    forms |= {name: ak.forms.NumpyForm("int32") for name, _ in _counted(columns)}
    return ak.forms.RecordForm(list(forms.values()), list(forms))


def fields_of(columns: Sequence[Column], reply: Reply) -> ak.Array:
    """The fields of one reply, for ``extend``."""
    present = reply.has_parent
    values = {c.name: reply.values(c) for c in columns}
    found: dict[str, ak.contents.Content] = {
        wire.HAS_PARENT: ak.contents.NumpyArray(np.asarray(present, dtype=np.bool_))
    }
    for column in columns:
        ragged = values[column.name]
        if not column.depth:
            shown = {m: masked(v, present) for m, v in ragged.content.items()}
            ragged = Ragged((), shown)
        found[_name(column)] = _layout(ragged)
    for name, column in _counted(columns):
        counts = np.diff(values[column.name].offsets[0]).astype(np.int32)
        found[name] = ak.contents.NumpyArray(counts)
    return ak.Array(ak.contents.RecordArray(list(found.values()), list(found)))


def _layout(ragged: Ragged) -> ak.contents.Content:
    parts = {m: ak.contents.NumpyArray(v) for m, v in ragged.content.items()}
    layout: ak.contents.Content
    if list(parts) == [""]:
        layout = parts[""]
    else:
        layout = ak.contents.RecordArray(list(parts.values()), list(parts))
    for offsets in reversed(ragged.offsets):
        layout = ak.contents.ListOffsetArray(ak.index.Index64(offsets), layout)
    return layout
