"""The packed candidates that local objects are made of, as places that coffea resolves.

The parent counts places in its own ``PFCands``; coffea looks them up in the collection of that name
in its events. Where the local files have ``PFCands`` of their own, the parent's numbers would name
other particles there, so they become places in the local collection, by its match, or are refused.
Opens no file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from columnservice.catalogue.matchwords import MATCH_INDEX, MATCH_VERSION, TAKE_RENUMBERED
from columnservice.formats.pointers import FIELD, holds_places
from columnservice.model import REFERENCE_PREFIX, Column, Derivation, Member, OfferedColumn

CANDIDATES, JETS = "PFCands", ("Jet", "FatJet")
_APART = f"places in the parent's {CANDIDATES}, and the local files have {CANDIDATES} of their own"

Found = Mapping[str, OfferedColumn]


def refused(offered: OfferedColumn, reason: str) -> OfferedColumn:
    """A Column that cannot be delivered, with the reason."""
    return OfferedColumn(replace(offered.column, support="unsupported", reason=reason), None)


def has_own_candidates(local: Sequence[OfferedColumn]) -> bool:
    """Whether local files, or some of them, have packed candidates of their own."""
    return any(CANDIDATES in (o.column.collection, o.column.counts_of) for o in local)


def told_apart(found: Found, remote: Sequence[OfferedColumn]) -> dict[str, OfferedColumn]:
    """Derived Columns, none of which holds places in the parent's candidates.

    Args:
        found: derived Columns by name.
        remote: the parent's Columns; those of them that hold such places are refused.
    """
    places = {o.column.name: o for o in remote if holds_places(o.column) and o.recipe is not None}
    index = next(
        (
            name
            for name, o in found.items()
            if o.column.collection == CANDIDATES
            and o.derivation is not None
            and o.derivation.compute == MATCH_INDEX
        ),
        None,
    )
    made = {}
    for name, offered in found.items():
        derivation = offered.derivation
        if not holds_places(offered.column) or derivation is None:
            made[name] = offered
        elif index is None:
            made[name] = refused(offered, f"{_APART} that have no match")
        else:
            inputs = tuple(REFERENCE_PREFIX + i if i in places else i for i in derivation.inputs)
            more = f"; places in the local {CANDIDATES}, -1 for what is not known to be there"
            column = replace(offered.column, doc=offered.column.doc + more)
            again = Derivation(name, (*inputs, index), TAKE_RENUMBERED, (), MATCH_VERSION)
            made[name] = OfferedColumn(column, None, again)
    return made | {name: refused(o, _APART) for name, o in places.items()}


def constituents(
    found: Found, local: Collection[str], remote: Sequence[OfferedColumn]
) -> Iterator[OfferedColumn]:
    """Which packed candidates stand in which local jet, as PFNanoAOD tells it and coffea reads it.

    Args:
        found: derived Columns by name.
        local: names of the local Columns; jets of which they tell it themselves are left out.
        remote: the parent's Columns.
    """
    taken = {*local, *(o.column.name for o in remote)}
    if not any(o.column.collection == CANDIDATES for o in remote):
        return
    for lists in (found[name] for j in JETS if (name := f"{j}_{FIELD}") in found):
        made = [*_of_jets(lists.column)]
        if any(o.column.name in taken for o in made):
            continue
        bad = lists.column.support != "ok"
        yield from (refused(o, lists.column.reason) for o in made) if bad else made


def _of_jets(lists: Column) -> Iterator[OfferedColumn]:
    """Of the candidates' places, per jet: the jet and the candidate of each pair."""
    group = f"{lists.collection}{CANDIDATES}"
    jets, candidates, counts = f"{group}_jetIdx", f"{group}_pFCandsIdx", f"n{group}"
    told = [
        (counts, f"number of {group}", "lengths", jets),
        (jets, f"the {lists.collection} that the candidate stands in", "list_owners", lists.name),
        (candidates, f"the candidate in {CANDIDATES}", "list_items", lists.name),
    ]
    for name, doc, compute, source in told:
        number = (Member("", "int32"),)
        column = Column(name, number, 0, counts_of=group, doc=doc, origin="derived", source=source)
        if name != counts:
            field = name.rpartition("_")[2]
            column = replace(
                column, depth=1, collection=group, field=field, shape=group, counts_of=None
            )
        derivation = Derivation(name, (source,), compute, (), MATCH_VERSION)
        yield OfferedColumn(column, None, derivation)
