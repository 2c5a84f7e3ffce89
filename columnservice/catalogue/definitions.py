"""Definitions of Columns, kept with their Dataset: functions on a connection, for ``store``.

Knows texts and versions; what an expression means, ``defined`` finds out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import sqlalchemy as sa

from columnservice.catalogue.datasets import Row, changed
from columnservice.catalogue.tables import datasets, definitions
from columnservice.errors import UnknownColumn, nearest


@dataclass(frozen=True)
class Definition:
    """A Column as a user defined it.

    Attributes:
        name: of the Column.
        expression: canonical text of ``selection``.
        author: the Principal who defined it.
        doc, unit: for readers.
        version: counts the expressions that it had, from 1.
        created_seconds: when this version was made, seconds since 1970 UTC.
    """

    name: str
    expression: str
    author: str
    doc: str = ""
    unit: str = ""
    version: int = 1
    created_seconds: int = 0


def every(connection: sa.Connection, dataset: Row) -> tuple[Definition, ...]:
    """All definitions of a Dataset, by name."""
    mine = definitions.c.dataset_id == dataset.id
    rows = connection.execute(sa.select(definitions).where(mine).order_by(definitions.c.name))
    return tuple(
        Definition(**{k: v for k, v in row._mapping.items() if k != "dataset_id"}) for row in rows
    )


def unchanged(connection: sa.Connection, dataset: Row, known: Sequence[Definition]) -> bool:
    """Whether a Dataset's definitions are still these; others wait until this transaction ends."""
    # SQLite has locked the database for this writer already, and its dialect leaves this out
    mine = sa.select(datasets.c.id).where(datasets.c.id == dataset.id).with_for_update()
    connection.execute(mine)
    return every(connection, dataset) == tuple(known)


def put(connection: sa.Connection, dataset: Row, definition: Definition) -> Definition:
    """Keep a definition; one with the same expression keeps its version and time."""
    known = next((d for d in every(connection, dataset) if d.name == definition.name), None)
    if known is None:
        new = replace(definition, version=1)
    elif known.expression == definition.expression:
        new = replace(definition, version=known.version, created_seconds=known.created_seconds)
    else:
        new = replace(definition, version=known.version + 1)
    if new == known:
        return new
    if known is not None:
        remove(connection, dataset, known.name)
    connection.execute(sa.insert(definitions).values(dataset_id=dataset.id, **asdict(new)))
    changed(connection, dataset.id)
    return new


def remove(connection: sa.Connection, dataset: Row, name: str) -> None:
    """Forget a definition.

    Raises:
        UnknownColumn: the Dataset has none of that name.
    """
    this = sa.and_(definitions.c.dataset_id == dataset.id, definitions.c.name == name)
    if not connection.execute(sa.delete(definitions).where(this)).rowcount:
        near = nearest(name, [d.name for d in every(connection, dataset)])
        raise UnknownColumn(
            f"Nobody defined a column {name!r} of {dataset.dataset.name}"
            + (f"; {near}" if near else "."),
            "`columnservice column list DATASET` shows the defined columns.",
        )
    changed(connection, dataset.id)
