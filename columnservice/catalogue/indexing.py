"""Opening a file once, to learn all that the catalogue keeps of it; runs in a worker process.

Knows files and formats; no database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np

from columnservice.errors import ColumnServiceError, FileError
from columnservice.formats import Format, find_tree, format_named, layout_digest
from columnservice.formats.format import merge_lumis
from columnservice.model import ColumnSet, FileIdentity, FileLocation, FileRecord, digest_of
from columnservice.reader import FilePool, read_rows
from columnservice.reader.costs import with_costs
from columnservice.reader.faults import fault
from columnservice.reader.replicas import lfn_of, replicas_of

# A Partition holds thousands of events: more stops than this would only make the catalogue large.
MOST_CLUSTER_STOPS = 4096
# Looking at every branch of a tree takes seconds, and thousands of files share one layout.
MOST_LAYOUTS = 32
_layouts: dict[str, ColumnSet] = {}


def index_file(
    url: str, format_name: str, xcaches: Mapping[str, str], pool: FilePool | None = None
) -> tuple[FileRecord, ColumnSet]:
    """Open a file and tell what it is, its Columns and the luminosity blocks that it holds.

    The origin is asked before the caches: a cache may still serve a file that was replaced.

    Args:
        url: the path or ``root://`` URL, as ``expand`` gave it.
        format_name: the Format of its Dataset.
        xcaches: origin prefix → cache prefix, asked when the origin does not answer.
        pool: open files of this process; None opens the file for this call only.

    Raises:
        FileError: not a ROOT file, damaged, without the Format's tree or event-key branches.
        TransportError: no replica answers.
        NotAllowed: the storage refuses.
    """
    fmt = format_named(format_name)
    *caches, origin = replicas_of(url, xcaches)
    location = FileLocation(lfn_of(url), (origin, *caches), tree=fmt.trees[0])
    own = FilePool(open_files=1) if pool is None else pool
    try:
        return _index(own, location, url, fmt)
    except ColumnServiceError:
        raise
    except Exception as error:
        raise fault(error, location.lfn, url) from None
    finally:
        if pool is None:
            own.close()


def _index(
    pool: FilePool, location: FileLocation, url: str, fmt: Format
) -> tuple[FileRecord, ColumnSet]:
    with pool.tree(location) as opened:
        identity = opened.identity
        _demand_uuid(identity, url)
        tree = find_tree(opened.directory, fmt)
        columnset = _columnset(tree, fmt)
        entries = int(tree.num_entries)
        record = FileRecord(
            lfn=location.lfn,
            url=url,
            identity=identity,
            entries=entries,
            tree=tree.name,
            columnset=columnset.digest,
            cluster_stops=thinned(tree.common_entry_offsets(), entries),
            mtime_seconds=opened.mtime_seconds,
        )
        reads = fmt.key_reads(tree)
        lumis = fmt.lumi_ranges(opened.directory) if entries else ()
    if lumis is None:
        here = replace(location, tree=record.tree, identity=identity)
        every_row = np.arange(entries, dtype=np.int64)
        keys = fmt.keys(read_rows(pool, here, reads, every_row).arrays)
        lumis = merge_lumis(keys.run, keys.lumi)
    return replace(record, lumis=lumis), columnset


def _columnset(tree: Any, fmt: Format) -> ColumnSet:
    """The Columns of a tree; those of a layout that this process has seen are not made again.

    A tree without events tells no costs, so what it offers is kept under a name of its own.
    """
    digest = layout_digest(tree, fmt)
    if not tree.num_entries:
        digest = digest_of(digest, "no events")
    known = _layouts.get(digest)
    if known is None:
        known = ColumnSet(digest, with_costs(fmt.offer(tree), tree))
        if len(_layouts) >= MOST_LAYOUTS:
            _layouts.clear()
        _layouts[digest] = known
    return known


def _demand_uuid(identity: FileIdentity, url: str) -> None:
    """Refuse a file whose UUID is all zeros: it names nothing."""
    if not UUID(identity.uuid).int:
        raise FileError(
            f"{url} has no UUID, so it cannot be told from other files: "
            "ROOT's RNTupleWriter::Recreate writes none.",
            "Write the RNTuple into a TFile (RNTupleWriter::Append).",
        )


def thinned(entry_offsets: Sequence[int], entries: int) -> tuple[int, ...]:
    """The ends of a file's clusters, ascending, the last one ``entries``; at most a few thousand.

    An empty file has none.

    Args:
        entry_offsets: rows at which every branch begins a new basket, or an RNTuple a new cluster.
        entries: rows of the file.
    """
    if not entries:
        return ()
    stops = np.unique([int(s) for s in entry_offsets if 0 < s < entries] + [entries])
    if len(stops) > MOST_CLUSTER_STOPS:
        kept = np.linspace(0, len(stops) - 1, MOST_CLUSTER_STOPS).round().astype(np.int64)
        stops = stops[kept]
    return tuple(int(s) for s in stops)
