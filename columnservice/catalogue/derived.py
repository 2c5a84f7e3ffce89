"""Which derived Columns a local Dataset with a parent offers.

From the tables of the formats: the fields of parent objects on the local objects that are the same.
What cannot be offered is told with the reason. Opens no file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from columnservice.catalogue.constituents import (
    constituents,
    has_own_candidates,
    refused,
    told_apart,
)
from columnservice.catalogue.matchwords import (
    HAS_MATCH,
    MATCH_AMBIGUOUS,
    MATCH_DISTANCE,
    MATCH_INDEX,
    MATCH_VERSION,
    TAKE_MATCHED,
)
from columnservice.formats.matches import (
    COMPARABLE,
    LINK,
    MATCHES,
    Chosen,
    Match,
    is_link,
    parent_of,
    shared,
)
from columnservice.formats.storekeys import store_key
from columnservice.model import (
    REFERENCE_PREFIX,
    Column,
    Derivation,
    FormatName,
    Member,
    OfferedColumn,
    local_shape,
)

KINEMATICS = ("eta", "phi", "pt")
_MATCH_OF, _WITH, _THROUGH = "match of ", " with ", " through "


def derived_columns(
    formats: tuple[FormatName, FormatName],
    local: Sequence[OfferedColumn],
    remote: Sequence[OfferedColumn],
    layouts: Sequence[Sequence[OfferedColumn]] = (),
) -> tuple[OfferedColumn, ...]:
    """All derived Columns, none under a name that the local files use.

    They take the place of parent Columns of the same name where both files hold a collection of
    one name (``PFCands``): those of the parent belong to all its objects, not to the local ones.

    Args:
        formats: of the local Dataset and of its parent.
        local, remote: their own Columns; of the parent all, also those whose name is local.
        layouts: the Columns of each kind of local File, where these differ.
    """
    here = {o.column.name for o in local}
    there = {o.column.name for o in remote}
    found: dict[str, OfferedColumn] = {}
    for line in MATCHES.get(formats, ()):
        for one in _of_line(line, local, remote, layouts or (local,)):
            column = one.column
            own = column.collection in line.parents and column.support == "ok"
            if column.name not in here and (own or column.name not in there):
                found.setdefault(column.name, one)
    if formats != ("nanoaod", "miniaod"):
        return tuple(found.values())
    if has_own_candidates(local):
        found = {n: o for n, o in told_apart(found, remote).items() if n not in here}
    return (*found.values(), *constituents(found, here, remote))


def matched_with(offered: OfferedColumn, known: Mapping[str, OfferedColumn]) -> tuple[str, str]:
    """The local and the parent collection whose match a Column of ``MATCH_COMPUTES`` rests on.

    Args:
        offered: the Column.
        known: all Columns of the Dataset, by name.
    """
    source, derivation = offered.column.source, offered.derivation
    if derivation is not None and not source.startswith(_MATCH_OF):
        source = known[derivation.inputs[0]].column.source
    local, _, parent = source.removeprefix(_MATCH_OF).partition(_WITH)
    return local, parent


@dataclass(frozen=True)
class _Side:
    """The readable fields of one collection, one item per object, by field.

    Attributes:
        fields: its Columns.
        counts_doc: what the file says of it.
        shown: names that its Columns are asked for by.
    """

    fields: Mapping[str, Column]
    counts_doc: str
    shown: Mapping[str, str]

    @classmethod
    def of(
        cls, collection: str, offered: Sequence[OfferedColumn], local: Collection[str] = ()
    ) -> _Side:
        columns = [o.column for o in offered if o.column.support == "ok"]
        fields = {c.field: c for c in columns if c.collection == collection and c.field and c.depth}
        counts = next((c for c in columns if c.counts_of == collection), None)
        shown = {
            name: REFERENCE_PREFIX + name if name in local else name
            for name in (c.name for c in fields.values())
        }
        return cls(fields, counts.doc if counts else "", shown)

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
        """Names by which some fields are asked for."""
        return tuple(self.shown[self.fields[field].name] for field in fields)


def _of_line(
    line: Match,
    local: Sequence[OfferedColumn],
    remote: Sequence[OfferedColumn],
    layouts: Sequence[Sequence[OfferedColumn]],
) -> Iterator[OfferedColumn]:
    """The Columns that a line of the table adds; refused ones where it cannot hold for all Files.

    Where neither side has such objects there are none.
    """
    mine = _Side.of(line.local, local)
    if not mine.is_matchable:
        return
    # Parent Columns that derived ones take the place of are asked for as the parent's too.
    own = {o.column.name for o in remote if o.column.collection == line.local}
    own |= {o.column.name for o in local}
    sides = {parent: _Side.of(parent, remote, own) for parent in line.parents}
    kinds = [_Side.of(line.local, layout) for layout in layouts]
    chosen = [
        parent_of(line, kind.counts_doc, kind.fields, lambda p: sides[p].is_matchable)
        for kind in kinds
        if kind.fields
    ]
    told = [c.reason or f"objects of {c.parent}" for c in chosen]
    reason = next((c.reason for c in chosen if c.reason), "")
    if len({c.parent for c in chosen}) > 1:
        reason = f"the local files differ: {'; '.join(dict.fromkeys(told))}"
    for parent in (p for p in line.parents if sides[p].is_matchable):
        known = any(o.column.collection == parent for o in local)
        index = f"parent{parent}Idx" if known else f"{parent}Idx"
        rule = replace(chosen[0], by_link=any(c.by_link for c in chosen))
        made = _matched(line, parent, index, rule, mine, sides[parent])
        if reason:
            yield from (refused(one, reason) for one in made)
        elif parent == chosen[0].parent:
            yield from made


def _matched(
    line: Match, parent: str, index_field: str, chosen: Chosen, mine: _Side, theirs: _Side
) -> Iterator[OfferedColumn]:
    """The Columns that a match adds to a local collection."""
    prefix = mine.fields["eta"].name.removesuffix("eta")
    index = f"{prefix}{index_field}"
    yield from _evidence(line, parent, index_field, chosen, mine, theirs)
    eta = theirs.fields["eta"]
    for field, column in theirs.fields.items():
        if field in mine.fields or is_link(column):
            continue
        name = f"{prefix}{field}"
        # Where each Column is a shape of its own, it may differ in length from its collection.
        known = () if column.shape == eta.shape else theirs.names(["eta"])
        made = replace(
            column, name=name, collection=line.local, field=field, origin="derived",
            shape=local_shape(line.local), source=f"{column.name}{_THROUGH}{index}",
        )  # fmt: skip
        inputs = (index, *theirs.names([field]), *known)
        yield OfferedColumn(made, None, Derivation(name, inputs, TAKE_MATCHED, (), MATCH_VERSION))


def _evidence(
    line: Match, parent: str, index_field: str, chosen: Chosen, mine: _Side, theirs: _Side
) -> Iterator[OfferedColumn]:
    """The Columns that tell of a match itself, its index first."""
    prefix = mine.fields["eta"].name.removesuffix("eta")
    labels = shared(line.labels, mine.whole(), theirs.whole())
    both = mine.names((*KINEMATICS, *labels)) + theirs.names((*KINEMATICS, *labels))
    parameters: tuple[tuple[str, float], ...] = (
        ("max_dr", line.max_dr),
        ("pt_low", line.pt_low),
        ("pt_high", line.pt_high),
        ("resolution", line.resolution),
        ("comparable", COMPARABLE),
    )
    rule = f"nearest in (eta, phi) within {line.max_dr}, pt ratio {line.pt_low} to {line.pt_high}"
    rule += "".join(f", equal {label}" for label in labels)
    if line.in_order:
        parameters += (("in_order", True),)
        rule = f"by its place in events that lack none of the parent's, else {rule}"
    if line.kind and all(mine.holds(field, "iu") for field in LINK):
        both += mine.names(LINK)
        parameters += (("link_key", store_key(parent, line.kind)), ("by_link", chosen.by_link))
        only = " of objects whose link leads there" if chosen.by_link else ""
        rule = f"by its link, else {rule}{only}"

    def made(
        field: str, dtype: str, doc: str, compute: str, inputs: tuple[str, ...],
        parameters: tuple[tuple[str, float], ...] = (),
    ) -> OfferedColumn:  # fmt: skip
        name = f"{prefix}{field}"
        column = Column(
            name, (Member("", dtype),), 1, line.local, field, local_shape(line.local), doc=doc,
            origin="derived", source=f"{_MATCH_OF}{line.local}{_WITH}{parent}",
        )  # fmt: skip
        derivation = Derivation(name, inputs, compute, parameters, MATCH_VERSION)
        return OfferedColumn(column, None, derivation)

    index, whose = f"{prefix}{index_field}", f"the parent's {parent}"
    doc = f"the same object in {whose}, -1 for none ({rule})"
    yield made(index_field, "int32", doc, MATCH_INDEX, both, parameters)
    yield made("hasMatch", "bool", f"has a match in {whose}", HAS_MATCH, (index,))
    doc = f"distance in (eta, phi) to the match in {whose}, NaN for none"
    directions = mine.names(KINEMATICS[:2]) + theirs.names(KINEMATICS[:2])
    yield made("matchDR", "float32", doc, MATCH_DISTANCE, (index, *directions))
    doc = f"several candidates in {whose}, so that no match is made"
    yield made("matchAmbiguous", "bool", doc, MATCH_AMBIGUOUS, both, parameters)
