"""The layouts of a Dataset's Files, each told what only the others know: names that are data.

A file whose first events hold no tau cannot list the IDs of taus; a file without parameter sets
cannot name trigger paths. Its layout says so (``OfferedColumn.unlisted``) and how such a value is
read, so it gets the Columns that layouts with names offer of the same store. What comes of it is
right or refused: a label that an object lacks is NaN (an integer the smallest of its type), as in a
file that lists it, and an event with another trigger menu than those named is an error. A file that
lists names, but not this one, still lacks the Column.

Asks the catalogue; opens no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from columnservice.catalogue.store import Catalogue
from columnservice.model import ColumnSet, OfferedColumn, Recipe

Layouts = tuple[tuple[ColumnSet, int], ...]


def layouts_of(catalogue: Catalogue, dataset: str) -> Layouts:
    """(ColumnSet, number of Files with it) as ``Catalogue.columnsets``, each completed."""
    return catalogue.derived(
        "completed layouts", (dataset,), lambda: completed(catalogue.columnsets(dataset))
    )


def recipes_of(catalogue: Catalogue, dataset: str) -> Mapping[str, Mapping[str, Recipe]]:
    """Digest of a layout → Column name → how Files of that layout have it read."""

    def make() -> Mapping[str, Mapping[str, Recipe]]:
        return {
            layout.digest: {o.column.name: o.recipe for o in layout.columns if o.recipe}
            for layout, _ in layouts_of(catalogue, dataset)
        }

    return catalogue.derived("recipes", (dataset,), make)


def completed(layouts: Sequence[tuple[ColumnSet, int]]) -> Layouts:
    """Layouts with the Columns that they could not know.

    Args:
        layouts: ColumnSets, each with the number of Files that have it.
    """
    if not any(o.unlisted for layout, _ in layouts for o in layout.columns):
        return tuple(layouts)
    named, reasons = _named([layout for layout, _ in layouts])
    return tuple(
        (replace(layout, columns=(*_told(layout, reasons), *_added(layout, named))), count)
        for layout, count in layouts
    )


def _named(
    layouts: Sequence[ColumnSet],
) -> tuple[dict[str, dict[str, OfferedColumn]], dict[str, str]]:
    """Store → Column name → the Column that layouts with names offer of it; store → its reason.

    Of trigger paths the menus of all layouts are put together.
    """
    found: dict[str, dict[str, OfferedColumn]] = {}
    reasons: dict[str, str] = {}
    for layout in layouts:
        stores = {
            o.column.source: o.column
            for o in layout.columns
            if o.recipe is None and o.unlisted is None
        }
        for offered in layout.columns:
            store = stores.get(offered.column.source)
            if store is None or offered.recipe is None or not offered.recipe.parameters:
                continue
            known = found.setdefault(store.name, {})
            known[offered.column.name] = _joined(known.get(offered.column.name), offered)
            reasons.setdefault(store.name, store.reason)
    return found, reasons


def _told(layout: ColumnSet, reasons: Mapping[str, str]) -> Iterator[OfferedColumn]:
    """A layout's own Columns, its stores with the reason that layouts with names give."""
    for offered in layout.columns:
        reason = reasons.get(offered.column.name)
        if offered.unlisted is None or reason is None:
            yield offered
        else:
            yield replace(offered, column=replace(offered.column, reason=reason))


def _joined(known: OfferedColumn | None, offered: OfferedColumn) -> OfferedColumn:
    """What is known of a name, with what another layout tells of it."""
    if known is None or known.recipe is None or offered.recipe is None:
        return offered
    if known.recipe.decode != "trigger_path" or offered.recipe.decode != "trigger_path":
        return known
    menus = dict(offered.recipe.parameters) | dict(known.recipe.parameters)
    recipe = replace(known.recipe, parameters=tuple(sorted(menus.items())))
    return replace(known, recipe=recipe)


def _added(
    layout: ColumnSet, named: Mapping[str, Mapping[str, OfferedColumn]]
) -> Iterator[OfferedColumn]:
    taken = {offered.column.name for offered in layout.columns}
    for store in layout.columns:
        how = store.unlisted
        if how is None:
            continue
        for name, offered in named.get(store.column.name, {}).items():
            recipe = offered.recipe
            if name in taken or recipe is None or recipe.decode != how.decode:
                continue
            taken.add(name)
            column = replace(offered.column, source=store.column.source)
            # How values are found in objects is the file's own; the label is what others tell.
            label = [p for p in recipe.parameters if not p[0].startswith(("#", ">"))]
            parameters = (*how.parameters, *label)
            yield OfferedColumn(column, replace(how, column=name, parameters=parameters))
