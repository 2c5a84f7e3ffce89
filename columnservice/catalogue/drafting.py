"""Defining Columns by expressions: everything is checked before anything is kept.

Asks the catalogue; opens no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.defined import defined_columns, is_computed, offered
from columnservice.catalogue.definitions import Definition
from columnservice.catalogue.naming import collection_of
from columnservice.catalogue.store import Catalogue
from columnservice.errors import BadExpression, ColumnExists, ColumnInUse, RequestError, Unavailable
from columnservice.model import FormatName, OfferedColumn
from columnservice.selection import check, names, parse
from columnservice.selection.installed import installed
from columnservice.selection.names import Names

MOST_DEFINITIONS = 1000
_ATTEMPTS = 20

Permit = Callable[[str | None], None]
"""Raises where the caller may not change what this author defined (None: what nobody defined)."""


def define(
    catalogue: Catalogue, dataset: str, draft: Definition, permit: Permit = lambda _: None
) -> Definition:
    """Check a definition and keep it, in place of one of its name.

    Args:
        catalogue: where it is kept.
        dataset: name of a local Dataset with a parent.
        draft: its expression as it was written.
        permit: asked with the author of what it replaces.

    Returns:
        What is kept: the expression with everything said that was understood, and the version.

    Raises:
        RequestError: the Dataset has no parent, or too many definitions; or the text for readers
            holds control characters.
        ColumnExists: the name is taken by another Column.
        BadExpression: the expression does not fit the Dataset's Columns, or needs itself.
        ColumnInUse: Columns that are computed from this one would not fit any more.
        Unavailable: others define Columns of this Dataset all the time.
    """
    for _ in range(_ATTEMPTS):
        checked_against = catalogue.definitions(dataset)
        permit(_author(checked_against, draft.name))
        told = _checked(catalogue, dataset, draft, checked_against)
        kept = catalogue.define(dataset, told, checked_against)
        if kept is not None:
            return kept
    raise _busy(dataset)


def _checked(
    catalogue: Catalogue, dataset: str, draft: Definition, definitions: Sequence[Definition]
) -> Definition:
    """A definition with all that was understood, if it fits these others."""
    here = catalogue.dataset(dataset)
    if here.parent is None:
        raise RequestError(
            f"{dataset} has no parent dataset, so no columns can be added to its files.",
            "Define the column on the dataset of the local files.",
        )
    about = collection_of(draft.name, here.format)
    _demand_readable(draft)
    defined = {d.name: d for d in definitions}
    known = columns_of(catalogue, dataset)
    if any(o.column.name == draft.name and not _is_of(o, defined) for o in known):
        raise ColumnExists(f"{dataset} has a column {draft.name!r} already.")
    if draft.name not in defined and len(defined) >= MOST_DEFINITIONS:
        raise RequestError(f"{dataset} has {MOST_DEFINITIONS} definitions.", "Remove some.")
    above = users(draft.name, known)
    tree = parse(draft.expression)
    for name in names(tree):
        if name == draft.name or name in above:
            raise BadExpression(
                f"{draft.name} would be computed from itself, through {name}.",
                "Use other columns, or another name.",
            )
    usable = Names.of([
        o.column for o in known
        if o.column.origin != "reference" and o.column.name not in {draft.name, *above}
    ])  # fmt: skip
    told = replace(draft, expression=check(tree, usable, draft.expression, about).text)
    offered(told, usable, here.format)
    _demand_users_fit(known, {**defined, told.name: told}, above, here.format)
    return told


def _demand_readable(draft: Definition) -> None:
    """Refuse what would steer the terminals of those who read it."""
    for what in ("author", "doc", "unit"):
        if not getattr(draft, what).isprintable():
            raise RequestError(
                f"The {what} of {draft.name} holds characters that cannot be shown.",
                "Use letters, digits and signs only: no control characters, no line breaks.",
            )


def undefine(
    catalogue: Catalogue, dataset: str, name: str, permit: Permit = lambda _: None
) -> None:
    """Forget a definition.

    Raises:
        UnknownColumn: nobody defined a Column of that name.
        ColumnInUse: other Columns are computed from it.
        Unavailable: others define Columns of this Dataset all the time.
    """
    for _ in range(_ATTEMPTS):
        known = catalogue.definitions(dataset)
        permit(_author(known, name))
        columns = columns_of(catalogue, dataset)
        above = users(name, columns)
        defined = {d.name: d for d in known}
        if above and any(o.column.name == name and _is_of(o, defined) for o in columns):
            raise ColumnInUse(f"{', '.join(above)} of {dataset} is computed from {name}.")
        if catalogue.undefine(dataset, name, known):
            return
    raise _busy(dataset)


def _author(definitions: Sequence[Definition], name: str) -> str | None:
    return next((d.author for d in definitions if d.name == name), None)


def _is_of(one: OfferedColumn, definitions: Mapping[str, Definition]) -> bool:
    """Whether a Column is that of a definition, and neither of files nor of a function."""
    if one.column.name not in definitions or not is_computed(one):
        return False
    return one.column.source not in {f.source for f in installed()[0] if f.name == one.column.name}


def _busy(dataset: str) -> Unavailable:
    return Unavailable(
        f"Others define columns of {dataset} at this moment. Nothing was changed.",
        "Try again.",
    )


def users(name: str, known: Sequence[OfferedColumn]) -> tuple[str, ...]:
    """The Columns that are computed from one, directly or through others."""
    found: dict[str, None] = {}
    reached = {name}
    while reached:
        reached = {
            o.column.name
            for o in known
            if o.derivation is not None and reached & {*o.derivation.inputs}
        } - found.keys()
        found |= dict.fromkeys(sorted(reached))
    return tuple(found)


def _demand_users_fit(
    known: Sequence[OfferedColumn],
    definitions: Mapping[str, Definition],
    above: Sequence[str],
    format_name: FormatName,
) -> None:
    if not above:
        return
    given = [o for o in known if not is_computed(o)]
    made = defined_columns(format_name, given, installed()[0], list(definitions.values()))
    for one in made:
        if one.column.name in above and one.column.support != "ok":
            raise ColumnInUse(
                f"{one.column.name} is computed from it and would not fit: {one.column.reason}."
            )
