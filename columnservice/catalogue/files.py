"""Files of a Dataset: functions on a connection, for ``store``.

A file's row is there before it is opened, so that an interrupted registration goes on where it was.
Knows no ROOT and opens no transaction.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from columnservice.catalogue.database import insert_new
from columnservice.catalogue.datasets import Row, changed
from columnservice.catalogue.lumis import chunked, merged, overlapping_files, rows_for
from columnservice.catalogue.manifest import ManifestEntry
from columnservice.catalogue.records import (
    NO_FAILURE,
    NOT_OPENED,
    FileCounts,
    FileFailure,
    columns_to_json,
    failure_row,
    file_row,
    record_of,
)
from columnservice.catalogue.tables import columnsets, datasets, files, lumis
from columnservice.errors import ColumnServiceError, FileError, UnknownFile
from columnservice.model import ColumnSet, FileRecord, LumiRange, digest_of

# SQLite takes 32766 bound values in one statement.
IDS_PER_QUERY = 10_000


def _count(connection: sa.Connection, dataset: Row) -> int:
    query = sa.select(sa.func.count()).where(files.c.dataset_id == dataset.id)
    return connection.scalar(query) or 0


def add(connection: sa.Connection, dataset: Row, urls: Iterable[str]) -> int:
    """Add files as pending; known URLs are left alone. Returns how many are new."""
    before = _count(connection, dataset)
    told = {"dataset_id": dataset.id, "status": "pending", **NOT_OPENED, **NO_FAILURE}
    insert_new(connection, files, [{**told, "url": url} for url in dict.fromkeys(urls)])
    new = _count(connection, dataset) - before
    if new:
        changed(connection, dataset.id)
    return new


def declare(connection: sa.Connection, dataset: Row, entries: Sequence[ManifestEntry]) -> int:
    """Add files of a manifest as declared; known URLs are left alone. Returns how many are new."""
    told = {"dataset_id": dataset.id, "status": "declared", **NOT_OPENED, **NO_FAILURE}
    known = _ids(connection, dataset, (e.url for e in entries))
    new = {e.url: (e, merged(e.lumis)) for e in entries if e.url not in known}
    rows = [
        {**told, "url": url, "size_bytes": e.size_bytes, "lumi_ranges": len(ranges)}
        for url, (e, ranges) in new.items()
    ]
    insert_new(connection, files, rows)
    ids = _ids(connection, dataset, new)
    blocks = [r for u, (_, ranges) in new.items() for r in rows_for(dataset.id, ids[u], ranges)]
    insert_new(connection, lumis, blocks)
    if new:
        changed(connection, dataset.id)
    return len(new)


def _ids(connection: sa.Connection, dataset: Row, urls: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for chunk in chunked(urls, IDS_PER_QUERY):
        query = sa.select(files.c.url, files.c.id).where(
            files.c.dataset_id == dataset.id, files.c.url.in_(chunk)
        )
        found.update((url, identifier) for url, identifier in connection.execute(query))
    return found


def _write(connection: sa.Connection, dataset: Row, row: dict[str, Any]) -> int:
    """Give a URL's row these values, making the row where there is none; returns its id."""
    told = {"dataset_id": dataset.id, "status": "pending", **NOT_OPENED, **NO_FAILURE}
    insert_new(connection, files, [{**told, "url": row["url"]}])
    here = sa.and_(files.c.dataset_id == dataset.id, files.c.url == row["url"])
    connection.execute(sa.update(files).where(here).values(**row))
    identifier = connection.execute(sa.select(files.c.id).where(here)).scalar_one()
    connection.execute(sa.delete(lumis).where(lumis.c.file_id == identifier))
    changed(connection, dataset.id)
    return int(identifier)


def record(
    connection: sa.Connection, dataset: Row, found: FileRecord, columnset: ColumnSet
) -> FileFailure | None:
    """Keep what was found in an opened file, in place of what was known of its URL.

    Returns:
        None; or the failure that is kept instead, where the Dataset has the same file already.
    """
    query = sa.select(files.c.url).where(
        files.c.dataset_id == dataset.id,
        files.c.uuid == found.identity.uuid,
        files.c.url != found.url,
    )
    twin = connection.scalar(query)
    if twin is not None:
        error = FileError(
            f"{found.url} is the same file as {twin}, which is registered already "
            f"(UUID {found.identity.uuid}).",
            "Leave one of them out: counted twice, its events would have two parents.",
        )
        return fail(connection, dataset, found.url, error)
    query = sa.select(columnsets.c.digest).where(columnsets.c.digest == columnset.digest)
    if connection.scalar(query) is None:
        columns = columns_to_json(columnset.columns)
        insert_new(connection, columnsets, [{"digest": columnset.digest, "columns": columns}])
    ranges = merged(found.lumis)
    identifier = _write(connection, dataset, file_row(found, ranges))
    insert_new(connection, lumis, rows_for(dataset.id, identifier, ranges))
    return None


def fail(
    connection: sa.Connection, dataset: Row, url: str, error: ColumnServiceError
) -> FileFailure:
    """Keep that a file could not be used, and why."""
    _write(connection, dataset, failure_row(url, error))
    return FileFailure(url, error.code, error.message, error.remedy)


def retry(connection: sa.Connection, dataset: Row) -> int:
    """Make failed files pending again; returns how many."""
    query = sa.update(files).where(files.c.dataset_id == dataset.id, files.c.status == "failed")
    return int(connection.execute(query.values(status="pending", **NO_FAILURE)).rowcount)


def remove(connection: sa.Connection, dataset: Row, urls: Iterable[str]) -> int:
    """Forget files; returns how many there were."""
    ids = list(_ids(connection, dataset, urls).values())
    for chunk in chunked(ids, IDS_PER_QUERY):
        connection.execute(sa.delete(files).where(files.c.id.in_(chunk)))
    if ids:
        changed(connection, dataset.id)
    return len(ids)


def urls(connection: sa.Connection, dataset: Row, status: str) -> tuple[str, ...]:
    """The URLs of a Dataset's files with a status, in order of registration."""
    query = sa.select(files.c.url).where(files.c.dataset_id == dataset.id, files.c.status == status)
    return tuple(connection.scalars(query.order_by(files.c.id)))


def urls_of(connection: sa.Connection, ids: Iterable[int]) -> tuple[str, ...]:
    """The URLs of files by id, in order of registration."""
    found: list[str] = []
    for chunk in chunked(sorted(ids), IDS_PER_QUERY):
        query = sa.select(files.c.url).where(files.c.id.in_(chunk)).order_by(files.c.id)
        found.extend(connection.scalars(query))
    return tuple(found)


def every(connection: sa.Connection, dataset: Row) -> tuple[FileRecord, ...]:
    """The readable files of a Dataset, in order of registration."""
    query = sa.select(files).where(files.c.dataset_id == dataset.id, files.c.status == "ok")
    blocks = sa.select(lumis).where(lumis.c.dataset_id == dataset.id)
    return _records(connection, connection.execute(query.order_by(files.c.id)).all(), blocks)


def by_ids(connection: sa.Connection, ids: Iterable[int]) -> tuple[FileRecord, ...]:
    """The files of some ids, in order of registration."""
    found: list[FileRecord] = []
    for chunk in chunked(sorted(ids), IDS_PER_QUERY):
        query = sa.select(files).where(files.c.id.in_(chunk)).order_by(files.c.id)
        blocks = sa.select(lumis).where(lumis.c.file_id.in_(chunk))
        found.extend(_records(connection, connection.execute(query).all(), blocks))
    return tuple(found)


def _records(
    connection: sa.Connection, rows: Sequence[Any], blocks: sa.Select[Any]
) -> tuple[FileRecord, ...]:
    ranges: dict[int, list[LumiRange]] = defaultdict(list)
    ordered = blocks.order_by(lumis.c.file_id, lumis.c.run, lumis.c.first)
    for block in connection.execute(ordered):
        ranges[block.file_id].append(LumiRange(block.run, block.first, block.last))
    return tuple(record_of(row, ranges.get(row.id, ())) for row in rows)


def by_uuid(connection: sa.Connection, dataset: Row, uuid: str) -> FileRecord:
    """The readable file of a UUID.

    Raises:
        UnknownFile: the Dataset has none.
    """
    query = sa.select(files.c.id).where(
        files.c.dataset_id == dataset.id, files.c.uuid == uuid, files.c.status == "ok"
    )
    found = by_ids(connection, connection.scalars(query).all())
    if not found:
        raise UnknownFile(f"No file with UUID {uuid} in dataset {dataset.dataset.name!r}.")
    return found[0]


def holders(connection: sa.Connection, uuid: str) -> tuple[str, ...]:
    """The names of the Datasets that hold a UUID, in order of registration."""
    query = (
        sa.select(datasets.c.name)
        .join(files, files.c.dataset_id == datasets.c.id)
        .where(files.c.uuid == uuid, files.c.status == "ok")
        .order_by(datasets.c.id)
    )
    return tuple(connection.scalars(query))


def failures(connection: sa.Connection, dataset: Row) -> tuple[FileFailure, ...]:
    """The files that could not be registered, in order of registration."""
    query = (
        sa.select(files.c.url, files.c.error, files.c.message, files.c.remedy)
        .where(files.c.dataset_id == dataset.id, files.c.status == "failed")
        .order_by(files.c.id)
    )
    return tuple(FileFailure(*row) for row in connection.execute(query))


def counts(connection: sa.Connection, dataset: Row) -> FileCounts:
    """How many files stand where, and the events of the readable ones."""
    query = (
        sa.select(files.c.status, sa.func.count(), sa.func.sum(files.c.entries))
        .where(files.c.dataset_id == dataset.id)
        .group_by(files.c.status)
    )
    found = {status: (count, entries or 0) for status, count, entries in connection.execute(query)}
    number = {s: found.get(s, (0, 0))[0] for s in ("ok", "pending", "declared", "failed")}
    return FileCounts(**number, entries=int(found.get("ok", (0, 0))[1]))


def candidates(
    connection: sa.Connection, dataset: Row, ranges: Iterable[LumiRange], status: str = "ok"
) -> tuple[int, ...]:
    """The ids of files with a status that may hold events of some luminosity blocks.

    Where no block is asked for, none is known of the events looked for: any file may hold them.
    Likewise a file with events of which no block is known may hold any event.
    """
    wanted = merged(ranges)
    filled = sa.select(files.c.id).where(
        files.c.dataset_id == dataset.id,
        files.c.status == status,
        sa.or_(files.c.entries.is_(None), files.c.entries > 0),
    )
    if not wanted:
        return tuple(connection.scalars(filled.order_by(files.c.id)))
    found = set(connection.scalars(filled.where(files.c.lumi_ranges == 0)))
    for chunk in chunked(overlapping_files(connection, dataset.id, wanted), IDS_PER_QUERY):
        query = sa.select(files.c.id).where(files.c.id.in_(chunk), files.c.status == status)
        found.update(connection.scalars(query))
    return tuple(sorted(found))


def identities(connection: sa.Connection, dataset: Row) -> str:
    """A digest of what the readable files of a Dataset are: UUIDs, sizes and times of change.

    The same files give the same digest in any catalogue: their hashes are added up, which needs no
    order. A million of them take seconds.
    """
    parts = (files.c.uuid, files.c.size_bytes, files.c.mtime_seconds)
    told: sa.ColumnElement[str] = sa.literal("")
    for part in parts:
        told = told.concat(sa.func.coalesce(sa.cast(part, sa.String), "")).concat("/")
    query = sa.select(told).where(files.c.dataset_id == dataset.id, files.c.status == "ok")
    total = 0
    for text in connection.scalars(query.execution_options(yield_per=IDS_PER_QUERY)):
        total += int.from_bytes(hashlib.blake2b(text.encode(), digest_size=32).digest())
    return digest_of("identities", total % 2**256)


def layouts(connection: sa.Connection, dataset: Row) -> tuple[tuple[str, int], ...]:
    """(digest of a ColumnSet, number of files with it), in order of first registration.

    Files without events promise nothing and are counted only where there are no others.
    """
    query = (
        sa.select(files.c.columnset, sa.func.count())
        .where(files.c.dataset_id == dataset.id, files.c.status == "ok")
        .group_by(files.c.columnset)
        .order_by(sa.func.min(files.c.id))
    )
    filled = connection.execute(query.where(files.c.entries > 0)).all()
    found = filled or connection.execute(query).all()
    return tuple((digest, count) for digest, count in found)
