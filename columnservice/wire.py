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
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from columnservice.model import Column, Keys, Member, Offsets, Ragged

HAS_PARENT = "hasParent"
VERSION = b"1"
"""Metadata ``version`` of every batch: what a client reads must be what the service writes."""
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
MEDIA_TYPE = "application/vnd.apache.arrow.stream"
UNVERIFIED = "unverified"
"""Metadata of a batch whose parents' origin could not be asked whether they are unchanged."""
COMPRESSION_HEADER = "X-Arrow-Compression"
"""Request header: ``zstd`` or ``lz4`` for compressed Arrow buffers."""
COMPRESSIONS = ("zstd", "lz4")
UNUSABLE_PARENTS = "unusable_parents"
"""Metadata of a batch: how many files of the parent dataset cannot be used at present."""
PROBLEM = "problem"
"""Metadata of an empty last batch that says why a reply ends early (a problem document)."""
PROVENANCE = "provenance"
"""Schema metadata: JSON with ``parent`` (name), ``parents`` (lfn, uuid, size_bytes), ``take``
(digest of the TakeIndex), ``recipes`` (Column name → digests; also of the Columns that others are
computed from) and ``derived`` (Column name → names of its inputs)."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_ABSENT = np.uint64(0xA5A5_5A5A_DEAD_BEA7)
_COLUMN_FIELDS = tuple(f.name for f in dataclasses.fields(Column))


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


def keys_digest(keys: Keys, witnesses: Mapping[str, NDArray[Any]] | None = None) -> str:
    """The name of a File by its EventKeys: 32 hexadecimal digits (BLAKE2b, 16 bytes).

    Over ``eventindex1``, then all runs, lumis (little-endian uint32) and events (uint64), then
    each Witness in order of name: its name and its values as little-endian float64. Two samples
    may have the same keys; they do not have the same Witnesses.
    """
    found = hashlib.blake2b(b"eventindex1", digest_size=16)
    for values, kind in ((keys.run, "<u4"), (keys.lumi, "<u4"), (keys.event, "<u8")):
        found.update(np.ascontiguousarray(values, dtype=kind).data)
    for name, values in sorted((witnesses or {}).items()):
        found.update(name.encode() + b"\0")
        found.update(np.ascontiguousarray(values, dtype="<f8").data)
    return found.hexdigest()


def column_to_json(column: Column) -> dict[str, Any]:
    """A Column as the API shows it; ``type`` is added for readers, an unknown cost left out."""
    # asdict() copies each text: ten times as long
    document: dict[str, Any] = {name: getattr(column, name) for name in _COLUMN_FIELDS}
    document["members"] = tuple({"name": m.name, "dtype": m.dtype} for m in column.members)
    document["type"] = column.type
    if column.cost_bytes is None:
        del document["cost_bytes"]
    return document


def column_from_json(document: Mapping[str, Any]) -> Column:
    """The Column of ``column_to_json``; unknown keys are ignored, so that servers may add some."""
    told: dict[str, Any] = {name: document[name] for name in _COLUMN_FIELDS if name in document}
    told["members"] = tuple(Member(m["name"], m["dtype"]) for m in document["members"])
    return Column(**told)


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


class Written:
    """A file for Arrow's writers: what is written is handed out again, large buffers uncopied."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[Any] = []

    def write(self, data: Any) -> int:
        """Bytes, or an Arrow buffer that the caller keeps as it is."""
        self._parts.append(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> list[Any]:
        """What was written since it was last asked for: bytes and Arrow buffers."""
        taken, self._parts = self._parts, []
        return taken


def list_type(values: pa.DataType) -> pa.DataType:
    """``large_list`` of items that are never null."""
    return pa.large_list(pa.field("item", values, nullable=False))


def arrow_items(column: Column, ragged: Ragged) -> pa.Array:
    """A Column's items without the outermost jagged axis: one per object (depth 0: one per event).

    Deeper axes become ``large_list``s. No copy but for bool.
    """
    values = _arrow_items(column, ragged)
    for axis in reversed(ragged.offsets[1:]):
        values = pa.LargeListArray.from_arrays(pa.array(axis), values, type=list_type(values.type))
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


def _with_nulls(array: pa.Array, present: NDArray[np.bool_]) -> pa.Array:
    """A flat array that is null where an event is absent."""
    if present.all():
        return array
    mask = pa.array(~present)
    if isinstance(array, pa.StructArray):
        return pa.StructArray.from_arrays(array.flatten(), fields=list(array.type), mask=mask)
    return pa.compute.if_else(pa.array(present), array, pa.scalar(None, array.type))


def assemble(
    columns: Sequence[Column],
    items: Mapping[str, pa.Array],
    offsets: Mapping[str, Offsets],
    present: NDArray[np.bool_],
) -> pa.RecordBatch:
    """A record batch: ``hasParent`` first, then one field per group of Columns.

    Args:
        columns: what stands in the batch.
        items: by Column name, ``arrow_items`` of exactly these events.
        offsets: by shape, int64, ``len(present) + 1`` entries from 0 to the number of items.
        present: bool per event; where False every Column is null and lists are empty.
    """
    fields = [pa.field(HAS_PARENT, pa.bool_(), nullable=False)]
    arrays: list[pa.Array] = [pa.array(present)]
    for group in groups(columns):
        first = group.columns[0]
        if first.depth == 0:
            array = _with_nulls(items[first.name], present)
        else:
            if group.has_fields:
                kinds = [
                    pa.field(c.name, items[c.name].type, nullable=False) for c in group.columns
                ]
                values = pa.StructArray.from_arrays(
                    [items[c.name] for c in group.columns], fields=kinds
                )
            else:
                values = items[first.name]
            array = pa.LargeListArray.from_arrays(
                pa.array(offsets[group.name]),
                values,
                type=list_type(values.type),
                mask=None if present.all() else pa.array(~present),
            )
        fields.append(pa.field(group.name, array.type, nullable=True))
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def encode_batch(
    columns: Sequence[Column], values: Mapping[str, Ragged], present: NDArray[np.bool_]
) -> pa.RecordBatch:
    """``assemble`` from plain arrays: ``values`` by Column name, one row per event."""
    items = {c.name: arrow_items(c, values[c.name]) for c in columns}
    offsets = {c.shape: values[c.name].offsets[0] for c in columns if c.shape is not None}
    return assemble(columns, items, offsets, present)


def batch_metadata(
    start: int,
    stop: int,
    missing: int,
    proof: str,
    verified: bool = True,
    unusable_parents: int = 0,
) -> pa.KeyValueMetadata:
    """The metadata of one record batch.

    Args:
        start, stop: rows of the local file.
        missing: how many of them have no parent.
        proof: ``checksum`` of the rows.
        verified: whether the origins confirmed that the parent files are unchanged.
        unusable_parents: files of the parent dataset that cannot be used at present; events that
            seem to have no parent may stand in them.
    """
    about = {
        "version": VERSION.decode(),
        "start": str(start),
        "stop": str(stop),
        "missing": str(missing),
        "proof": proof,
    }
    if not verified:
        about[UNVERIFIED] = "1"
    if unusable_parents:
        about[UNUSABLE_PARENTS] = str(unusable_parents)
    return pa.KeyValueMetadata(about)


def _numpy(array: pa.Array) -> NDArray[Any]:
    """An Arrow number array as NumPy: no copy but for bool and nulls (filled with 0)."""
    if array.null_count:
        array = array.fill_null(pa.scalar(0).cast(array.type))
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def _decode_items(column: Column, items: pa.Array) -> dict[str, NDArray[Any]]:
    if len(column.members) == 1 and not column.members[0].name:
        return {"": _numpy(items)}
    return {m.name: _numpy(items.field(m.name)) for m in column.members}


def _unnest(array: pa.LargeListArray) -> tuple[Offsets, pa.Array]:
    """Offsets rebased to 0 and the values that they cover."""
    offsets = array.offsets.to_numpy(zero_copy_only=True)
    values = array.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    return (offsets - offsets[0] if offsets[0] else offsets), values


def decode_items(column: Column, items: pa.Array, *outer: Offsets) -> Ragged:
    """A Column's values from its items (``arrow_items``), views where Arrow allows.

    Args:
        column: says members and depth.
        items: one per object, or per event at depth 0.
        outer: offsets of the outermost jagged axis, if there is one, from 0.
    """
    axes = list(outer)
    for _ in range(column.depth - 1):
        inner, items = _unnest(items)
        axes.append(inner)
    return Ragged(tuple(axes), _decode_items(column, items))


def decode_column(column: Column, batch: pa.RecordBatch) -> Ragged:
    """A Column's values from a record batch, views where Arrow allows; null events are empty or 0.

    The caller looks at ``hasParent`` to know which events are null.
    """
    if column.depth == 0:
        return decode_items(column, batch.column(column.name))
    assert column.shape is not None
    array = batch.column(column.shape)
    offsets, values = _unnest(array)
    if isinstance(values, pa.StructArray) and column.name in {f.name for f in values.type}:
        values = values.field(column.name)
    return decode_items(column, values, offsets)
