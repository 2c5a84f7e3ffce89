"""The layouts of a Dataset's Files, each told what only the others know.

Names that are data: a file whose first events hold no tau cannot list the IDs of taus; a file
without parameter sets cannot name trigger paths; menus change between files. And members of classes
that a file does not describe, since it never wrote an object of them. A layout says so
(``OfferedColumn.unlisted``) and how such values are read, so it gets the Columns that other layouts
offer of the same store. What comes of it is right or refused: a label that an object lacks is NaN
(an integer the smallest of its type), as in a file that lists it; a path that an event's menu lacks
is False, as in a file with several menus; an event with another menu than those named is an error,
and so are objects where the file was taken to have none. Names depend on what else a file holds, so
a name that a file lacks says nothing about its paths: one is False only where the file has results
of the path's process and no Column of its own for that path. A name that means one label, path or
member in one file and another in the next is refused; so is for all files the name of a path that
one file refuses, since its menu has the path without a version and with one.

Asks the catalogue; opens no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from columnservice.catalogue.store import Catalogue
from columnservice.formats.byname import meaning, product_of
from columnservice.formats.streamed import ONE
from columnservice.formats.triggers import path_of
from columnservice.model import Column, ColumnSet, OfferedColumn, Recipe

TRIGGER_PATH, NO_OBJECTS = "trigger_path", "no_objects"
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
    known = _known([layout for layout, _ in layouts])
    return _apart(
        [
            (replace(layout, columns=(*_told(layout, known), *_added(layout, known))), count)
            for layout, count in layouts
        ]
    )


def _apart(layouts: Sequence[tuple[ColumnSet, int]]) -> Layouts:
    """Layouts in which no name means one label or path here and another one there.

    Labels are cleaned to be names: ``a:b`` and ``a_b`` are one name, and a file with both calls one
    of them otherwise. So does a file whose objects have a member of the label's name, and one with
    a path in several processes.
    """
    of_data = {o.column.name for layout, _ in layouts for o in layout.columns if meaning(o)}
    meanings: dict[str, set[str]] = {}
    for layout, _ in layouts:
        for offered in layout.columns:
            name = offered.column.name
            # Lists without objects are what all of them would have.
            if name in of_data and offered.recipe and offered.recipe.decode != NO_OBJECTS:
                told = meaning(offered) or f"the branch {offered.column.source}"
                meanings.setdefault(name, set()).add(told)
    mixed = {name: ", ".join(sorted(told)) for name, told in meanings.items() if len(told) > 1}

    def refused(offered: OfferedColumn) -> OfferedColumn:
        told = mixed.get(offered.column.name)
        if told is None:
            return offered
        reason = f"it stands for different things in different files: {told}"
        column = replace(offered.column, support="unsupported", reason=reason)
        return OfferedColumn(column, None)

    return tuple(
        (replace(layout, columns=tuple(map(refused, layout.columns))) if mixed else layout, count)
        for layout, count in layouts
    )


@dataclass(frozen=True)
class _Known:
    """What all layouts together know of one store.

    Attributes:
        named: Columns of values under names, of trigger paths with the menus of all layouts.
        members: Columns of objects that are stored whole, by name.
        called: the names of all layouts for what a Column of ``named`` means.
        menus: every menu that any layout lists, as parameters of a path that is in none of them.
        reasons: of the layouts that offer some of it, why the store itself is not.
    """

    named: dict[str, OfferedColumn] = field(default_factory=dict)
    called: dict[str, set[str]] = field(default_factory=dict)
    members: dict[str, OfferedColumn] = field(default_factory=dict)
    menus: dict[str, float] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


def _key(store: Column, how: Recipe) -> str:
    """What a store is known by in all layouts.

    Trigger results by their product: a file with those of one process calls them as the next file
    does those of another. Others by name, as the members of their objects are.

    Args:
        store: the store's Column.
        how: values are read from it.
    """
    return f"{product_of(store)}" if how.decode == TRIGGER_PATH else store.name


def _known(layouts: Sequence[ColumnSet]) -> Mapping[str, _Known]:
    """By the store's key."""
    found: dict[str, _Known] = {}
    for layout in layouts:
        stores = {
            o.column.source: o
            for o in layout.columns
            if o.recipe is None and path_of(o.column) is None
        }
        for store in stores.values():
            if store.unlisted is not None and store.unlisted.decode == TRIGGER_PATH:
                known = found.setdefault(_key(store.column, store.unlisted), _Known())
                known.menus.update(store.unlisted.parameters)
        for offered in layout.columns:
            if offered.recipe is None or not offered.recipe.parameters:
                continue
            store_of_name = stores.get(offered.column.source)
            if store_of_name is not None:
                key = _key(store_of_name.column, offered.recipe)
                known = found.setdefault(key, _Known())
                name = offered.column.name
                known.called.setdefault(meaning(offered), set()).add(name)
                known.named[name] = _joined(known.named.get(name), offered)
                known.reasons.append(store_of_name.column.reason)
            store_of_object = stores.get(offered.recipe.reads[0].path)
            if store_of_object is not None and offered.recipe.decode.startswith("streamed"):
                known = found.setdefault(store_of_object.column.name, _Known())
                known.members.setdefault(offered.column.name, offered)
                known.reasons.append(store_of_object.column.reason)
    return found


def _joined(known: OfferedColumn | None, offered: OfferedColumn) -> OfferedColumn:
    """What is known of a name, with what another layout tells of it."""
    if known is None or known.recipe is None or offered.recipe is None:
        return offered
    if known.recipe.decode != TRIGGER_PATH or offered.recipe.decode != TRIGGER_PATH:
        return known
    menus = dict(offered.recipe.parameters) | dict(known.recipe.parameters)
    recipe = replace(known.recipe, parameters=tuple(sorted(menus.items())))
    return replace(known, recipe=recipe)


def _told(layout: ColumnSet, stores: Mapping[str, _Known]) -> Iterator[OfferedColumn]:
    """A layout's own Columns; stores of which it offers nothing, with the reason of others."""
    offering = {o.column.source for o in layout.columns if o.recipe is not None}
    for offered in layout.columns:
        how = offered.unlisted
        known = stores.get(_key(offered.column, how)) if how is not None else None
        if known is None or not known.reasons or offered.column.source in offering:
            yield offered
        else:
            yield replace(offered, column=replace(offered.column, reason=known.reasons[0]))


def _added(layout: ColumnSet, stores: Mapping[str, _Known]) -> Iterator[OfferedColumn]:
    taken = {offered.column.name for offered in layout.columns}
    own = {meaning(offered) for offered in layout.columns}
    for store in layout.columns:
        how = store.unlisted
        known = stores.get(_key(store.column, how)) if how is not None else None
        if how is None or known is None:
            continue
        if how.decode == NO_OBJECTS:
            found = _without_objects(store, how, known)
        elif how.decode == TRIGGER_PATH:
            found = _paths(store, how, known, own)
        else:
            found = _under_names(store, how, known)
        for offered in found:
            if offered.column.name not in taken:
                taken.add(offered.column.name)
                yield offered


def _paths(
    store: OfferedColumn, how: Recipe, known: _Known, own: Set[str]
) -> Iterator[OfferedColumn]:
    """Columns of trigger paths that a layout does not list.

    Args:
        store: of trigger results.
        how: its ``unlisted``.
        known: of the same product.
        own: what the layout's own Columns mean.
    """
    for name, offered in known.named.items():
        path = meaning(offered)
        if not path or offered.recipe is None:
            continue
        # Under another name it is in the menus, and no value follows from this name.
        if path in own or (not how.parameters and len(known.called[path]) > 1):
            continue
        # A file that lists its menus lists all of them; else the event's may be anyone's.
        others = known.menus | dict(offered.recipe.parameters)
        menus = how.parameters or tuple(sorted(others.items()))
        column = replace(offered.column, source=store.column.source)
        yield OfferedColumn(column, replace(how, column=name, parameters=menus))


def _under_names(store: OfferedColumn, how: Recipe, known: _Known) -> Iterator[OfferedColumn]:
    """Columns of values under labels that a layout does not list.

    The label itself is looked up in every object, so it is found under any name.
    """
    for name, offered in known.named.items():
        recipe = offered.recipe
        if recipe is None or recipe.decode != how.decode:
            continue
        column = replace(offered.column, source=store.column.source)
        # How values are found in objects is the file's own; the label is what others tell.
        label = [p for p in recipe.parameters if not p[0].startswith(("#", ">"))]
        yield OfferedColumn(column, replace(how, column=name, parameters=(*how.parameters, *label)))


def _without_objects(store: OfferedColumn, how: Recipe, known: _Known) -> Iterator[OfferedColumn]:
    """Columns of members of objects that a layout does not describe, since it holds none."""
    within = len(how.reads) > 1
    for name, offered in known.members.items():
        recipe, column = offered.recipe, offered.column
        assert recipe is not None
        told = dict(recipe.parameters)
        if [member.name for member in column.members] != [""]:
            continue
        if within and any(parameter.startswith(">") for parameter in told):
            continue
        parameters = [(column.members[0].dtype, float(column.depth))]
        parameters += [(ONE, 0.0)] if ONE in told else []
        here = replace(column, source=store.column.source, cost_bytes=store.column.cost_bytes)
        yield OfferedColumn(here, replace(how, column=name, parameters=tuple(parameters)))
