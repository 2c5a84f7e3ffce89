"""Connections and transactions: the one place that knows SQLite and PostgreSQL by name.

Readers never wait (SQLite: WAL); writers queue up for a bounded time. Knows no table.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from columnservice.errors import SetupError, Unavailable

BUSY_TIMEOUT_SECONDS = 30
_WRITES = "columnservice_writes"
# Any constant will do, as long as nobody else on the PostgreSQL server locks the same number.
_MIGRATION_LOCK = 0x636F6C73


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Write-ahead logging; SQLite does not wait by itself while another process switches too."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _prepare_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where on_begin says, DDL included
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        # A reader that turns into a writer fails at once when another wrote in between; a writer
        # that says so from the start waits for its turn.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Database:
    """One catalogue's database.

    Args:
        url: SQLAlchemy URL; the directory of an SQLite file is made when it is missing.

    Raises:
        SetupError: the URL cannot be understood, or its directory cannot be made.
    """

    def __init__(self, url: str) -> None:
        try:
            self._url = sa.make_url(url)
            engine = sa.create_engine(self._url)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise SetupError(
                f"The database URL is not usable: {error}.", "Correct COLUMNSERVICE_DATABASE_URL."
            ) from None
        self.is_sqlite = engine.dialect.name == "sqlite"
        if self.is_sqlite:
            self._make_directory()
            _prepare_sqlite(engine)
        self._engine = engine
        self._writer = engine.execution_options(**{_WRITES: True})
        self._watching: sqlite3.Connection | None = None
        self._watch_lock = threading.Lock()

    def _make_directory(self) -> None:
        directory = Path(self._url.database or "").parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(
                f"Cannot make the directory {directory}: {error.strerror}.",
                "Choose another one with --home or COLUMNSERVICE_HOME.",
            ) from None

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A consistent view; must not write."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes: committed at the end, rolled back on any exception."""
        with self._translated(), self._writer.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def migrating(self) -> Iterator[sa.Connection]:
        """A writing transaction that no other process's migration can run beside."""
        with self.writing() as connection:
            if not self.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            yield connection

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        where = self._url.render_as_string(hide_password=True)
        try:
            yield
        except OperationalError as error:
            if "locked" in str(error.orig):
                raise Unavailable(f"The catalogue {where} is busy.") from None
            raise SetupError(
                f"The catalogue {where} does not work: {error.orig}.",
                "Check that its directory is writable and its disk not full.",
            ) from None
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.DatabaseError) and "not a database" in str(
                error.orig
            ):
                raise SetupError(
                    f"The catalogue {where} is not a database: {error.orig}.",
                    "Move the file away, or choose another home.",
                ) from None
            raise

    def version(self) -> int | None:
        """What is another number after every commit of any process; None where that is costly.

        SQLite tells in microseconds (https://www.sqlite.org/pragma.html#pragma_data_version).
        """
        if not self.is_sqlite or self._url.database in (None, "", ":memory:"):
            return None
        with self._watch_lock:
            try:
                if self._watching is None:
                    # One that never writes: it sees the commits of all others.
                    uri = f"{Path(str(self._url.database)).absolute().as_uri()}?mode=rw"
                    self._watching = sqlite3.connect(uri, uri=True, check_same_thread=False)
                return int(self._watching.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error:  # whoever reads now says what is wrong
                return None

    def close(self) -> None:
        """Close all connections."""
        with self._watch_lock:
            if self._watching is not None:
                self._watching.close()
                self._watching = None
        self._engine.dispose()


def insert_new(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows, leaving alone those whose key (any unique one) is there already."""
    if not rows:
        return
    postgres = connection.dialect.name == "postgresql"
    insert: Any = postgresql.insert if postgres else sqlite.insert
    connection.execute(insert(table).on_conflict_do_nothing(), list(rows))
