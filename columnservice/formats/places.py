"""Where the Columns of an EDM file stand: their names, collections, fields and shapes.

Knows products and their members; nothing of decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from columnservice.formats.discovery import Readable
from columnservice.formats.products import Leaf, Product, camel, clean, own_parts


class Names:
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


def place_of(leaf: Leaf, product: Product, base: str, names: Names) -> Place:
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
