"""A Dataset as the client shows it, and the list of its Columns, which a notebook can display.

Knows what the service answered; what else is asked, it is handed.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from columnservice.client.coverage import Coverage, coverage_of
from columnservice.client.definitions import DefinedColumn, DefinitionList, Definitions
from columnservice.errors import UnknownColumn
from columnservice.model import Column, Origin, Support
from columnservice.search import ColumnFilter, Order, cost_text, source_text, unknown_text

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN = ("name", "type", "description", "from", "cost per event", "support")
_ROWS_SHOWN = 60
_DATASET_SHOWN = ("name", "format", "parent", "files", "events", "with a parent")


class ColumnList(Sequence[Column]):
    """Columns in the service's order; a list that can be searched by name, pattern or word."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)

    @overload
    def __getitem__(self, index: int | str) -> Column: ...
    @overload
    def __getitem__(self, index: slice) -> ColumnList: ...
    def __getitem__(self, index: int | str | slice) -> Column | ColumnList:
        if isinstance(index, str):
            for column in self._columns:
                if column.name == index:
                    return column
            raise UnknownColumn(f"No column {index!r};", unknown_text(index, self._columns) or None)
        if isinstance(index, slice):
            return ColumnList(self._columns[index])
        return self._columns[index]

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[Column]:
        return iter(self._columns)

    def __contains__(self, item: object) -> bool:
        return item in self._columns or item in self.names

    @property
    def names(self) -> list[str]:
        """The Columns' names, in order."""
        return [c.name for c in self._columns]

    def search(self, text: str) -> ColumnList:
        """The Columns whose name matches a pattern, or whose name, doc or source holds a word."""
        return self.filter(match=text)

    def filter(
        self,
        match: str | None = None,
        *,
        origin: Origin | None = None,
        collection: str | None = None,
        support: Support | None = None,
        sort: Order | None = None,
    ) -> ColumnList:
        """The Columns that fit everything that is given.

        Args:
            match: as for ``search``.
            origin: ``local``, ``parent``, ``derived``, …
            collection: its name (``PFCands``), or a pattern (``slimmed*``).
            support: ``ok`` for those that can be delivered, ``unsupported`` for the others.
            sort: ``name``, or ``cost``: the dearest first.
        """
        return ColumnList(ColumnFilter(match, origin, collection, support, sort).choose(self))

    def __repr__(self) -> str:
        shown = "\n".join(f"  {c.name}: {c.type}" for c in self._columns[:_ROWS_SHOWN])
        more = len(self) - _ROWS_SHOWN
        return f"{len(self)} columns\n{shown}" + (f"\n  … and {more} more" if more > 0 else "")

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(*_SHOWN, title=f"{len(self)} columns")
        for cells in self._cells():
            table.add_row(*(Text(cell) for cell in cells))
        return table

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in _SHOWN)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
            for cells in self._cells()
        )
        more = len(self) - _ROWS_SHOWN
        tail = f"<p>… and {more} more; use .search() or .filter()</p>" if more > 0 else ""
        return f"<table><caption>{len(self)} columns</caption><tr>{head}</tr>{rows}</table>{tail}"

    def _cells(self) -> Iterator[tuple[str, ...]]:
        for column in self._columns[:_ROWS_SHOWN]:
            support = column.support if not column.reason else f"{column.support}: {column.reason}"
            source, cost = source_text(column), cost_text(column)
            yield column.name, column.type, column.doc, source, cost, support


@dataclass(frozen=True)
class RemoteDataset:
    """A registered Dataset.

    Attributes:
        name, format, parent: as registered.
        info: all that the service says about it (files, coverage, Witnesses, failures).
    """

    name: str
    format: str
    parent: str | None
    info: Mapping[str, Any]
    _columns: Callable[[str], ColumnList]
    _definitions: Definitions

    def columns(self) -> ColumnList:
        """Its Columns, local ones and those that the service adds, asked for now.

        Raises:
            TransportError: the service did not answer.
        """
        return self._columns(self.name)

    def define(self, name: str, expression: str, *, doc: str = "", unit: str = "") -> DefinedColumn:
        """Add a column that is computed from others, for everybody; or change one of yours.

        Args:
            name: of the column: ``Muon_pfIso`` for a value per muon, ``nGoodMuon`` for one per
                event.
            expression: over columns of this Dataset, local, remote or defined:
                ``sum(PFCands_pt[dR < 0.4]) / Muon_pt``.
            doc, unit: for readers.

        Returns:
            What the service understood, with the type of the values.

        Raises:
            BadExpression: it cannot be read, or does not fit the columns; says where.
            ColumnExists: the name is taken.
            ColumnInUse: columns that are computed from this one would not fit any more.
            NotAllowed: somebody else defined it.
            TransportError: the service did not answer.
        """
        return self._definitions.define(name, expression, doc, unit)

    def undefine(self, name: str) -> None:
        """Remove a column that was defined.

        Raises:
            UnknownColumn: nobody defined it.
            ColumnInUse: other columns are computed from it.
            NotAllowed: somebody else defined it.
            TransportError: the service did not answer.
        """
        self._definitions.remove(name)

    def definitions(self) -> DefinitionList:
        """The columns that users defined, asked for now.

        Raises:
            TransportError: the service did not answer.
        """
        return self._definitions.list()

    def coverage(self) -> Coverage:
        """How many events have a parent; displays itself, and draws itself with ``.plot()``.

        Raises:
            RequestError: the Dataset has no parent, or nothing was joined yet.
        """
        return coverage_of(self.info)

    def _repr_html_(self) -> str:
        files = ", ".join(f"{n} {status}" for status, n in self.info.get("files", {}).items() if n)
        told = {
            "format": self.format,
            "parent": self.parent or "none",
            "files": files or "none",
            "events": str(self.info.get("entries", 0)),
        }
        rows = "".join(f"<tr><th>{k}</th><td>{html.escape(v)}</td></tr>" for k, v in told.items())
        return f"<table><caption>{html.escape(self.name)}</caption>{rows}</table>"

    def __repr__(self) -> str:
        parent = f", parent={self.parent!r}" if self.parent else ""
        return f"RemoteDataset({self.name!r}, format={self.format!r}{parent})"


class DatasetList(list[RemoteDataset]):
    """Datasets as a list, which a notebook shows as a table."""

    def _cells(self) -> Iterator[tuple[str, ...]]:
        for dataset in self:
            about = dataset.info
            counted = about.get("coverage")
            covered = f"{counted['with_parent']} of {counted['events']}" if counted else ""
            files = str(about.get("files", {}).get("ok", 0))
            events = str(about.get("entries", 0))
            yield dataset.name, dataset.format, dataset.parent or "", files, events, covered

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(*_DATASET_SHOWN, title=f"{len(self)} datasets")
        for cells in self._cells():
            table.add_row(*(Text(cell) for cell in cells))
        return table

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in _DATASET_SHOWN)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
            for cells in self._cells()
        )
        return f"<table><tr>{head}</tr>{rows}</table>"
