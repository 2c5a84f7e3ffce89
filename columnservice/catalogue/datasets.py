"""Datasets, their parents and notes: functions on a connection, for ``store``.

Knows no files and opens no transaction.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import sqlalchemy as sa

from columnservice.catalogue.database import insert_new
from columnservice.catalogue.tables import columnsets, datasets, files, notes
from columnservice.errors import DatasetExists, DatasetInUse, RequestError, UnknownDataset, nearest
from columnservice.model import EXPERIMENTS, Dataset, FormatName

# A name stands in URLs and in messages: no slash, no space, nothing to escape.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_parents = datasets.alias("parents")
_WITH_PARENT = sa.select(
    datasets.c.id, datasets.c.name, datasets.c.format, datasets.c.revision, _parents.c.name
).select_from(datasets.outerjoin(_parents, datasets.c.parent_id == _parents.c.id))


@dataclass(frozen=True)
class Row:
    """A Dataset with its id in the database and the count of changes to its files."""

    id: int
    revision: int
    dataset: Dataset


def _row(found: Any) -> Row:
    identifier, name, format_name, revision, parent = found
    return Row(identifier, revision, Dataset(name, format_name, parent))


def find(connection: sa.Connection, name: str) -> Row:
    """The Dataset of a name.

    Raises:
        UnknownDataset: there is none; names the nearest.
    """
    found = connection.execute(_WITH_PARENT.where(datasets.c.name == name)).first()
    if found is None:
        known = connection.scalars(sa.select(datasets.c.name))
        near = nearest(name, known)
        raise UnknownDataset(f"No dataset {name!r}" + (f"; {near}" if near else "."))
    return _row(found)


def editions(connection: sa.Connection, names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Identifier and revision of each Dataset, in one query.

    Raises:
        UnknownDataset: there is none of a name; names the nearest.
    """
    query = sa.select(datasets.c.name, datasets.c.id, datasets.c.revision)
    rows = connection.execute(query.where(datasets.c.name.in_(names)))
    found = {name: (int(identifier), int(revision)) for name, identifier, revision in rows}
    for name in names:
        if name not in found:
            find(connection, name)
    return tuple(found[name] for name in names)


def every(connection: sa.Connection) -> tuple[Dataset, ...]:
    """All Datasets, in order of registration."""
    return tuple(_row(r).dataset for r in connection.execute(_WITH_PARENT.order_by(datasets.c.id)))


def children(connection: sa.Connection, name: str) -> tuple[Dataset, ...]:
    """The Datasets that name this one as their parent."""
    here = find(connection, name)
    query = _WITH_PARENT.where(datasets.c.parent_id == here.id).order_by(datasets.c.id)
    return tuple(_row(r).dataset for r in connection.execute(query))


def add(connection: sa.Connection, dataset: Dataset) -> None:
    """Add a Dataset; the very same one again is no error.

    Raises:
        RequestError: a name that cannot stand in a URL, or an unknown Format.
        UnknownDataset: the parent is not registered.
        DatasetExists: the name is taken by a Dataset with another Format or parent.
    """
    if not _NAME.fullmatch(dataset.name):
        raise RequestError(
            f"{dataset.name!r} cannot be a dataset's name.",
            "Use letters, digits, '_', '-' and '.', at most 128, beginning with a letter or digit.",
        )
    known = get_args(FormatName)
    if dataset.format not in known:
        raise RequestError(
            f"No format {dataset.format!r}.", f"The formats are: {', '.join(known)}."
        )
    above = None if dataset.parent is None else find(connection, dataset.parent)
    if above is not None and EXPERIMENTS[above.dataset.format] != EXPERIMENTS[dataset.format]:
        raise RequestError(
            f"{dataset.name!r} ({dataset.format}) cannot have {dataset.parent!r} "
            f"({above.dataset.format}) as its parent: they are of different experiments."
        )
    parent_id = None if above is None else above.id
    row = {
        "name": dataset.name,
        "format": dataset.format,
        "parent_id": parent_id,
        "revision": 0,
    }
    insert_new(connection, datasets, [row])
    there = find(connection, dataset.name).dataset
    if there != dataset:
        parent = f"parent {there.parent!r}" if there.parent else "no parent"
        raise DatasetExists(
            f"Dataset {dataset.name!r} exists already, with format {there.format!r} and {parent}."
        )


def remove(connection: sa.Connection, name: str) -> None:
    """Remove a Dataset with all that is known of its files.

    Raises:
        UnknownDataset: there is none of that name.
        DatasetInUse: other Datasets name it as their parent.
    """
    here = find(connection, name)
    in_use = [d.name for d in children(connection, name)]
    if in_use:
        raise DatasetInUse(f"Dataset {name!r} is the parent of {', '.join(in_use)}.")
    connection.execute(sa.delete(datasets).where(datasets.c.id == here.id))
    used = sa.exists().where(files.c.columnset == columnsets.c.digest)
    connection.execute(sa.delete(columnsets).where(~used))


def changed(connection: sa.Connection, dataset_id: int) -> None:
    """Count a change to a Dataset's files."""
    connection.execute(
        sa.update(datasets)
        .where(datasets.c.id == dataset_id)
        .values(revision=datasets.c.revision + 1)
    )


def set_note(connection: sa.Connection, name: str, key: str, value: Any) -> None:
    """Keep a JSON value with a Dataset, in place of an earlier one."""
    here = find(connection, name)
    of_key = sa.and_(notes.c.dataset_id == here.id, notes.c.key == key)
    connection.execute(sa.delete(notes).where(of_key))
    connection.execute(sa.insert(notes).values(dataset_id=here.id, key=key, value=value))


def note(connection: sa.Connection, name: str, key: str) -> Any:
    """The JSON value kept with a Dataset; None where there is none."""
    here = find(connection, name)
    query = sa.select(notes.c.value).where(notes.c.dataset_id == here.id, notes.c.key == key)
    return connection.scalar(query)


def _begins(here: Row, prefix: str) -> sa.ColumnElement[bool]:
    return sa.and_(notes.c.dataset_id == here.id, notes.c.key.startswith(prefix, autoescape=True))


def notes_of(connection: sa.Connection, name: str, prefix: str) -> dict[str, Any]:
    """The notes of a Dataset whose keys begin with a prefix, by key."""
    query = sa.select(notes.c.key, notes.c.value).where(_begins(find(connection, name), prefix))
    return {row.key: row.value for row in connection.execute(query.order_by(notes.c.key))}


def notes_state(connection: sa.Connection, name: str, prefix: str) -> str:
    """A digest of the notes of a Dataset whose keys begin with a prefix."""
    return _state(_written(connection, name, prefix))


def notes_with_state(
    connection: sa.Connection, name: str, prefix: str
) -> tuple[dict[str, Any], str]:
    """``notes_of`` and ``notes_state``, of the very same notes."""
    written = tuple(_written(connection, name, prefix))
    return {key: json.loads(value) for key, value in written}, _state(written)


def _state(written: Iterable[tuple[str, str]]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for key, value in written:
        found.update(f"{len(key)} {key} {len(value)} {value}".encode())
    return found.hexdigest()


def _written(connection: sa.Connection, name: str, prefix: str) -> Iterable[tuple[str, str]]:
    """Notes as they are kept; there may be one for each File."""
    text = sa.cast(notes.c.value, sa.Text)
    query = sa.select(notes.c.key, text).where(_begins(find(connection, name), prefix))
    return ((key, value) for key, value in connection.execute(query.order_by(notes.c.key)))


def remove_notes(connection: sa.Connection, name: str, prefix: str) -> None:
    """Forget the notes of a Dataset whose keys begin with a prefix."""
    connection.execute(sa.delete(notes).where(_begins(find(connection, name), prefix)))
