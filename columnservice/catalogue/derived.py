"""Which derived Columns a local Dataset with a parent offers.

From the tables of the formats: the fields of parent objects on the local objects that are the same.
Opens no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from columnservice.formats.matches import MATCHES, Match, parent_of, shared
from columnservice.model import (
    Column,
    Dataset,
    Derivation,
    Member,
    OfferedColumn,
    local_shape,
)

KINEMATICS = ("eta", "phi", "pt")
MATCH_VERSION = 1


def derived_columns(
    dataset: Dataset,
    parent: Dataset,
    local: Sequence[OfferedColumn],
    remote: Sequence[OfferedColumn],
) -> tuple[OfferedColumn, ...]:
    """All derived Columns, none under a name that the local files or the parents use.

    Args:
        dataset, parent: the local Dataset and its parent.
        local, remote: their own Columns.
    """
    taken = {o.column.name for o in (*local, *remote)}
    offered: dict[str, OfferedColumn] = {}
    for line in MATCHES.get((dataset.format, parent.format), ()):
        for one in _matched(line, _Side.of(line.local, local), remote):
            if one.column.name not in taken:
                offered.setdefault(one.column.name, one)
    return tuple(offered.values())


@dataclass(frozen=True)
class _Side:
    """The readable fields of one collection, one item per object, by field."""

    collection: str
    fields: Mapping[str, Column]
    counts_doc: str

    @classmethod
    def of(cls, collection: str, offered: Sequence[OfferedColumn]) -> _Side:
        columns = [o.column for o in offered if o.column.support == "ok"]
        fields = {
            c.field: c
            for c in columns
            if c.collection == collection and c.field and c.depth and c.shape
        }
        counts = next((c for c in columns if c.counts_of == collection), None)
        return cls(collection, fields, counts.doc if counts else "")

    @property
    def is_matchable(self) -> bool:
        """Whether its objects have directions and momenta."""
        return all(_is_number(self.fields.get(field), "f") for field in KINEMATICS)

    def names(self, fields: Sequence[str]) -> tuple[str, ...]:
        """Names of the Columns of some fields."""
        return tuple(self.fields[field].name for field in fields)


def _is_number(column: Column | None, kinds: str) -> bool:
    if column is None or column.depth != 1 or [m.name for m in column.members] != [""]:
        return False
    return np.dtype(column.members[0].dtype).kind in kinds


def _matched(line: Match, mine: _Side, remote: Sequence[OfferedColumn]) -> Iterator[OfferedColumn]:
    """The Columns that a match adds to a local collection; none where there is nothing to match."""
    if not mine.is_matchable:
        return
    sides = {parent: _Side.of(parent, remote) for parent in line.parents}
    parent = parent_of(line, mine.counts_doc, mine.fields, lambda p: sides[p].is_matchable)
    if parent is None:
        return
    theirs = sides[parent]
    whole = [f for f, c in mine.fields.items() if _is_number(c, "iu")]
    labels = shared(
        line.labels, whole, [f for f, c in theirs.fields.items() if _is_number(c, "iu")]
    )
    both = mine.names((*KINEMATICS, *labels)) + theirs.names((*KINEMATICS, *labels))
    window = (
        ("max_dr", line.max_dr),
        ("pt_low", line.pt_low),
        ("pt_high", line.pt_high),
        ("resolution", line.resolution),
    )
    index = f"{line.local}_{parent}Idx"

    def made(
        field: str, dtype: str, doc: str, compute: str, inputs: tuple[str, ...],
        parameters: tuple[tuple[str, float], ...] = (),
    ) -> OfferedColumn:  # fmt: skip
        name = f"{line.local}_{field}"
        column = Column(
            name, (Member("", dtype),), 1, line.local, field, local_shape(line.local), doc=doc,
            origin="derived", source=f"match of {line.local} with {parent}",
        )  # fmt: skip
        return OfferedColumn(
            column, None, Derivation(name, inputs, compute, parameters, MATCH_VERSION)
        )

    rule = (
        f"nearest in (eta, phi) within {line.max_dr}, pt ratio {line.pt_low} to {line.pt_high}"
        + (f", equal {' and '.join(labels)}" if labels else "")
    )
    yield made(
        f"{parent}Idx", "int32", f"the same object in {parent}, -1 for none ({rule})",
        "match_index", both, window,
    )  # fmt: skip
    yield made("hasMatch", "bool", f"has a match in {parent}", "has_match", (index,))
    yield made(
        "matchDR", "float32", f"distance in (eta, phi) to the match in {parent}, NaN for none",
        "match_distance", (index, *mine.names(("eta", "phi")), *theirs.names(("eta", "phi"))),
    )  # fmt: skip
    yield made(
        "matchAmbiguous", "bool", f"several candidates in {parent}, so no match is made",
        "match_ambiguous", both, window,
    )  # fmt: skip
    for field, column in theirs.fields.items():
        if field in mine.fields:
            continue
        name = f"{line.local}_{field}"
        yield OfferedColumn(
            replace(
                column, name=name, collection=line.local, field=field, origin="derived",
                shape=local_shape(line.local), source=f"{column.name} through {index}",
            ),
            None,
            Derivation(name, (index, column.name), "take_matched", (), MATCH_VERSION),
        )  # fmt: skip
