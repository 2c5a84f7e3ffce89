"""What an RNTuple holds: every field with its item type and its list axes, from its own records.

uproot's view of the fields is not used: it joins names by dots, so that a field with a dot in its
name is not found again, and it renames what stands twice. Column types are taken from the C++ type
of the field, as a TTree of the same data would show them, whatever the columns are stored as. Knows
the schema and where clusters begin; reads no page (``reader.pages``) and means nothing by a name.
Source: ROOT's tree/ntuple/doc/BinaryFormatSpecification.md, version 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from columnservice.errors import NoTree
from columnservice.formats.discovery import Readable, Refused
from columnservice.model import Member

CLASS_NAME = "ROOT::RNTuple"
CHECKSUM_BYTES = 8

_LEAF, _COLLECTION, _RECORD, _VARIANT, _STREAMER = range(5)
_ROLES = {_VARIANT: "a variant", _STREAMER: "objects that are stored whole, by their streamer"}
_TWICE = Refused("two fields have this name")
_MAYBE = ("std::optional<", "std::unique_ptr<")
_TEXT = ("std::string", "string")
_BASE = re.compile(r":_[0-9]+")
_CARDINALITY = re.compile(r"ROOT::RNTupleCardinality<(.*)>")
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_DTYPES = {
    "bool": "bool",
    "char": "int8",
    "std::byte": "uint8",
    "float": "float32",
    "double": "float64",
    **{f"std::{kind}_t": kind for kind in _INTEGERS},
}
# Column types by number: those of offsets, and the kind of number that each other one holds.
_OFFSETS = frozenset({14, 15, 26, 27})
_KINDS = {
    **dict.fromkeys((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 18, 19, 20, 21, 22), "integer"),
    **dict.fromkeys((11, 12, 13, 23, 24, 25, 28, 29), "float"),
}


@dataclass(frozen=True)
class Axis:
    """One list axis: offsets in the columns of field ``field``, or ``size`` items each."""

    field: int | None
    size: int = 0


@dataclass(frozen=True)
class Leaf:
    """One Member of a field's items, and the field that has its column."""

    member: Member
    field: int


@dataclass(frozen=True)
class Field:
    """One field, or one that stands below it and has a name.

    Attributes:
        path: its names from the top, joined by dots; what ``BranchRead`` names it by.
        parts: its names from the top.
        typename: the C++ type of its items.
        doc: its description.
        found: what it holds, or why it is not read.
        axes: list axes, outermost first.
        leaves: where the item's Members stand.
        counts: it is the number of items on its only axis.
        is_record: it has members, which are fields of their own.
    """

    path: str
    parts: tuple[str, ...]
    typename: str
    doc: str
    found: Readable | Refused
    axes: tuple[Axis, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    counts: bool = False
    is_record: bool = False


def demand_checksum(data: NDArray[np.uint8], what: str) -> None:
    """Refuse bytes that are not what their last eight say: the XXH3 hash of those before them.

    Raises:
        ValueError: they are damaged.
    """
    body, told = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if xxhash.xxh3_64_intdigest(body.tobytes()) != int.from_bytes(told.tobytes(), "little"):
        raise ValueError(f"{what} has a wrong checksum")


class NTuple:
    """An RNTuple by the part of TTree's interface that this house uses, and its fields.

    Args:
        model: uproot's RNTuple.

    Raises:
        NoTree: it says that who does not know its features must not read it.
        AssertionError, struct.error and others that uproot raises on bytes that make no sense.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.name = str(model.header.ntuple_name)
        self.records: Sequence[Any] = model.field_records
        self.column_records: Sequence[Any] = model.column_records
        features = model.header.feature_flag | model.footer.feature_flag
        if features:
            raise NoTree(
                f"{model.file.file_path}: RNTuple {self.name!r} has features (flags {features:#x}) "
                "that are not known.",
                "Write the file with an older version of ROOT.",
            )

    @cached_property
    def cluster_starts(self) -> tuple[int, ...]:
        """First row of each cluster and, last, the number of rows."""
        return tuple(accumulate((c.num_entries for c in self._clusters()), initial=0))

    @property
    def page_lists(self) -> tuple[tuple[int, int], ...]:
        """Where the lists of pages are: (start, stop) in bytes."""
        places = (g.page_list_link.locator for g in self.model.footer.cluster_group_records)
        return tuple((place.offset, place.offset + place.num_bytes) for place in places)

    def _clusters(self) -> Sequence[Any]:
        """uproot's clusters, once the lists of pages are known to be whole: it does not look."""
        for group in self.model.footer.cluster_group_records:
            link = group.page_list_link
            chunk, _ = self.model.read_locator(link.locator, link.env_uncomp_size)
            demand_checksum(np.asarray(chunk.raw_data), "a list of pages")
        clusters: Sequence[Any] = self.model.cluster_summaries
        at = 0
        for cluster in clusters:
            if cluster.num_first_entry != at:
                raise ValueError(f"the clusters of RNTuple {self.name!r} do not follow each other")
            at += cluster.num_entries
        return clusters

    @property
    def num_entries(self) -> int:
        """Number of rows."""
        return self.cluster_starts[-1]

    def common_entry_offsets(self) -> tuple[int, ...]:
        """Rows at which every column begins a new page, as far as clusters tell."""
        return self.cluster_starts

    @cached_property
    def columns_of(self) -> Mapping[int, tuple[int, ...]]:
        """Field → numbers of its columns: one for each representation that it may be stored in."""
        found: dict[int, tuple[int, ...]] = {}
        for number, record in enumerate(self.column_records):
            found[record.field_id] = (*found.get(record.field_id, ()), number)
        return found

    @cached_property
    def fields(self) -> Mapping[str, Field]:
        """Every field by path, in file order: those with a name, at any depth.

        A record stands before its members. Of two with one path neither is read.
        """
        return _Walk(self).fields

    def described(self) -> Iterator[tuple[Any, ...]]:
        """All that decides how fields are offered and read: the schema, without pages."""
        for record in self.records:
            yield (
                record.field_name,
                record.type_name,
                record.field_desc,
                int(record.parent_field_id),
                int(record.struct_role),
                int(record.repetition),
                record.source_field_id,
            )
        yield tuple((int(c.field_id), int(c.type)) for c in self.column_records)

    def __contains__(self, path: object) -> bool:
        return path in self.fields


class _Walk:
    """All fields of an RNTuple, collected while walking down from the top ones."""

    def __init__(self, ntuple: NTuple) -> None:
        self._records = ntuple.records
        self._columns_of = ntuple.columns_of
        self._types = [int(record.type) for record in ntuple.column_records]
        self._below: dict[int, list[int]] = {}
        top = []
        for number, record in enumerate(self._records):
            if record.parent_field_id == number:
                top.append(number)
            else:
                self._below.setdefault(record.parent_field_id, []).append(number)
        self.fields: dict[str, Field] = {}
        for number in top:
            self._visit(number, (self._records[number].field_name,), ())

    def _visit(self, number: int, parts: tuple[str, ...], axes: tuple[Axis, ...]) -> Field:
        """The field of a record, with everything below it put into ``fields``."""
        doc = self._records[number].field_desc
        while True:
            record, below = self._records[number], self._below.get(number, [])
            step = self._axis(number, record, below)
            if step is None:
                break
            axes = (*axes, step) if isinstance(step, Axis) else axes
            number = below[0]
        path = ".".join(parts)
        twice = path in self.fields
        self.fields.setdefault(path, Field(path, parts, record.type_name, doc, _TWICE))
        if record.struct_role == _RECORD and not record.type_name.startswith(_MAYBE):
            found, leaves = self._record(number, parts, axes)
        else:
            found, leaves = self._leaf(number, axes)
        counts = _CARDINALITY.fullmatch(record.type_name) is not None
        if counts and isinstance(found, Readable):
            axes = (*axes, Axis(self._stored(number)))
        is_record = record.struct_role == _RECORD and bool(self._named(number))
        field = Field(path, parts, record.type_name, doc, found, axes, leaves, counts, is_record)
        self.fields[path] = replace(field, found=_TWICE, leaves=()) if twice else field
        return field

    def _stored(self, number: int) -> int:
        """The field that has the columns of this one: another one if it is projected."""
        source = self._records[number].source_field_id
        return number if source is None else int(source)

    def _axis(self, number: int, record: Any, below: list[int]) -> Axis | str | None:
        """How to step down to the only field below: a list axis, or no axis; None: stop here."""
        role = int(record.struct_role)
        if len(below) != 1 or record.type_name.startswith(_MAYBE):
            return None
        if role == _COLLECTION:
            columns = self._columns_of.get(self._stored(number), ())
            good = columns and all(self._types[c] in _OFFSETS for c in columns)
            return Axis(self._stored(number)) if good else None
        if role == _LEAF and record.repetition:
            return Axis(None, int(record.repetition))
        # An atomic or an enum has no column: the field below has it.
        return "no axis" if role == _LEAF and number not in self._columns_of else None

    def _record(
        self, number: int, parts: tuple[str, ...], axes: tuple[Axis, ...]
    ) -> tuple[Readable | Refused, tuple[Leaf, ...]]:
        """Members of a record whose items are plain numbers; each is a field of its own as well."""
        members = [
            self._visit(child, (*parts, self._records[child].field_name), axes)
            for child in self._named(number)
        ]
        if not members:
            return Refused("nothing is stored: an object without members"), ()
        leaves = []
        for field in members:
            plain = isinstance(field.found, Readable) and field.axes == axes
            if not plain or len(field.leaves) != 1 or field.leaves[0].member.name:
                return Refused("a record of records or lists: its members are offered instead"), ()
            leaf = field.leaves[0]
            leaves.append(Leaf(Member(field.parts[-1], leaf.member.dtype), leaf.field))
        return Readable(tuple(leaf.member for leaf in leaves), len(axes)), tuple(leaves)

    def _named(self, number: int) -> list[int]:
        """The members of a record, with those of its base classes first."""
        found = []
        for child in self._below.get(number, ()):
            base = _BASE.fullmatch(self._records[child].field_name)
            found += self._named(child) if base else [child]
        return found

    def _leaf(
        self, number: int, axes: tuple[Axis, ...]
    ) -> tuple[Readable | Refused, tuple[Leaf, ...]]:
        typename, stored = self._records[number].type_name, self._stored(number)
        types = {self._types[column] for column in self._columns_of.get(stored, ())}
        cardinality = _CARDINALITY.fullmatch(typename)
        dtype = _DTYPES.get(cardinality[1].strip() if cardinality else typename)
        reason = self._reason(number, dtype)
        if reason is None and dtype is not None and cardinality:
            if not axes and types and types <= _OFFSETS:
                return Readable((Member("", dtype),), 0), ()
            reason = f"counts ({typename}) of no list of an event"
        elif reason is None and dtype is not None:
            kind = "float" if np.dtype(dtype).kind == "f" else "integer"
            if types and all(_KINDS.get(one) == kind for one in types):
                member = Member("", dtype)
                return Readable((member,), len(axes)), (Leaf(member, stored),)
            reason = f"{typename} in columns of types {sorted(types)}, which do not fit"
        return Refused(reason or ""), ()

    def _reason(self, number: int, dtype: str | None) -> str | None:
        """Why a field is not read, as far as its C++ type tells; None if it may be."""
        typename = self._records[number].type_name
        role = _ROLES.get(int(self._records[number].struct_role))
        if role is not None:
            return f"{role}: only numbers are delivered"
        if typename in _TEXT:
            return "text: only numbers are delivered"
        if typename.startswith(_MAYBE):
            return f"{typename}: an item that may be absent"
        if dtype is None:
            return f"objects of type {typename or 'unknown'}: only numbers are delivered"
        return None
