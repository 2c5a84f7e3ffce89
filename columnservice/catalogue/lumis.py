"""Luminosity blocks as indexed intervals: which files may hold events of these blocks?

An interval is stored with the class of its width (``span`` k: at most 16**k blocks). A query looks
into each class for intervals that begin less than the class's width before the wanted range ends,
which an ordinary index answers: the cost does not grow with the number of files elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from columnservice.catalogue.tables import lumis
from columnservice.model import LumiRange

T = TypeVar("T")

# 16**8 blocks: every uint32 luminosity block has a class.
SPAN_BASE = 16
SPANS = tuple((k, SPAN_BASE**k) for k in range(9))
# Three bound numbers per range; SQLite takes 32766 in one statement.
RANGES_PER_QUERY = 2000


def span_of(lumi_range: LumiRange) -> int:
    """The smallest k such that the range holds at most ``16**k`` blocks."""
    width = lumi_range.last - lumi_range.first + 1
    return next(k for k, most in SPANS if width <= most)


def merged(ranges: Iterable[LumiRange]) -> tuple[LumiRange, ...]:
    """The same luminosity blocks in the fewest ranges, ascending by run and block."""
    found: list[LumiRange] = []
    for r in sorted(ranges, key=lambda r: (r.run, r.first, r.last)):
        before = found[-1] if found else None
        if before is not None and before.run == r.run and r.first <= before.last + 1:
            found[-1] = LumiRange(r.run, before.first, max(before.last, r.last))
        else:
            found.append(r)
    return tuple(found)


def rows_for(dataset_id: int, file_id: int, ranges: Sequence[LumiRange]) -> list[dict[str, Any]]:
    """Table rows of a file's (merged) luminosity blocks."""
    return [
        {
            "file_id": file_id,
            "run": r.run,
            "first": r.first,
            "last": r.last,
            "span": span_of(r),
            "dataset_id": dataset_id,
        }
        for r in ranges
    ]


def overlap_query(dataset_id: int, ranges: Sequence[LumiRange]) -> sa.Select[Any]:
    """The ids of a dataset's files with a block in any of the ranges: index searches only."""
    wanted = (
        sa.values(
            sa.column("run", sa.BigInteger),
            sa.column("first", sa.BigInteger),
            sa.column("last", sa.BigInteger),
            name="wanted",
        )
        .data([(r.run, r.first, r.last) for r in ranges])
        .cte("wanted")
    )
    spans = (
        sa.values(
            sa.column("span", sa.BigInteger),
            sa.column("width", sa.BigInteger),
            name="spans",
            literal_binds=True,
        )
        .data(list(SPANS))
        .cte("spans")
    )
    overlapping = sa.and_(
        lumis.c.dataset_id == dataset_id,
        lumis.c.run == wanted.c.run,
        lumis.c.span == spans.c.span,
        lumis.c.first > wanted.c.first - spans.c.width,
        lumis.c.first <= wanted.c.last,
        lumis.c.last >= wanted.c.first,
    )
    joined = wanted.join(spans, sa.true()).join(lumis, overlapping)
    return sa.select(lumis.c.file_id).select_from(joined).distinct()


def overlapping_files(
    connection: sa.Connection, dataset_id: int, ranges: Iterable[LumiRange]
) -> set[int]:
    """The ids of files of a dataset that hold a luminosity block of any of the (merged) ranges."""
    found: set[int] = set()
    for chunk in chunked(ranges, RANGES_PER_QUERY):
        found.update(connection.scalars(overlap_query(dataset_id, chunk)))
    return found


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most ``size`` items, in order."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
