"""The catalogue's tables, in SQLAlchemy Core; ``migrations`` makes them, a test holds both equal.

Knows column types, keys and indexes; runs no statement.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    true,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# ``revision`` counts every change to a Dataset's files, so that what is derived from all of them
# can be remembered. Ids are never given twice: a removed dataset's id must not name another one.
datasets = Table(
    "datasets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("format", String(16), nullable=False),
    Column("parent_id", ForeignKey("datasets.id", ondelete="RESTRICT"), index=True),
    Column("revision", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

notes = Table(
    "notes",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
)

columnsets = Table(
    "columnsets",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("columns", JSON, nullable=False),
)

# A file is "pending" (only its URL is known), "declared" (a manifest told size and luminosity
# blocks), "ok" (opened and indexed) or "failed". What only an opened file tells is null until then.
files = Table(
    "files",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), nullable=False),
    Column("url", Text, nullable=False),
    Column("status", String(8), nullable=False),
    Column("lfn", Text),
    Column("uuid", String(36), index=True),
    Column("size_bytes", BigInteger),
    Column("entries", BigInteger),
    Column("tree", Text),
    Column("columnset", ForeignKey("columnsets.digest"), index=True),
    Column("cluster_stops", JSON),
    Column("mtime_seconds", BigInteger),
    Column("lumi_ranges", Integer, nullable=False),
    Column("through_cache", Boolean, nullable=False, server_default=true()),
    Column("error", String(64)),
    Column("message", Text),
    Column("remedy", Text),
    UniqueConstraint("dataset_id", "url"),
    UniqueConstraint("dataset_id", "uuid"),
    Index(None, "dataset_id", "status", "lumi_ranges"),
    Index(None, "dataset_id", "columnset"),
)

# ``span`` is the class of the interval's width (see lumis.py): with it one index answers "which
# intervals overlap this one?" without a scan, on any database.
lumis = Table(
    "lumis",
    metadata,
    Column("file_id", ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("run", BigInteger, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("span", Integer, nullable=False),
    Column("dataset_id", Integer, nullable=False),
    Index("ix_lumis_search", "dataset_id", "run", "span", "first", "last", "file_id"),
    sqlite_with_rowid=False,
)

# A removed definition's version is not remembered: what is made from it is named after its text.
definitions = Table(
    "definitions",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("expression", Text, nullable=False),
    Column("author", String(256), nullable=False),
    Column("doc", Text, nullable=False),
    Column("unit", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_seconds", BigInteger, nullable=False),
)
