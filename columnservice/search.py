"""Choosing Columns from a list and ordering it: the same in the service, the client and a terminal.

Knows Columns; neither HTTP nor how a list is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from columnservice.errors import nearest
from columnservice.model import BY_LABEL, Column, Origin, Support

Order = Literal["name", "cost"]
_FROM_FILES = ("local", "parent", "reference")
_MOST_SHOWN = 100


@dataclass(frozen=True)
class ColumnFilter:
    """Which Columns of a list are wanted, and in which order; what is None does not restrict.

    Attributes:
        match: a pattern for names (``Muon_*``), or text in name, description or source.
        origin: where they come from.
        collection: the name of their collection, or a pattern for it.
        support: whether they can be delivered.
        sort: ``name``, or ``cost`` for the dearest first and those of unknown cost last; None keeps
            the list's order.
    """

    match: str | None = None
    origin: Origin | None = None
    collection: str | None = None
    support: Support | None = None
    sort: Order | None = None

    def choose(self, columns: Iterable[Column]) -> tuple[Column, ...]:
        """The Columns that are wanted, in order."""
        found = [column for column in columns if self._wants(column)]
        if self.sort == "name":
            found.sort(key=lambda column: column.name)
        elif self.sort == "cost":
            found.sort(key=lambda c: (c.cost_bytes is None, -(c.cost_bytes or 0)))
        return tuple(found)

    def _wants(self, column: Column) -> bool:
        return (
            (self.match is None or matches(column, self.match))
            and self.origin in (None, column.origin)
            and self.support in (None, column.support)
            and (self.collection is None or fnmatchcase(column.collection or "", self.collection))
        )


def matches(column: Column, text: str) -> bool:
    """Whether a name is like a pattern, or name, description or source hold a text."""
    word = text.lower()
    return fnmatchcase(column.name, text) or any(
        word in part.lower() for part in (column.name, column.doc, column.source)
    )


def unknown_text(name: str, columns: Iterable[Column]) -> str:
    """What a message on a name that no Column has ends with: the nearest ones; where labels end.

    Empty where nothing is like it.
    """
    known = list(columns)
    told = [near] if (near := nearest(name, (column.name for column in known))) else []
    collection = name.partition("_")[0]
    if any(c.collection == collection and c.reason.startswith(BY_LABEL) for c in known):
        told.append(
            f"Of values that {collection} keeps under labels, those are offered whose label stands "
            "in some file's first 100 events that have any, or in its last 100."
        )
    return " ".join(told)


def cost_text(column: Column) -> str:
    """A Column's cost for readers: ``87.5 B``, ``1.2 kB``; empty where it is not known."""
    cost = column.cost_bytes
    if cost is None:
        return ""
    return f"{cost:.1f} B" if cost < 1000 else f"{cost / 1000:.1f} kB"


def source_text(column: Column) -> str:
    """Where a Column comes from, for readers: its origin, and what it is made from.

    Branches without the path to them; an expression as it is, or its beginning.
    """
    source = column.source
    if column.origin in _FROM_FILES:
        parts = [part.rpartition("/")[2] for part in source.split(", ")]
        source = ", ".join(dict.fromkeys(part for part in parts if part))
    elif len(source) > _MOST_SHOWN:
        source = source[: _MOST_SHOWN - 1] + "…"
    return f"{column.origin}: {source}" if source else column.origin
