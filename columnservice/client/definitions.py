"""Columns that users define: as a client asks for them, keeps and shows them.

Knows the HTTP paths; expressions are understood by the service.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from columnservice.client.transport import Transport

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN = ("name", "expression", "type", "author", "version", "doc")


@dataclass(frozen=True)
class DefinedColumn:
    """A Column that somebody defined.

    Attributes:
        name, type: of the Column.
        expression: as the service understood it.
        author, created: who made this version, and when (ISO 8601, UTC).
        doc, unit: for readers.
        version: counts the expressions that the Column had.
        support, reason: whether it can be computed at present, and if not, why.
    """

    name: str
    expression: str
    type: str
    author: str
    created: str
    doc: str = ""
    unit: str = ""
    version: int = 1
    support: str = "ok"
    reason: str = ""


def _defined(document: Mapping[str, Any]) -> DefinedColumn:
    known = {f.name for f in fields(DefinedColumn)}
    return DefinedColumn(**{k: v for k, v in document.items() if k in known})


class DefinitionList(list[DefinedColumn]):
    """Definitions as a list, which a notebook shows as a table."""

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(*_SHOWN, title=f"{len(self)} definitions")
        for one in self:
            table.add_row(*(Text(str(getattr(one, part))) for part in _SHOWN))
        return table

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in _SHOWN)
        cells = [[html.escape(str(getattr(one, part))) for part in _SHOWN] for one in self]
        rows = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in cells)
        return f"<table><tr>{head}</tr>{rows}</table>"


@dataclass(frozen=True)
class Definitions:
    """The definitions of one Dataset.

    Attributes:
        transport: where the service is.
        dataset: name of the Dataset.
    """

    transport: Transport
    dataset: str

    def _path(self, *column: str) -> str:
        parts = ("v1", "datasets", self.dataset, "definitions", *column)
        return "/" + "/".join(quote(part, safe="") for part in parts)

    def list(self) -> DefinitionList:
        """All of them, asked for now."""
        found = self.transport.json(self._path())
        return DefinitionList(_defined(one) for one in found["definitions"])

    def define(self, name: str, expression: str, doc: str = "", unit: str = "") -> DefinedColumn:
        """Keep a definition."""
        told = {"name": name, "expression": expression, "doc": doc, "unit": unit}
        return _defined(json.loads(self.transport.request("POST", self._path(), document=told)))

    def remove(self, name: str) -> None:
        """Forget a definition."""
        self.transport.request("DELETE", self._path(name))
