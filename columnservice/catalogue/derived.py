"""Which derived Columns a local Dataset with a parent offers.

From the tables of the formats: the fields of parent objects on the local objects that are the same.
Opens no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from columnservice.formats.matches import LINK, MATCHES, Match, is_link, parent_of, shared
from columnservice.formats.pointers import FIELD
from columnservice.model import (
    Column,
    Derivation,
    FormatName,
    Member,
    OfferedColumn,
    local_shape,
)

CANDIDATES, JETS = "PFCands", ("Jet", "FatJet")
KINEMATICS = ("eta", "phi", "pt")
MATCH_VERSION = 1
MATCH_INDEX, MATCH_AMBIGUOUS = "match_index", "match_ambiguous"
HAS_MATCH, MATCH_DISTANCE, TAKE_MATCHED = "has_match", "match_distance", "take_matched"
MATCH_COMPUTES = (MATCH_INDEX, MATCH_AMBIGUOUS, HAS_MATCH, MATCH_DISTANCE, TAKE_MATCHED)
"""The computations of ``delivery.compute`` that rest on a match of objects."""


def derived_columns(
    formats: tuple[FormatName, FormatName],
    local: Sequence[OfferedColumn],
    remote: Sequence[OfferedColumn],
) -> tuple[OfferedColumn, ...]:
    """All derived Columns, none under a name that the local files or the parents use.

    Args:
        formats: of the local Dataset and of its parent.
        local, remote: their own Columns.
    """
    taken = {o.column.name for o in (*local, *remote)}
    offered: dict[str, OfferedColumn] = {}
    for line in MATCHES.get(formats, ()):
        for one in _matched(line, local, remote):
            if one.column.name not in taken:
                offered.setdefault(one.column.name, one)
    if any(o.column.collection == CANDIDATES for o in remote):
        for name in (f"{jets}_{FIELD}" for jets in JETS if f"{jets}_{FIELD}" in offered):
            made = _constituents(offered[name].column)
            if not any(o.column.name in taken for o in made):
                offered.update((o.column.name, o) for o in made)
    return tuple(offered.values())


def _constituents(lists: Column) -> tuple[OfferedColumn, ...]:
    """Which packed candidates stand in which local jet, as PFNanoAOD tells it and coffea reads it.

    Args:
        lists: of the candidates' places, per jet.
    """
    group = f"{lists.collection}{CANDIDATES}"
    jets, candidates, counts = f"{group}_jetIdx", f"{group}_pFCandsIdx", f"n{group}"
    number = (Member("", "int32"),)
    told = [
        (counts, f"number of {group}", "lengths", jets),
        (jets, f"the {lists.collection} that the candidate stands in", "list_owners", lists.name),
        (candidates, f"the candidate in {CANDIDATES}", "list_items", lists.name),
    ]
    return tuple(
        OfferedColumn(
            Column(
                name, number, 0 if name == counts else 1, None if name == counts else group,
                None if name == counts else name.rpartition("_")[2],
                None if name == counts else group, group if name == counts else None,
                doc, "derived", source,
            ),
            None,
            Derivation(name, (source,), compute, (), MATCH_VERSION),
        )
        for name, doc, compute, source in told
    )  # fmt: skip


@dataclass(frozen=True)
class _Side:
    """The readable fields of one collection, one item per object, by field."""

    fields: Mapping[str, Column]
    counts_doc: str

    @classmethod
    def of(cls, collection: str, offered: Sequence[OfferedColumn]) -> _Side:
        columns = [o.column for o in offered if o.column.support == "ok"]
        fields = {c.field: c for c in columns if c.collection == collection and c.field and c.depth}
        counts = next((c for c in columns if c.counts_of == collection), None)
        return cls(fields, counts.doc if counts else "")

    @property
    def is_matchable(self) -> bool:
        """Whether its objects have directions and momenta."""
        return all(self.holds(field, "f") for field in KINEMATICS)

    def holds(self, field: str, kinds: str) -> bool:
        """Whether a field is one number per object, of these kinds of NumPy."""
        column = self.fields.get(field)
        if column is None or column.depth != 1 or [m.name for m in column.members] != [""]:
            return False
        return np.dtype(column.members[0].dtype).kind in kinds

    def whole(self) -> list[str]:
        """The fields that are one whole number per object."""
        return [field for field in self.fields if self.holds(field, "iu")]

    def names(self, fields: Sequence[str]) -> tuple[str, ...]:
        """Names of the Columns of some fields."""
        return tuple(self.fields[field].name for field in fields)


def _matched(
    line: Match, local: Sequence[OfferedColumn], remote: Sequence[OfferedColumn]
) -> Iterator[OfferedColumn]:
    """The Columns that a match adds to a local collection; none where there is nothing to match."""
    mine = _Side.of(line.local, local)
    sides = {parent: _Side.of(parent, remote) for parent in line.parents}
    if not mine.is_matchable:
        return
    parent = parent_of(line, mine.counts_doc, mine.fields, lambda p: sides[p].is_matchable)
    if parent is None:
        return
    theirs = sides[parent]
    prefix = mine.fields["eta"].name.removesuffix("eta")
    index = f"{prefix}{parent}Idx"
    yield from _evidence(line, parent, prefix, mine, theirs)
    eta = theirs.fields["eta"]
    for field, column in theirs.fields.items():
        if field in mine.fields or is_link(column):
            continue
        name = f"{prefix}{field}"
        # Where each Column is a shape of its own, it may differ in length from its collection.
        known = () if column.shape == eta.shape else (eta.name,)
        made = replace(
            column, name=name, collection=line.local, field=field, origin="derived",
            shape=local_shape(line.local), source=f"{column.name} through {index}",
        )  # fmt: skip
        inputs = (index, column.name, *known)
        yield OfferedColumn(made, None, Derivation(name, inputs, TAKE_MATCHED, (), MATCH_VERSION))


def _evidence(
    line: Match, parent: str, prefix: str, mine: _Side, theirs: _Side
) -> Iterator[OfferedColumn]:
    """The Columns that tell of a match itself, its index first."""
    labels = shared(line.labels, mine.whole(), theirs.whole())
    both = mine.names((*KINEMATICS, *labels)) + theirs.names((*KINEMATICS, *labels))
    parameters: tuple[tuple[str, float], ...] = (
        ("max_dr", line.max_dr),
        ("pt_low", line.pt_low),
        ("pt_high", line.pt_high),
        ("resolution", line.resolution),
    )
    rule = f"nearest in (eta, phi) within {line.max_dr}, pt ratio {line.pt_low} to {line.pt_high}"
    rule += "".join(f", equal {label}" for label in labels)
    if all(mine.holds(field, "iu") for field in LINK):
        both += mine.names(LINK)
        parameters += (("linked", True),)
        rule = f"by its link, else {rule}"

    def made(
        field: str, dtype: str, doc: str, compute: str, inputs: tuple[str, ...],
        parameters: tuple[tuple[str, float], ...] = (),
    ) -> OfferedColumn:  # fmt: skip
        name = f"{prefix}{field}"
        column = Column(
            name, (Member("", dtype),), 1, line.local, field, local_shape(line.local), doc=doc,
            origin="derived", source=f"match of {line.local} with {parent}",
        )  # fmt: skip
        derivation = Derivation(name, inputs, compute, parameters, MATCH_VERSION)
        return OfferedColumn(column, None, derivation)

    index = f"{prefix}{parent}Idx"
    doc = f"the same object in {parent}, -1 for none ({rule})"
    yield made(f"{parent}Idx", "int32", doc, MATCH_INDEX, both, parameters)
    yield made("hasMatch", "bool", f"has a match in {parent}", HAS_MATCH, (index,))
    doc = f"distance in (eta, phi) to the match in {parent}, NaN for none"
    directions = mine.names(KINEMATICS[:2]) + theirs.names(KINEMATICS[:2])
    yield made("matchDR", "float32", doc, MATCH_DISTANCE, (index, *directions))
    doc = f"several candidates in {parent}, so that no match is made"
    yield made("matchAmbiguous", "bool", doc, MATCH_AMBIGUOUS, both, parameters)
