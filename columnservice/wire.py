"""What travels between service and client: Arrow layout, proof, and JSON shapes; used by both ends.

One Arrow stream answers one request. Its schema metadata names dataset, file and range; it holds
one record batch per Partition touched, each with metadata ``start``, ``stop``, ``missing`` and
``proof``. Columns of the same shape stand together in one ``large_list<struct<…>>`` named after the
shape; a collection without fields is a ``large_list<T>``; event scalars are flat. The column
``hasParent`` (bool, never null) says which events have a parent; the others are null everywhere.

Knows Arrow and NumPy; neither HTTP nor files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columnservice.model import Column, Keys, Member, Offsets, Ragged

HAS_PARENT = "hasParent"
VERSION = b"1"
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
MEDIA_TYPE = "application/vnd.apache.arrow.stream"

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_ABSENT = np.uint64(0xA5A5_5A5A_DEAD_BEA7)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014), in place."""
    x ^= x >> np.uint64(30)
    x *= _MIX_1
    x ^= x >> np.uint64(27)
    x *= _MIX_2
    x ^= x >> np.uint64(31)
    return x


def row_hashes(keys: Keys, present: NDArray[np.bool_], first_row: int) -> NDArray[np.uint64]:
    """One uint64 per local row: a mix of the row's number and its EventKey, or of a sentinel.

    Row ``first_row + i`` of the local file holds ``keys[i]``; where ``present[i]`` is False the
    key does not enter, so that an absent row proves its absence to be what the service meant.
    Since the row's number enters, sums of these hashes notice any exchange of rows.
    """
    row = np.arange(first_row, first_row + len(keys), dtype=np.uint64)
    h = _mix((row + np.uint64(1)) * _GOLDEN)
    run_lumi = (keys.run.astype(np.uint64) << np.uint64(32)) | keys.lumi.astype(np.uint64)
    keyed = _mix(h ^ run_lumi)
    keyed = _mix(keyed ^ keys.event.astype(np.uint64))
    return np.where(present, keyed, _mix(h ^ _ABSENT))


def checksum(hashes: NDArray[np.uint64]) -> str:
    """The proof of a range: the wrapped sum of its row hashes, as 16 hexadecimal digits."""
    return f"{int(np.add.reduce(hashes, dtype=np.uint64)):016x}"


def column_to_json(column: Column) -> dict[str, Any]:
    """A Column as the API shows it; ``type`` is added for readers."""
    return {**dataclasses.asdict(column), "type": column.type}


def column_from_json(document: Mapping[str, Any]) -> Column:
    """The Column of ``column_to_json``; unknown keys are ignored, so that servers may add some."""
    known = {f.name for f in dataclasses.fields(Column)} - {"members"}
    members = tuple(Member(m["name"], m["dtype"]) for m in document["members"])
    return Column(members=members, **{k: v for k, v in document.items() if k in known})


def arrow_item_type(members: Sequence[Member]) -> pa.DataType:
    """The Arrow type of one item: a number, or a struct of numbers without nulls."""
    kinds = [(m.name, pa.from_numpy_dtype(np.dtype(m.dtype))) for m in members]
    if len(kinds) == 1 and not kinds[0][0]:
        return kinds[0][1]
    return pa.struct([pa.field(name, kind, nullable=False) for name, kind in kinds])


def _arrow_items(column: Column, ragged: Ragged) -> pa.Array:
    arrays = [pa.array(ragged.content[m.name]) for m in column.members]
    if len(column.members) == 1 and not column.members[0].name:
        return arrays[0]
    return pa.StructArray.from_arrays(arrays, fields=list(arrow_item_type(column.members)))


def _nest(offsets: Sequence[Offsets], values: pa.Array) -> pa.Array:
    for axis in reversed(offsets):
        kind = pa.large_list(pa.field("item", values.type, nullable=False))
        values = pa.LargeListArray.from_arrays(pa.array(axis), values, type=kind)
    return values


@dataclass(frozen=True)
class Group:
    """The Columns of one shape (or one event scalar), which travel as one Arrow field."""

    name: str
    columns: tuple[Column, ...]

    @property
    def has_fields(self) -> bool:
        """Whether the items are structs of the Columns' fields."""
        return not (len(self.columns) == 1 and self.columns[0].name == self.name)


def groups(columns: Iterable[Column]) -> tuple[Group, ...]:
    """Columns by the Arrow field they travel in, in order of first appearance."""
    found: dict[str, list[Column]] = {}
    for column in columns:
        found.setdefault(column.name if column.shape is None else column.shape, []).append(column)
    return tuple(Group(name, tuple(members)) for name, members in found.items())


def encode_group(
    group: Group, columns: Mapping[str, Ragged], present: NDArray[np.bool_]
) -> tuple[pa.Field, pa.Array]:
    """One group as an Arrow field and array of ``len(present)`` events, null where absent.

    Args:
        group: the Columns that share this field.
        columns: their values by Column name; absent events hold empty lists or any number.
        present: which events have a parent, bool.
    """
    mask = None if present.all() else pa.array(~present)
    first = columns[group.columns[0].name]
    if first.depth == 0:
        column = group.columns[0]
        if len(column.members) == 1 and not column.members[0].name:
            array = pa.array(first.values, mask=None if mask is None else ~present)
        else:
            items = _arrow_items(column, first)
            array = pa.StructArray.from_arrays(items.flatten(), fields=list(items.type), mask=mask)
        return pa.field(group.name, array.type, nullable=True), array
    if group.has_fields:
        contents = [
            _nest(columns[c.name].offsets[1:], _arrow_items(c, columns[c.name]))
            for c in group.columns
        ]
        fields = [
            pa.field(c.name, a.type, nullable=False)
            for c, a in zip(group.columns, contents, strict=True)
        ]
        values = pa.StructArray.from_arrays(contents, fields=fields)
    else:
        column = group.columns[0]
        values = _nest(first.offsets[1:], _arrow_items(column, first))
    kind = pa.large_list(pa.field("item", values.type, nullable=False))
    offsets = pa.array(first.offsets[0])
    array = pa.LargeListArray.from_arrays(offsets, values, type=kind, mask=mask)
    return pa.field(group.name, kind, nullable=True), array


def encode_batch(
    columns: Sequence[Column], values: Mapping[str, Ragged], present: NDArray[np.bool_]
) -> pa.RecordBatch:
    """A record batch of ``len(present)`` events: ``hasParent`` first, then one field per group."""
    fields = [pa.field(HAS_PARENT, pa.bool_(), nullable=False)]
    arrays: list[pa.Array] = [pa.array(present)]
    for group in groups(columns):
        field, array = encode_group(group, values, present)
        fields.append(field)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def batch_metadata(start: int, stop: int, missing: int, proof: str) -> pa.KeyValueMetadata:
    """The metadata of one record batch."""
    return pa.KeyValueMetadata(
        {
            "version": VERSION.decode(),
            "start": str(start),
            "stop": str(stop),
            "missing": str(missing),
            "proof": proof,
        }
    )


def _numpy(array: pa.Array) -> NDArray[Any]:
    """An Arrow number array as NumPy: without a copy, but for bool and for nulls (filled with 0)."""
    if array.null_count:
        array = array.fill_null(pa.scalar(0).cast(array.type))
    return array.to_numpy(zero_copy_only=False)


def _decode_items(column: Column, items: pa.Array) -> dict[str, NDArray[Any]]:
    if len(column.members) == 1 and not column.members[0].name:
        return {"": _numpy(items)}
    return {m.name: _numpy(items.field(m.name)) for m in column.members}


def _unnest(array: pa.LargeListArray) -> tuple[Offsets, pa.Array]:
    """Offsets rebased to 0 and the values that they cover."""
    offsets = array.offsets.to_numpy(zero_copy_only=True)
    values = array.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    return (offsets - offsets[0] if offsets[0] else offsets), values


def decode_column(column: Column, batch: pa.RecordBatch) -> Ragged:
    """A Column's values from a record batch, views where Arrow allows; null events are empty or 0.

    The caller looks at ``hasParent`` to know which events are null.
    """
    if column.depth == 0:
        return Ragged((), _decode_items(column, batch.column(column.name)))
    assert column.shape is not None
    array = batch.column(column.shape)
    offsets, values = _unnest(array)
    axes = [offsets]
    if isinstance(values, pa.StructArray) and column.name in {f.name for f in values.type}:
        values = values.field(column.name)
    for _ in range(column.depth - 1):
        inner, values = _unnest(values)
        axes.append(inner)
    return Ragged(tuple(axes), _decode_items(column, values))
