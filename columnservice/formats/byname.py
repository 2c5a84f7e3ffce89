"""EDM Columns whose names are data: values under labels, and trigger paths.

Joins what ``formats.labelsought`` and ``formats.menus`` found in a file with its branches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from columnservice.formats.discovery import Readable
from columnservice.formats.labels import MEMBERS, Labelled
from columnservice.formats.labelsought import labels_of
from columnservice.formats.menus import Menus, menus_of
from columnservice.formats.places import Names
from columnservice.formats.pointers import candidates_of
from columnservice.formats.products import (
    Leaf,
    Product,
    ProductName,
    clean,
    own_parts,
    parse_product,
    reading_cost,
)
from columnservice.formats.stores import key_of, store_parameters
from columnservice.formats.triggers import (
    NOT_THERE,
    PATHS,
    bits,
    is_trigger_results,
    path_of,
    paths,
)
from columnservice.formats.wholes import classes_of, whole_labels
from columnservice.model import BY_LABEL, BranchRead, Column, Member, OfferedColumn, Recipe

if TYPE_CHECKING:
    from uproot import TTree

Labels = Mapping[str, Sequence[str] | None]
NO_LABELS = "the events that were looked at hold no label of it"
NO_MENU = "offered by number as a list of bits; the file does not name the paths"
_TYPES = {
    "pair_float32": "float32",
    "pair_int8": "int8",
    "factor_float32": "float32",
    "label_float32": "float32",
    "label_int32": "int32",
}


_TOLD_BY_LABEL = {kind.decode for kind in MEMBERS.values()}


def product_of(column: Column) -> ProductName | None:
    """The product whose branch a Column is read from, however the Column is called."""
    parsed = parse_product(column.source.partition("/")[0])
    return None if parsed is None else parsed[0]


def meaning(offered: OfferedColumn) -> str:
    """What a Column stands for whose name is data; empty for all other Columns.

    Of a value under a label the member that it stands in, and the label; of a trigger path its name
    without the version, and the process; of trigger results by number the process.
    """
    recipe = offered.recipe
    if recipe is None:
        return ""
    if recipe.decode == "trigger_path":
        told = path_of(offered.column)
        return "" if told is None else f"path {told[0]} of process {told[1]}"
    if recipe.decode in ("trigger_bits", "trigger_counts"):
        product = product_of(offered.column)
        return "" if product is None else f"trigger results of process {product.process}"
    names = [name for name, _ in recipe.parameters]
    decode = next((name[1:] for name in names if name.startswith(">")), recipe.decode)
    label = [name for name in names if not name.startswith(("#", ">"))]
    if decode not in _TOLD_BY_LABEL or len(label) != 1:
        return ""
    return f"{re.split('[.:/]', offered.column.source)[-1]} {label[0]}"


def data_names(tree: TTree) -> dict[str, Any]:
    """Names that are data: ``labels`` by branch, ``menus`` by process if it has trigger results.

    And what the file says of classes whose objects it holds whole: ``classes`` by branch; of how
    pointers to packed candidates are marked: ``candidates``.
    """
    has_results = any(top.name.startswith("edmTriggerResults_") for top in tree.branches)
    return {
        "labels": {**labels_of(tree), **whole_labels(tree)},
        "menus": menus_of(tree) if has_results else {},
        "classes": classes_of(tree),
        "candidates": candidates_of(tree),
    }


def _sibling(product: Product, leaf: Leaf, values: str | None) -> Leaf | None:
    """The branch that is read beside a branch of labels: its values, or what counts its objects."""
    wanted = None if values is None else f"{leaf.member.rpartition('.')[0]}.{values}"
    depth = 1 if values is None else 2
    fitting = [
        other
        for other in product.leaves
        if other.vector == leaf.vector
        and isinstance(other.found, Readable)
        and other.found.depth == depth
        and wanted in (None, other.member)
    ]
    return min(fitting, key=reading_cost, default=None)


def path_stores(
    product: Product, made: Mapping[str, OfferedColumn], menus: Menus
) -> Iterator[OfferedColumn]:
    """The stores of trigger results, with how a path is read that only another file names.

    States are looked up by the hash of the event's menu: where the file tells no menus, what others
    tell of it holds here; where it tells them, they lack the path.
    """
    for leaf in product.leaves:
        if product.name is None or not is_trigger_results(leaf):
            continue
        of_process = menus.get(product.name.process, {})
        store = made[leaf.member].column
        store = store if of_process else replace(store, reason=NO_MENU)
        lacking = tuple(
            told
            for menu, listed in of_process.items()
            for told in ((menu, NOT_THERE), (f"{menu}{PATHS}", float(len(listed))))
        )
        reads = (BranchRead(leaf.path, raw=True),)
        unlisted = Recipe(store.name, reads, "trigger_path", lacking)
        yield OfferedColumn(store, None, unlisted=unlisted)


def _reading(
    product: Product, leaf: Leaf, kind: Labelled
) -> Callable[[str, tuple[tuple[str, float], ...]], Recipe] | None:
    """How a Column (its name, its label as a parameter) is read from a store; None if it is not."""
    if leaf.taken is None:
        sibling = _sibling(product, leaf, kind.values)
        if sibling is None:
            return None
        reads = (BranchRead(leaf.path, raw=True), BranchRead(sibling.path))
        return lambda name, label: Recipe(name, reads, kind.decode, label)
    store, values, whole = leaf.taken, None, (BranchRead(leaf.path, raw=True),) * 2
    if kind.values is not None:
        member = f"{leaf.member.rpartition('.')[0]}.{kind.values}"
        values = next((o.taken for o in product.leaves if o.member == member), None)
        if values is None:
            return None
    return lambda name, label: Recipe(
        name, whole, "streamed", store_parameters(kind, store, values, label)
    )


def labelled(
    product: Product, made: Mapping[str, OfferedColumn], labels: Labels, names: Names
) -> Iterator[OfferedColumn]:
    """Columns of values that a product's objects keep under labels, and a word on their store.

    The store says how a label is read that only another file names.

    Args:
        product: of objects in vectors.
        made: the Columns of its members as they are, by member.
        labels: of every branch that has some, by its path; None where it is not understood.
        names: that are taken; those of the labels are added.
    """
    for leaf in product.leaves:
        kind = MEMBERS.get(leaf.member.rpartition(".")[2])
        known = labels.get(key_of(leaf.path, leaf.member) if leaf.taken else leaf.path)
        store = made[leaf.member].column
        shape = store.collection
        if kind is None or known is None or leaf.vector is None or shape is None:
            continue
        how = _reading(product, leaf, kind)
        if how is None:
            continue
        unlisted = how(store.name, ())
        if not known:
            yield OfferedColumn(replace(store, reason=NO_LABELS), None, unlisted=unlisted)
            continue
        members = (Member("", _TYPES[kind.decode]),)
        for label in known:
            field = kind.prefix + (clean(label) or "unnamed")
            if f"{shape}_{field}" in names.columns:
                field = f"{clean(own_parts(leaf.member)[-1])}_{field}"
            name = names.column(f"{shape}_{field}")
            doc = f"{kind.doc} {label}"
            column = Column(name, members, 1, shape, field, shape, None, doc, source=store.source)
            yield OfferedColumn(column, how(name, ((label, float(kind.last)),)))
        reason = f"{BY_LABEL}: {', '.join(known)}"
        yield OfferedColumn(replace(store, reason=reason), None, unlisted=unlisted)


def results(
    found: Iterable[Product], bases: Mapping[ProductName, str], menus: Menus, names: Names
) -> Iterator[OfferedColumn]:
    """Columns of all trigger results; those of the HLT have the first choice of names."""
    here = [
        (product.name, leaf)
        for product in found
        for leaf in product.leaves
        if is_trigger_results(leaf) and product.name is not None
    ]
    for name, leaf in sorted(here, key=lambda one: one[0].process != "HLT"):
        yield from bits(leaf, bases[name], names)
        yield from paths(name.process, leaf, bases[name], menus, names)
