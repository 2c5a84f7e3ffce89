"""Between the catalogue's rows and the words of ``model``: pure translation, both ways.

Knows the columns of the tables; runs no statement.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from columnservice.errors import ColumnServiceError
from columnservice.model import (
    BranchRead,
    Column,
    ColumnSet,
    FileIdentity,
    FileRecord,
    LumiRange,
    Member,
    OfferedColumn,
    Recipe,
)

# What a file has before it was opened, and again after it could not be.
NOT_OPENED: Mapping[str, Any] = {
    "lfn": None,
    "uuid": None,
    "size_bytes": None,
    "entries": None,
    "tree": None,
    "columnset": None,
    "cluster_stops": None,
    "mtime_seconds": None,
    "lumi_ranges": 0,
}
NO_FAILURE: Mapping[str, Any] = {"error": None, "message": None, "remedy": None}


@dataclass(frozen=True)
class FileFailure:
    """A File that could not be registered.

    Attributes:
        url: as it was given.
        code: the name of the error's class.
        error: what is wrong, one line.
        remedy: what to do about it, one line.
    """

    url: str
    code: str
    error: str
    remedy: str


@dataclass(frozen=True)
class FileCounts:
    """How many Files of a Dataset stand where, and how many events the readable ones hold."""

    ok: int
    pending: int
    declared: int
    failed: int
    entries: int


def file_row(record: FileRecord, ranges: Sequence[LumiRange]) -> dict[str, Any]:
    """What the files table keeps of an indexed File; ``ranges`` are its merged lumis."""
    return {
        "url": record.url,
        "status": "ok",
        "lfn": record.lfn,
        "uuid": record.identity.uuid,
        "size_bytes": record.identity.size_bytes,
        "entries": record.entries,
        "tree": record.tree,
        "columnset": record.columnset,
        "cluster_stops": list(record.cluster_stops),
        "mtime_seconds": record.mtime_seconds,
        "lumi_ranges": len(ranges),
        "through_cache": record.through_cache,
        **NO_FAILURE,
    }


def failure_row(url: str, error: ColumnServiceError) -> dict[str, Any]:
    """What the files table keeps of a File that could not be used."""
    return {
        "url": url,
        "status": "failed",
        **NOT_OPENED,
        "error": error.code,
        "message": error.message,
        "remedy": error.remedy,
    }


def record_of(row: Any, ranges: Sequence[LumiRange]) -> FileRecord:
    """The File of a row with status ok."""
    return FileRecord(
        lfn=row.lfn,
        url=row.url,
        identity=FileIdentity(row.uuid, row.size_bytes),
        entries=row.entries,
        tree=row.tree,
        columnset=row.columnset,
        cluster_stops=tuple(row.cluster_stops),
        lumis=tuple(ranges),
        mtime_seconds=row.mtime_seconds,
        through_cache=row.through_cache,
    )


def columns_to_json(columns: Iterable[OfferedColumn]) -> list[dict[str, Any]]:
    """Columns with their Recipes as JSON; defaults are left out, since a layout has thousands."""
    return [
        {
            "column": _told(offered.column),
            "recipe": None if offered.recipe is None else _told(offered.recipe),
            **({} if offered.unlisted is None else {"unlisted": _told(offered.unlisted)}),
        }
        for offered in columns
    ]


def _told(value: Any) -> dict[str, Any]:
    plain = dataclasses.asdict(value)
    return {f.name: plain[f.name] for f in dataclasses.fields(value) if plain[f.name] != f.default}


def columnset_of(digest: str, document: Iterable[Mapping[str, Any]]) -> ColumnSet:
    """The ColumnSet that ``columns_to_json`` made the document of."""
    return ColumnSet(digest, tuple(_offered(d) for d in document))


def _offered(document: Mapping[str, Any]) -> OfferedColumn:
    column = document["column"]
    members = tuple(Member(**m) for m in column["members"])
    made = Column(**{**column, "members": members})
    recipe, unlisted = document["recipe"], document.get("unlisted")
    return OfferedColumn(
        made,
        None if recipe is None else _recipe(recipe),
        unlisted=None if unlisted is None else _recipe(unlisted),
    )


def _recipe(recipe: Mapping[str, Any]) -> Recipe:
    reads = tuple(BranchRead(**r) for r in recipe["reads"])
    parameters = tuple((name, value) for name, value in recipe.get("parameters", ()))
    return Recipe(**{**recipe, "reads": reads, "parameters": parameters})
