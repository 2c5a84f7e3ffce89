"""What the names in an expression mean: Columns, collections, constants.

The objects of a collection are an axis. Where local files and parents both have a collection of one
name, they may hold different objects under it, so the parent's is another axis, ``parent:<name>``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from columnservice.model import LOCAL_PREFIX, Column

CONSTANTS: Mapping[str, float] = {"pi": math.pi, "inf": math.inf, "nan": math.nan}
_PARENT = "parent:"


@dataclass(frozen=True)
class Collection:
    """A group of Columns that describe the same objects, or one thing of the event.

    Attributes:
        name: as users write it.
        axis: of its objects; None for one thing per event.
        fields: name within the collection → Column.
    """

    name: str
    axis: str | None
    fields: Mapping[str, Column] = field(default_factory=dict)


def is_here(column: Column) -> bool:
    """Whether a Column describes objects as the local files hold them."""
    return column.origin == "local" or (column.shape or "").startswith(LOCAL_PREFIX)


@dataclass(frozen=True)
class Names:
    """The Columns of a Dataset as an expression sees them.

    Attributes:
        columns: by name.
        collections: by name; of two the local one.
    """

    columns: Mapping[str, Column]
    collections: Mapping[str, Collection]

    @classmethod
    def of(cls, columns: Sequence[Column]) -> Names:
        """The names that Columns give."""
        known = {c.name: c for c in columns}
        here = {c.collection for c in columns if is_here(c) and c.depth}
        fields: dict[str, dict[str, Column]] = {}
        for column in columns:
            if column.collection is None or column.field is None or not is_plain(column):
                continue
            if column.support != "ok":
                continue
            if column.collection in here and (column.depth != 1 or not is_here(column)):
                continue
            fields.setdefault(column.collection, {}).setdefault(column.field, column)
        collections = {}
        for name, members in fields.items():
            listed = [c for c in members.values() if c.depth]
            axis = name if listed else None
            alike = {f: c for f, c in members.items() if c.depth == (1 if axis else 0)}
            collections[name] = Collection(name, axis, alike)
        return cls(known, collections)

    def axis_of(self, column: Column) -> str:
        """The axis of a Column's outermost lists."""
        name = column.collection or column.shape or column.name
        found = self.collections.get(name)
        theirs = found is not None and any(is_here(c) for c in found.fields.values())
        return _PARENT + name if theirs and not is_here(column) else name

    def cheapest(self, axis: str) -> Column:
        """The Column of a collection whose lists cost the least to know."""
        fields = self.collections[axis].fields.values()
        return min(
            fields,
            key=lambda c: (c.origin == "derived", np.dtype(c.members[0].dtype).itemsize, c.name),
        )


def is_plain(column: Column) -> bool:
    """Whether a Column's items are numbers or truth values."""
    return len(column.members) == 1 and not column.members[0].name
