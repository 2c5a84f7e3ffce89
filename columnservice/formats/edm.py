"""EDM files (CMS AOD and MiniAOD): members of products as Columns.

Objects that CMSSW packs are offered decoded, as the naming table in ``formats.packed`` says, and as
they are under ``<collection>Raw``; everything else is offered as it is, ``<label>_<member>``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from columnservice.formats.auxiliary import EVENTS
from columnservice.formats.byname import data_names, labelled, path_stores, results
from columnservice.formats.candidates import associated
from columnservice.formats.decode import DECODERS
from columnservice.formats.discovery import Readable, Refused
from columnservice.formats.lines import Line, fields_of
from columnservice.formats.members import MEMBERS
from columnservice.formats.packed import COLLECTIONS, LINES, RAW_MEMBERS, decoded_fields
from columnservice.formats.places import Names, place_of
from columnservice.formats.pointers import pointed
from columnservice.formats.products import (
    Leaf,
    Product,
    base_names,
    camel,
    own_parts,
    products,
    reading_cost,
)
from columnservice.formats.streamed import ONE, parameters_of
from columnservice.formats.triggers import is_trigger_results
from columnservice.formats.wholes import OFFERED, with_members
from columnservice.model import BranchRead, Column, Member, OfferedColumn, Recipe

if TYPE_CHECKING:
    from uproot import TTree


def _raw_column(leaf: Leaf, product: Product, base: str, names: Names) -> OfferedColumn:
    """The Column of a branch as it is."""
    place = place_of(leaf, product, base, names)
    doc = f"{product.name.friendly_class} {leaf.member}" if product.name else leaf.path
    if isinstance(leaf.found, Refused):
        by_path = "offered path by path, and by number as a list of bits"
        reason = by_path if is_trigger_results(leaf) else leaf.found.reason
        whole = any(one.path == leaf.path and one.taken is not None for one in product.leaves)
        if whole and leaf.taken is None:
            reason = OFFERED
        column = Column(
            place.name, (), 0, place.collection, place.field, doc=doc, source=_source(leaf),
            support="unsupported", reason=reason,
        )  # fmt: skip
        return OfferedColumn(column, None, unlisted=_undescribed(place.name, leaf))
    column = Column(
        place.name, leaf.found.members, leaf.found.depth, place.collection, place.field,
        place.shape, doc=doc, source=_source(leaf),
    )  # fmt: skip
    return OfferedColumn(column, _recipe(place.name, (leaf,)))


def _undescribed(name: str, leaf: Leaf) -> Recipe | None:
    """How members of objects are read that only other files describe; None if this one does."""
    if not leaf.undescribed:
        return None
    beside = () if leaf.outer is None else (BranchRead(leaf.outer),)
    return Recipe(name, (BranchRead(leaf.path, raw=True), *beside), "no_objects")


def _source(leaf: Leaf) -> str:
    """Where a leaf's values come from: a branch, or a member of the objects that it holds whole."""
    name = leaf.taken.name if leaf.taken else ""
    return f"{leaf.path}:{name}" if name else leaf.path


def _recipe(
    name: str, leaves: Sequence[Leaf], decode: str = "as_is",
    parameters: tuple[tuple[str, float], ...] = (),
) -> Recipe:  # fmt: skip
    """How a Column is made of branches, or of members of the objects that they hold whole.

    Args:
        name: of the Column.
        leaves: in the order that the decoder takes them; all of one kind.
        decode, parameters: the decoder and its parameters.
    """
    taken = [leaf.taken for leaf in leaves if leaf.taken is not None]
    if not taken:
        return Recipe(name, tuple(BranchRead(leaf.path) for leaf in leaves), decode, parameters)
    reads = tuple(BranchRead(leaf.path, raw=True) for leaf in leaves)
    if leaves[0].outer is not None:
        reads = (*reads, BranchRead(leaves[0].outer))
        found = leaves[0].found
        if isinstance(found, Readable) and found.depth == 1:
            parameters = (*parameters, (ONE, 0.0))
    if decode == "counts":
        return Recipe(name, reads, "streamed_counts", parameters_of(taken))
    then = "" if decode == "as_is" else decode
    return Recipe(name, reads, "streamed", parameters_of(taken, then, parameters))


def _counts(shape: str, leaves: Iterable[Leaf], names: Names) -> OfferedColumn:
    """The counts of a shape, from its cheapest member: least nested, then smallest item."""

    cheapest = min(leaves, key=reading_cost)
    name = names.column("n" + shape)
    column = Column(
        name, (Member("", "int32"),), 0, counts_of=shape, doc=f"number of {shape}",
        source=cheapest.path,
    )  # fmt: skip
    return OfferedColumn(column, _recipe(name, (cheapest,), "counts"))


def _of_line(line: Line, name: str, place: Column, leaves: Mapping[str, Leaf]) -> OfferedColumn:
    """The Column of one line of a naming table.

    Args:
        line: of ``formats.packed`` or ``formats.members``.
        name: of the Column.
        place: gives depth, collection and shape.
        leaves: by the names that the line uses.
    """
    sources = [leaves[member] for member in line.names]
    found = sources[0].found
    members = DECODERS[line.decode].members
    if members is None:
        assert isinstance(found, Readable)
        members = found.members
    reads = tuple(
        BranchRead(leaf.path, raw=member in RAW_MEMBERS)
        for member, leaf in zip(line.names, sources, strict=True)
    )
    source = ", ".join(map(_source, sources))
    column = replace(
        place, name=name, members=members, field=line.field, doc=line.doc, source=source
    )
    if sources[0].taken is not None:
        return OfferedColumn(column, _recipe(name, sources, line.decode, line.parameters))
    return OfferedColumn(column, Recipe(name, reads, line.decode, line.parameters))


def _decoded(product: Product, collection: str, names: Names) -> tuple[OfferedColumn, ...]:
    """All decoded Columns of a product of packed objects, counts first; none if it is not split."""
    assert product.name is not None
    leaves = {
        ".".join(own_parts(leaf.member)): leaf for leaf in product.leaves if leaf.vector is not None
    }
    layout = {name: le.found for name, le in leaves.items() if isinstance(le.found, Readable)}
    bytes_ = Readable((Member("", "uint8"),), 1)
    layout |= {name: bytes_ for name in RAW_MEMBERS if name in leaves}
    fields = decoded_fields(product.name.friendly_class, layout)
    if not fields:
        return ()
    readable = [leaf for leaf in leaves.values() if isinstance(leaf.found, Readable)]
    place = Column(collection, (), 1, collection, shape=collection)
    return (
        _counts(collection, readable, names),
        *(
            _of_line(line, names.column(f"{collection}_{line.field}"), place, leaves)
            for line in fields.values()
        ),
    )


def _renamed(
    product: Product, made: Mapping[str, OfferedColumn], names: Names
) -> Iterator[OfferedColumn]:
    """Columns of a product's members under the short names of ``formats.members``.

    Where a member bears the short name by itself, its Column gets the table's description.

    Args:
        product: none of packed objects.
        made: the Columns of its members as they are, by member.
        names: that are taken; the short ones are added.
    """
    objects: dict[str | None, dict[str, Leaf]] = {}
    for leaf in product.leaves:
        depth = 0 if leaf.vector is None else 1
        if isinstance(leaf.found, Readable) and leaf.found.depth == depth:
            skip = len(own_parts(leaf.vector)) if leaf.vector else 0
            member = ".".join(own_parts(leaf.member)[skip:])
            objects.setdefault(leaf.vector, {})[member] = leaf
    for leaves in objects.values():
        layout = {name: leaf.found for name, leaf in leaves.items()}
        readable = {n: found for n, found in layout.items() if isinstance(found, Readable)}
        for line in fields_of(MEMBERS, readable).values():
            source = made[leaves[line.names[0]].member].column
            collection = source.collection
            if collection is None:
                continue
            name = f"{collection}_{line.field}"
            if name == source.name and line.decode == "as_is":
                known = made[leaves[line.names[0]].member]
                yield replace(known, column=replace(source, doc=line.doc))
            elif name not in names.columns:
                yield _of_line(line, names.column(name), source, leaves)


def _plain(
    product: Product, base: str, names: Names, packed: bool, data: Mapping[str, Any]
) -> Iterator[OfferedColumn]:
    """All Columns of a product's branches as they are, each shape's counts before its first.

    Objects that CMSSW does not pack have Columns under short names and labels as well, at the end.
    """
    made = {leaf.member: _raw_column(leaf, product, base, names) for leaf in product.leaves}
    more = [] if packed else [*_renamed(product, made, names)]
    more += labelled(product, made, data["labels"], names)
    more += path_stores(product, made, data["menus"])
    more += pointed(product, made, data["candidates"], names)
    more += associated(product, made, data["candidates"], names)
    described = {offered.column.name: offered for offered in more}
    shapes: dict[str, list[Leaf]] = {}
    for leaf in product.leaves:
        shape = made[leaf.member].column.shape
        if shape is not None:
            shapes.setdefault(shape, []).append(leaf)
    for offered in made.values():
        shape = offered.column.shape
        if shape in shapes:
            yield _counts(shape, shapes.pop(shape), names)
        yield described.pop(offered.column.name, offered)
    yield from described.values()


def _keys_column() -> OfferedColumn:
    reason = "it holds the EventKeys, which every local file has as run, luminosityBlock and event"
    column = Column(EVENTS, (), 0, source=EVENTS, support="unsupported", reason=reason)
    return OfferedColumn(column, None)


def offer(tree: TTree) -> tuple[OfferedColumn, ...]:
    """Every Column of an EDM event tree: decoded ones first, then each branch as it is.

    What has names of its own in the data stands behind its branch, trigger paths at the end.
    """
    found = tuple(with_members(tree, product) for product in products(tree))
    bases = base_names(found)
    names = Names()
    data = data_names(tree)
    decoded: list[OfferedColumn] = []
    raw = [_keys_column()] if EVENTS in tree else []
    for product in found:
        base, packed = bases[product.name] if product.name else camel(product.branch), False
        if product.name is not None and product.name.friendly_class in LINES:
            base = COLLECTIONS.get(base, base)
            columns = _decoded(product, names.collection(base, product.branch), names)
            decoded += columns
            undescribed = any(leaf.undescribed for leaf in product.leaves)
            base, packed = (base + "Raw", True) if columns or undescribed else (base, False)
        raw += _plain(product, base, names, packed, data)
    return (*decoded, *raw, *results(found, bases, data["menus"], names))
