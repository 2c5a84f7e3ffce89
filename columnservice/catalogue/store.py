"""The catalogue: what is registered, as one object over one database.

Each method is one transaction. Knows neither ROOT files nor HTTP; ``indexing`` makes the records
that are kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from columnservice.catalogue import datasets, definitions, files, migrations
from columnservice.catalogue.database import Database
from columnservice.catalogue.datasets import Row
from columnservice.catalogue.definitions import Definition
from columnservice.catalogue.lumis import chunked
from columnservice.catalogue.manifest import ManifestEntry
from columnservice.catalogue.records import FileCounts, FileFailure, columnset_of
from columnservice.catalogue.remembered import Remembered
from columnservice.catalogue.tables import columnsets
from columnservice.errors import ColumnServiceError, UnknownDataset
from columnservice.model import ColumnSet, Dataset, FileRecord, LumiRange

T = TypeVar("T")
_ROWS_PER_TRANSACTION = 20_000


class Catalogue:
    """Datasets, Files and ColumnSets; safe to share between threads, and between processes by URL.

    Args:
        url: SQLAlchemy URL, ``sqlite:////home/…/catalogue.sqlite`` or ``postgresql://…``.

    Raises:
        SetupError: the database cannot be used (in the constructor and in every method).
        Unavailable: other writers kept the database busy for too long.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._remembered = Remembered(self._database)

    def close(self) -> None:
        """Close all connections to the database."""
        self._database.close()

    def migrate(self) -> None:
        """Make or upgrade the tables; several processes may do so at once."""
        with self._database.migrating() as connection:
            migrations.upgrade(connection)

    # Datasets

    def add_dataset(self, dataset: Dataset) -> None:
        """Register a Dataset; the very same one again is no error.

        Raises:
            RequestError: the name cannot stand in a URL, or the Format is unknown.
            UnknownDataset: its parent is not registered.
            DatasetExists: the name is taken by a Dataset with another Format or parent.
        """
        with self._database.writing() as connection:
            datasets.add(connection, dataset)

    def dataset(self, name: str) -> Dataset:
        """The Dataset of a name.

        Raises:
            UnknownDataset: there is none; names the nearest. So do all methods that take a name.
        """
        return self._remembered.look_up(("dataset", name), lambda c: datasets.find(c, name).dataset)

    def datasets(self) -> tuple[Dataset, ...]:
        """All Datasets, in order of registration."""
        with self._database.reading() as connection:
            return datasets.every(connection)

    def children(self, name: str) -> tuple[Dataset, ...]:
        """The Datasets that name this one as their parent."""
        with self._database.reading() as connection:
            return datasets.children(connection, name)

    def remove_dataset(self, name: str) -> None:
        """Forget a Dataset and its Files.

        Raises:
            DatasetInUse: it is the parent of another one.
        """
        with self._database.writing() as connection:
            datasets.remove(connection, name)

    def revision(self, name: str) -> int:
        """A count that grows with every change to a Dataset's Files."""
        with self._database.reading() as connection:
            return datasets.find(connection, name).revision

    def set_note(self, name: str, key: str, value: Any) -> None:
        """Keep a JSON value with a Dataset: coverage, witnesses, duplicates."""
        with self._database.writing() as connection:
            datasets.set_note(connection, name, key, value)

    def note(self, name: str, key: str) -> Any:
        """The JSON value kept with a Dataset, or None."""
        with self._database.reading() as connection:
            return datasets.note(connection, name, key)

    def notes(self, name: str, prefix: str) -> dict[str, Any]:
        """The JSON values of a Dataset whose keys begin with a prefix, by key."""
        with self._database.reading() as connection:
            return datasets.notes_of(connection, name, prefix)

    def notes_state(self, name: str, prefix: str) -> str:
        """A digest of the notes of a Dataset whose keys begin with a prefix.

        ``edition`` does not tell of them: they change without any File.
        """
        return self._remembered.look_up(
            ("notes", name, prefix), lambda c: datasets.notes_state(c, name, prefix)
        )

    def notes_with_state(self, name: str, prefix: str) -> tuple[dict[str, Any], str]:
        """``notes`` and ``notes_state``, of the very same notes."""
        with self._database.reading() as connection:
            return datasets.notes_with_state(connection, name, prefix)

    def remove_notes(self, name: str, prefix: str) -> None:
        """Forget the notes of a Dataset whose keys begin with a prefix."""
        with self._database.writing() as connection:
            datasets.remove_notes(connection, name, prefix)

    # Registering Files

    def add_files(self, dataset: str, urls: Iterable[str]) -> int:
        """Add Files as pending; known URLs are left alone. Returns how many are new."""
        return self._in_chunks(dataset, files.add, urls)

    def import_manifest(self, dataset: str, entries: Iterable[ManifestEntry]) -> int:
        """Add Files as declared, nothing opened; known URLs are left alone. Returns how many."""
        return self._in_chunks(dataset, files.declare, entries)

    def pending(self, dataset: str) -> tuple[str, ...]:
        """The URLs that are to be opened, in order of registration."""
        return self._read(dataset, lambda c, d: files.urls(c, d, "pending"))

    def declared(self, dataset: str, lumis: Sequence[LumiRange] = ()) -> tuple[str, ...]:
        """The URLs known from a manifest and not opened yet.

        Those that may hold events of some luminosity blocks must be indexed and recorded before
        ``candidates`` can name them.

        Args:
            dataset: name of the Dataset.
            lumis: only Files that may hold events of these; empty for all.
        """
        return self._read(
            dataset, lambda c, d: files.urls_of(c, files.candidates(c, d, lumis, "declared"))
        )

    def record_file(
        self, dataset: str, record: FileRecord, columnset: ColumnSet
    ) -> FileFailure | None:
        """Keep what was found in an opened File, in place of what was known of its URL.

        Returns:
            None; or, where the Dataset holds the same File under another URL, the failure that was
            recorded instead.
        """
        return self._written(dataset, lambda c, d: files.record(c, d, record, columnset))

    def record_failure(self, dataset: str, url: str, error: ColumnServiceError) -> None:
        """Keep that a File could not be used, and why."""
        self._written(dataset, lambda c, d: files.fail(c, d, url, error))

    def retry_failures(self, dataset: str) -> int:
        """Make failed Files pending again; returns how many."""
        return self._written(dataset, files.retry)

    def remove_files(self, dataset: str, urls: Iterable[str]) -> int:
        """Forget Files; returns how many there were."""
        return self._written(dataset, lambda c, d: files.remove(c, d, urls))

    # Asking for Files

    def files(self, dataset: str) -> tuple[FileRecord, ...]:
        """The readable Files, in order of registration."""
        return self._read(dataset, files.every)

    def failures(self, dataset: str) -> tuple[FileFailure, ...]:
        """The Files that could not be registered, with reasons."""
        return self._read(dataset, files.failures)

    def counts(self, dataset: str) -> FileCounts:
        """How many Files stand where, and the events of the readable ones."""
        return self._read(dataset, files.counts)

    def file(self, dataset: str, uuid: str) -> FileRecord:
        """The readable File of a UUID.

        Raises:
            UnknownFile: the Dataset has none.
        """
        return self._read(dataset, lambda c, d: files.by_uuid(c, d, uuid))

    def holders(self, uuid: str) -> tuple[str, ...]:
        """The names of the Datasets that hold this UUID."""
        with self._database.reading() as connection:
            return files.holders(connection, uuid)

    def identities(self, dataset: str) -> str:
        """A digest of what the readable Files are: the same for the same Files in any catalogue."""
        return self.derived("identities", (dataset,), lambda: self._read(dataset, files.identities))

    def candidates(self, parent: str, lumis: Sequence[LumiRange]) -> tuple[FileRecord, ...]:
        """The Files of a Dataset that may hold events of these luminosity blocks (empty: of any).

        Files whose luminosity blocks are not known are always among them, Files without events
        never. Files of a manifest that were not opened yet are told by ``declared``.
        """
        return self._read(parent, lambda c, d: files.by_ids(c, files.candidates(c, d, lumis)))

    # ColumnSets

    def columnset(self, digest: str) -> ColumnSet:
        """The Columns of a layout.

        Raises:
            UnknownDataset: no registered File has this layout (any more).
        """

        def load() -> ColumnSet:
            query = sa.select(columnsets.c.columns).where(columnsets.c.digest == digest)
            with self._database.reading() as connection:
                document = connection.scalar(query)
            if document is None:
                raise UnknownDataset(f"No registered file has the layout {digest}.")
            return columnset_of(digest, document)

        return self._remembered.derive(("columnset", digest), load)

    def columnsets(self, dataset: str) -> tuple[tuple[ColumnSet, int], ...]:
        """(ColumnSet, number of Files with it), in order of first registration.

        Files without events are counted only where there are no others.
        """
        layouts = self.derived("layouts", (dataset,), lambda: self._read(dataset, files.layouts))
        return tuple((self.columnset(digest), count) for digest, count in layouts)

    # Definitions of Columns

    def definitions(self, dataset: str) -> tuple[Definition, ...]:
        """The Columns that users defined, in order of their names."""
        return self._read(dataset, definitions.every)

    def define(
        self, dataset: str, definition: Definition, known: Sequence[Definition]
    ) -> Definition | None:
        """Keep a definition in place of one of its name; the version counts changed expressions.

        None, and nothing is kept, where the Dataset's definitions are no longer ``known``, those
        that it was checked against.
        """
        return self._written(
            dataset,
            lambda c, d: (
                definitions.put(c, d, definition) if definitions.unchanged(c, d, known) else None
            ),
        )

    def undefine(self, dataset: str, name: str, known: Sequence[Definition]) -> bool:
        """Forget a definition; False where the Dataset's definitions are no longer ``known``.

        Raises:
            UnknownColumn: there is none of that name.
        """

        def forget(connection: sa.Connection, row: Row) -> bool:
            if not definitions.unchanged(connection, row, known):
                return False
            definitions.remove(connection, row, name)
            return True

        return self._written(dataset, forget)

    # How a method reaches the database

    def _read(self, name: str, ask: Callable[[sa.Connection, Row], T]) -> T:
        with self._database.reading() as connection:
            return ask(connection, datasets.find(connection, name))

    def _written(self, name: str, do: Callable[[sa.Connection, Row], T]) -> T:
        with self._database.writing() as connection:
            return do(connection, datasets.find(connection, name))

    def _in_chunks(
        self, name: str, add: Callable[[sa.Connection, Row, list[T]], int], items: Iterable[T]
    ) -> int:
        """Add many items in short transactions, so that other writers get their turn."""
        self.dataset(name)
        added = 0
        for chunk in chunked(items, _ROWS_PER_TRANSACTION):
            with self._database.writing() as connection:
                added += add(connection, datasets.find(connection, name), chunk)
        return added

    def derived(self, what: str, names: Sequence[str], make: Callable[[], T]) -> T:
        """What follows from all Files of some Datasets, remembered until one of them changes.

        Args:
            what: a name for the derivation.
            names: the Datasets.
            make: derives it; runs without a lock, perhaps twice at once.
        """
        return self._remembered.derive((what, *self.edition(names)), make)

    def edition(self, names: Sequence[str]) -> tuple[tuple[int, int], ...]:
        """What is another one as soon as a File of one of these Datasets changes."""
        return self._remembered.look_up(("edition", *names), lambda c: datasets.editions(c, names))
