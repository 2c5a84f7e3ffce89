"""EDM files (CMS AOD and MiniAOD): members of products as Columns.

Objects that CMSSW packs are offered decoded, as the naming table in ``formats.packed`` says, and as
they are under ``<collection>Raw``; everything else is offered as it is, ``<label>_<member>``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from columnservice.formats.auxiliary import EVENTS
from columnservice.formats.decode import DECODERS
from columnservice.formats.discovery import Readable, Refused
from columnservice.formats.packed import COLLECTIONS, LINES, RAW_MEMBERS, Line, decoded_fields
from columnservice.formats.products import (
    Leaf,
    Product,
    base_names,
    camel,
    clean,
    own_parts,
    products,
)
from columnservice.model import BranchRead, Column, Member, OfferedColumn, Recipe

if TYPE_CHECKING:
    from uproot import TTree


class _Names:
    """What was given out already, so that no two Columns or collections get one name."""

    def __init__(self) -> None:
        self.columns: set[str] = set()
        self.collections: dict[str, str] = {}

    def column(self, name: str) -> str:
        """The name, or the name with a number behind it if it is taken."""
        chosen = next(n for n in _numbered(name) if n not in self.columns)
        self.columns.add(chosen)
        return chosen

    def collection(self, name: str, owner: str) -> str:
        """The same for a collection, which many Columns of one owner (a branch) share."""
        chosen = next(n for n in _numbered(name) if self.collections.get(n, owner) == owner)
        self.collections[chosen] = owner
        return chosen


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}{number}" for number in count(2))


@dataclass(frozen=True)
class Place:
    """Where a Column stands: its name, its collection and field, its shape."""

    name: str
    collection: str | None = None
    field: str | None = None
    shape: str | None = None


def _place(leaf: Leaf, product: Product, base: str, names: _Names) -> Place:
    """Name, collection and shape of a branch as it is, by where it stands in its product.

    A vector's members are fields of one collection; a list beside vectors is a collection without
    fields; numbers per event are fields of the product, unless it is itself a vector.
    """
    parts = own_parts(leaf.member)
    if leaf.vector is not None:
        vector = own_parts(leaf.vector)
        owner = f"{product.branch}.{leaf.vector}"
        collection = names.collection(camel(base, *vector), owner)
        field = "_".join(map(clean, parts[len(vector) :]))
        return Place(names.column(f"{collection}_{field}"), collection, field, collection)
    if isinstance(leaf.found, Readable) and leaf.found.depth:
        collection = names.collection(camel(base, *parts), f"{product.branch}.{leaf.member}")
        return Place(names.column(collection), collection, None, collection)
    is_vector = any(le.vector is not None and not own_parts(le.vector) for le in product.leaves)
    if not parts or parts == ["present"] or is_vector:
        return Place(names.column(camel(base, *parts)))
    field = "_".join(map(clean, parts))
    return Place(names.column(f"{base}_{field}"), base, field)


def _raw_column(leaf: Leaf, product: Product, base: str, names: _Names) -> OfferedColumn:
    """The Column of a branch as it is."""
    place = _place(leaf, product, base, names)
    doc = f"{product.name.friendly_class} {leaf.member}" if product.name else leaf.path
    if isinstance(leaf.found, Refused):
        column = Column(
            place.name, (), 0, place.collection, place.field, doc=doc, source=leaf.path,
            support="unsupported", reason=leaf.found.reason,
        )  # fmt: skip
        return OfferedColumn(column, None)
    column = Column(
        place.name, leaf.found.members, leaf.found.depth, place.collection, place.field,
        place.shape, doc=doc, source=leaf.path,
    )  # fmt: skip
    return OfferedColumn(column, Recipe(place.name, (BranchRead(leaf.path),)))


def _counts(shape: str, leaves: Iterable[Leaf], names: _Names) -> OfferedColumn:
    """The counts of a shape, from its cheapest member: least nested, then smallest item."""

    def cost(leaf: Leaf) -> tuple[int, int]:
        assert isinstance(leaf.found, Readable)
        return leaf.found.depth, leaf.found.item_bytes

    cheapest = min(leaves, key=cost)
    name = names.column("n" + shape)
    column = Column(
        name, (Member("", "int32"),), 0, counts_of=shape, doc=f"number of {shape}",
        source=cheapest.path,
    )  # fmt: skip
    return OfferedColumn(column, Recipe(name, (BranchRead(cheapest.path),), "counts"))


def _decoded_column(
    line: Line, collection: str, leaves: dict[str, Leaf], names: _Names
) -> OfferedColumn:
    """The Column of one line of the naming table."""
    sources = [leaves[name] for name in line.names]
    found = sources[0].found
    members = DECODERS[line.decode].members
    if members is None:
        assert isinstance(found, Readable)
        members = found.members
    name = names.column(f"{collection}_{line.field}")
    reads = tuple(
        BranchRead(leaf.path, raw=member in RAW_MEMBERS)
        for member, leaf in zip(line.names, sources, strict=True)
    )
    source = ", ".join(read.path for read in reads)
    column = Column(
        name, members, 1, collection, line.field, collection, None, line.doc, source=source
    )
    return OfferedColumn(column, Recipe(name, reads, line.decode, line.parameters))


def _decoded(product: Product, collection: str, names: _Names) -> tuple[OfferedColumn, ...]:
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
    return (
        _counts(collection, readable, names),
        *(_decoded_column(line, collection, leaves, names) for line in fields.values()),
    )


def _plain(product: Product, base: str, names: _Names) -> Iterator[OfferedColumn]:
    """All Columns of a product's branches as they are, each shape's counts before its first."""
    made = [(leaf, _raw_column(leaf, product, base, names)) for leaf in product.leaves]
    shapes: dict[str, list[Leaf]] = {}
    for leaf, offered in made:
        if offered.column.shape is not None:
            shapes.setdefault(offered.column.shape, []).append(leaf)
    for _, offered in made:
        shape = offered.column.shape
        if shape in shapes:
            yield _counts(shape, shapes.pop(shape), names)
        yield offered


def _keys_column() -> OfferedColumn:
    reason = "it holds the EventKeys, which every local file has as run, luminosityBlock and event"
    column = Column(EVENTS, (), 0, source=EVENTS, support="unsupported", reason=reason)
    return OfferedColumn(column, None)


def offer(tree: TTree) -> tuple[OfferedColumn, ...]:
    """Every Column of an EDM event tree: decoded ones first, then each branch as it is."""
    found = products(tree)
    bases = base_names(found)
    names = _Names()
    decoded: list[OfferedColumn] = []
    raw = [_keys_column()] if EVENTS in tree else []
    for product in found:
        base = bases[product.name] if product.name else camel(product.branch)
        if product.name is not None and product.name.friendly_class in LINES:
            base = COLLECTIONS.get(base, base)
            columns = _decoded(product, names.collection(base, product.branch), names)
            decoded += columns
            base = base + "Raw" if columns else base
        raw += _plain(product, base, names)
    return (*decoded, *raw)
