"""The list of a Dataset's Columns as a document: what is told of each, and from what it follows.

Asks the catalogue; knows neither requests nor who asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from columnservice import wire
from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.derived import matched_with
from columnservice.catalogue.makings import makings_of, parents_state
from columnservice.catalogue.matchwords import HAS_MATCH, MATCH_COMPUTES
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.summary import MatchSum, matches_state
from columnservice.formats import format_named
from columnservice.model import Column, OfferedColumn
from columnservice.search import ColumnFilter

State: TypeAlias = tuple[tuple[tuple[int, int], ...], str]
EVERY_COLUMN = ColumnFilter()


def state_of(catalogue: Catalogue, name: str) -> State:
    """What is another one as soon as the list of a Dataset's Columns may be; ask before the list.

    It follows from the Files and definitions of the Dataset and from the Files of its parent, which
    the catalogue counts; from what examinations found of matches, which it does not; and from what
    stays as it is in a process: tables of formats, installed functions.

    Raises:
        UnknownDataset: there is none of that name.
    """
    parent = catalogue.dataset(name).parent
    names = (name,) if parent is None else (name, parent)
    return catalogue.edition(names), matches_state(catalogue, name)


def document_of(
    catalogue: Catalogue,
    name: str,
    matches: Sequence[MatchSum],
    wanted: ColumnFilter = EVERY_COLUMN,
) -> dict[str, Any]:
    """The list of those Columns of a Dataset that fit, as JSON.

    Args:
        catalogue, name: of the Dataset.
        matches: how well its objects match those of its parent.
        wanted: which Columns.

    Raises:
        UnknownDataset: there is none of that name.
    """
    # Asked before the Columns: what changes meanwhile must not be taken for known.
    parents = parents_state(catalogue, name)
    dataset = catalogue.dataset(name)
    offered = columns_of(catalogue, name)
    known = {o.column.name: o for o in offered}
    chosen = wanted.choose(o.column for o in offered)
    matched = {(m.local, m.parent): m for m in matches if dataset.parent}
    makings = makings_of(catalogue, name)
    return {
        "dataset": name,
        "format": dataset.format,
        "parent": dataset.parent,
        "parents": parents,
        "witnesses": _witnesses(dataset.format, [o.column for o in offered]),
        "columns": [told(known[c.name], known, matched, makings.get(c.name, ())) for c in chosen],
    }


def told(
    offered: OfferedColumn,
    known: Mapping[str, OfferedColumn],
    matched: Mapping[tuple[str, str], MatchSum],
    makings: Sequence[str],
) -> dict[str, Any]:
    """A Column and how it is made; with how well the objects match where it rests on that.

    Args:
        offered: the Column.
        known: all Columns of the Dataset, by name.
        matched: how well objects match, by their local and their parent collection.
        makings: digests of how the Column is made.
    """
    document, derivation = wire.column_to_json(offered.column), offered.derivation
    if makings:
        document["recipes"] = list(makings)
    if derivation is None:
        return document
    document["inputs"] = list(derivation.inputs)
    rests = derivation.compute in MATCH_COMPUTES
    found = matched.get(matched_with(offered, known)) if rests else None
    if found is None:
        return document
    document["match"] = asdict(found)
    if derivation.compute == HAS_MATCH:
        document["doc"] += f": {found.told}"
    return document


def _witnesses(format_name: str, columns: Sequence[Column]) -> list[str]:
    """The local event scalars that an upload of EventKeys should bring along for comparison."""
    form = format_named(format_name)
    named = {w.column for w in form.witnesses}
    return [
        c.name
        for c in columns
        if c.origin == "local"
        and c.type.startswith(("int", "uint", "float"))
        and (c.name in named or form.common_scalars)
    ]
