"""Catalogues in real SQLite files, and records of files that nobody opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from columnservice.catalogue.store import Catalogue
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


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'home' / 'catalogue.sqlite'}"


@pytest.fixture
def catalogue(url: str) -> Iterator[Catalogue]:
    made = Catalogue(url)
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def make_catalogue(tmp_path: Path) -> Iterator[Callable[[], Catalogue]]:
    """Fresh catalogues, for tests that need one per example."""
    made: list[Catalogue] = []

    def make() -> Catalogue:
        made.append(Catalogue(f"sqlite:///{tmp_path / str(len(made))}.sqlite"))
        made[-1].migrate()
        return made[-1]

    yield make
    for each in made:
        each.close()


def offered(name: str, dtype: str = "float32", **told) -> OfferedColumn:
    column = Column(name, (Member("", dtype),), told.pop("depth", 0), **told)
    recipe = Recipe(name, (BranchRead(name),)) if column.support == "ok" else None
    return OfferedColumn(column, recipe)


LAYOUT = ColumnSet("ab" * 16, (offered("run"), offered("x", depth=1, shape="x", doc="in GeV")))


def record(
    number: int,
    *lumis: LumiRange,
    entries: int = 10,
    columnset: ColumnSet = LAYOUT,
    uuid: str | None = None,
) -> FileRecord:
    return FileRecord(
        lfn=f"/store/{number}.root",
        url=f"root://origin:1094//store/{number}.root",
        identity=FileIdentity(uuid or f"00000000-0000-0000-0000-{number:012d}", 1000 + number),
        entries=entries,
        tree="Events",
        columnset=columnset.digest,
        cluster_stops=(entries // 2, entries),
        lumis=tuple(lumis),
        mtime_seconds=1_700_000_000,
    )
