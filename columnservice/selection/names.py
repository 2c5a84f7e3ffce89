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
        axis: of its objects; None for one thing per event, such as MET.
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
        axes: Column → the axis of its outermost lists, where that is known already.
    """

    columns: Mapping[str, Column]
    collections: Mapping[str, Collection]
    axes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: Sequence[Column], axes: Mapping[str, str] | None = None) -> Names:
        """The names that Columns give.

        Args:
            columns: all of a Dataset; or some, and then ``axes``.
            axes: Column → its axis as all Columns of the Dataset together tell it.
        """
        known = {c.name: c for c in columns}
        of_events = {c.collection for c in columns if c.members and not c.depth}
        here = {c.collection for c in columns if is_here(c) and c.depth} - of_events
        fields: dict[str, dict[str, Column]] = {}
        for column in columns:
            name = column.collection
            if name is None or column.field is None or column.support != "ok":
                continue
            if column.depth != (0 if name in of_events else 1) or not is_plain(column):
                continue
            if is_here(column) or name not in here:
                fields.setdefault(name, {}).setdefault(column.field, column)
        collections = {
            name: Collection(name, None if name in of_events else name, members)
            for name, members in fields.items()
        }
        return cls(known, collections, axes or {})

    def axis_of(self, column: Column) -> str:
        """The axis of a Column's outermost lists."""
        if column.name in self.axes:
            return self.axes[column.name]
        found = self.collections.get(column.collection or "")
        if found is None or found.axis is None:
            # Lists beside the scalars of an event have nothing to do with each other.
            return column.shape or column.name
        theirs = not is_here(column) and any(map(is_here, found.fields.values()))
        return _PARENT + found.name if theirs else found.name

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
