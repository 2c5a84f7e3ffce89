"""``columnservice fetch``: columns for a local file, proven against it, into a new file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from columnservice.cli import output
from columnservice.cli.dataset import absolute
from columnservice.cli.remote import Url, ask, connect, path_of
from columnservice.cli.writing import demand_suffix, output_file
from columnservice.errors import (
    OutOfRange,
    ProofMismatch,
    RequestError,
    UnknownColumn,
    UnsupportedColumn,
)

if TYPE_CHECKING:
    from columnservice.client import Reply, Service
    from columnservice.client.makings import Makings
    from columnservice.model import Column, FileLocation, Keys
    from columnservice.reader import FilePool

_MAGIC = re.compile(r"[*?\[]")


def fetch(
    file: Annotated[str, typer.Argument(metavar="FILE", show_default=False)],
    dataset: Annotated[str, typer.Option(help="The file's dataset.", show_default=False)],
    columns: Annotated[
        str,
        typer.Option(help="Names or patterns, parted by commas: PFCands_*.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="OUT.arrow, OUT.parquet or OUT.root.", show_default=False
        ),
    ],
    start: Annotated[int, typer.Option(min=0, help="First row of the local file.")] = 0,
    stop: Annotated[
        int | None,
        typer.Option(
            min=0, help="Row after the last one; the file's end if not told.", show_default=False
        ),
    ] = None,
    rntuple: Annotated[
        bool, typer.Option("--rntuple", help="Write OUT.root as an RNTuple, not as a TTree.")
    ] = False,
    with_local: Annotated[
        str | None,
        typer.Option(
            "--with-local",
            help="The file's own columns to write beside them (with --rntuple): '*' for all, "
            "or names and patterns.",
            show_default=False,
        ),
    ] = None,
    url: Url = None,
) -> None:
    """Fetch columns that a local file lacks, row by row, into a new file."""
    demand_suffix(out, rntuple=rntuple)
    if with_local is not None and not rntuple:
        raise RequestError(
            "Columns of the local file are written into RNTuples only.",
            "Add --rntuple, or use the file as a friend tree of your own.",
        )
    from columnservice.reader import FilePool

    service = connect(url)
    info = service.dataset(dataset)
    told = service.catalogue(dataset)
    offered = [c for c in told.columns if c.origin != "reference"]
    chosen = choose(offered, columns.split(","), dataset)
    pool = FilePool(open_files=1)
    try:
        local = open_local(pool, absolute(file), info.format)
        end = local.entries if stop is None else stop
        ranges = ranges_of(
            ask(url, "GET", path_of(dataset, f"/partitions?file={local.uuid}")), start, end, local
        )
        own = ""
        if with_local is None:
            with output_file(out.absolute(), chosen, local.location.tree, rntuple=rntuple) as write:
                asking = Asking(service, dataset, chosen, told.makings)
                missing = write_fetched(asking, pool, local, ranges, write)
        else:
            from columnservice.cli.together import own_columns, write_together

            kept = own_columns(pool, local.location, local.format, with_local.split(","))
            missing = write_together(
                out.absolute(), service, dataset, pool, local.location, kept, chosen, ranges
            )
            own = f" and {len(kept.taken)} of the file's own"
            for lost in kept.lost:
                remark = f"{lost.name} of the file cannot be taken: {lost.reason}."
                output.stderr().print(remark, markup=False, soft_wrap=True)
    finally:
        pool.close()
    output.say(f"{out}: {end - start} events, {len(chosen)} columns{own}")
    if missing:
        shown = "null" if with_local is None else "NaN, 0 or empty"
        remark = f"{missing} events have no parent: they are {shown}, select hasParent."
        output.stderr().print(remark, markup=False)


@dataclass(frozen=True)
class Asking:
    """What is asked of a service: Columns of a Dataset, made as its list of Columns says."""

    service: Service
    dataset: str
    columns: Sequence[Column]
    makings: Makings

    def reply(self, uuid: str, start: int, stop: int) -> Reply:
        """Values for some rows of a local file.

        Raises:
            ProvenanceChanged: somebody changed a Column since the list was made.
        """
        names = [c.name for c in self.columns]
        reply = self.service.fetch(self.dataset, uuid, start, stop, names)
        where, remedy = f"Dataset {self.dataset!r}", "Nothing was written. Run the command again."
        self.makings.demand_same(names, reply.provenance, where, remedy, self._makings_now)
        return reply

    def _makings_now(self) -> Makings:
        return self.service.catalogue(self.dataset).makings


def write_fetched(
    asking: Asking,
    pool: FilePool,
    local: LocalFile,
    ranges: Sequence[tuple[int, int]],
    write: Callable[[Reply], None],
) -> int:
    """Write what the service sends; returns how many events have no parent.

    Raises:
        ProvenanceChanged, ProofMismatch: two parts do not belong together, or to the file.
    """
    missing = 0
    for first, last in ranges:
        reply = asking.reply(local.uuid, first, last)
        demand_proof(reply, local.keys(pool, first, last), local.location.lfn)
        missing += int((~reply.has_parent).sum())
        write(reply)
    return missing


def choose(offered: Sequence[Column], names: Sequence[str], dataset: str) -> list[Column]:
    """The Columns of these names and patterns, each once; a pattern takes what can be delivered.

    Raises:
        UnknownColumn: there is none of a name, or nothing fits a pattern.
        UnsupportedColumn: it exists, but cannot be delivered; says why.
        RequestError: it stands in the local file already.
    """
    known = {c.name: c for c in offered}
    chosen: dict[str, Column] = {}
    for name in (n.strip() for n in names if n.strip()):
        if _MAGIC.search(name):
            fitting = [
                c
                for c in offered
                if fnmatchcase(c.name, name)
                and c.origin not in ("local", "reference")
                and c.support == "ok"
            ]
            if not fitting:
                raise UnknownColumn(f"No column that {dataset} can add fits {name!r}.")
            chosen.update((c.name, c) for c in fitting)
            continue
        column = known.get(name)
        if column is None:
            from columnservice.search import unknown_text

            near = unknown_text(name, known.values())
            raise UnknownColumn(f"No column {name!r} in {dataset}" + (f"; {near}" if near else "."))
        if column.support != "ok":
            raise UnsupportedColumn(f"{name} of {dataset} cannot be delivered: {column.reason}.")
        if column.origin == "local":
            raise RequestError(
                f"{name} stands in the local files of {dataset} already.", "Read it from there."
            )
        chosen[name] = column
    if not chosen:
        raise RequestError("No column is named.", "Name some: --columns A,B.")
    return list(chosen.values())


@dataclass(frozen=True)
class LocalFile:
    """The user's file: what it is, and how to read its EventKeys."""

    location: FileLocation
    format: str
    uuid: str
    entries: int

    def keys(self, pool: FilePool, start: int, stop: int) -> Keys:
        """EventKeys of rows ``start`` to ``stop``."""
        import numpy as np

        from columnservice.formats import find_tree, format_named
        from columnservice.reader import read_rows

        fmt = format_named(self.format)
        with pool.tree(self.location) as opened:
            reads = fmt.key_reads(find_tree(opened.directory, fmt))
        rows = np.arange(start, stop, dtype=np.int64)
        return fmt.keys(read_rows(pool, self.location, reads, rows).arrays)


def open_local(pool: FilePool, file: str, format_name: str) -> LocalFile:
    """Open the user's file.

    Raises:
        FileError, TransportError: it cannot be read, or is not of the Dataset's Format.
    """
    from columnservice.formats import find_tree, format_named
    from columnservice.model import FileLocation

    fmt = format_named(format_name)
    location = FileLocation(file, (file,), tree=fmt.trees[0])
    with pool.tree(location) as opened:
        tree = find_tree(opened.directory, fmt)
        location = replace(location, tree=tree.name, identity=opened.identity)
        return LocalFile(location, format_name, opened.identity.uuid, int(tree.num_entries))


def ranges_of(
    document: dict[str, list[tuple[int, int]]], start: int, stop: int, local: LocalFile
) -> list[tuple[int, int]]:
    """Rows ``start`` to ``stop`` cut at the service's Partitions, so that memory stays bounded.

    Raises:
        OutOfRange: the file has no such rows.
    """
    if not start <= stop <= local.entries:
        raise OutOfRange(
            f"Rows {start} to {stop} of {local.location.lfn}, which has {local.entries}."
        )
    cut = [(max(a, start), min(b, stop)) for a, b in document["partitions"]]
    return [(a, b) for a, b in cut if a < b] or [(start, start)]


def demand_proof(reply: Reply, keys: Keys, file: str) -> None:
    """Check that every row holds the values of the very event that the local file has there.

    Args:
        reply: what the service sent.
        keys: the local file's EventKeys of the same rows.
        file: for the message.

    Raises:
        ProofMismatch: some row belongs to another event.
    """
    from columnservice import wire

    for batch in reply.batches:
        present = batch.data.column(wire.HAS_PARENT).to_numpy(zero_copy_only=False)
        own = keys[batch.start - reply.start : batch.stop - reply.start]
        if wire.checksum(wire.row_hashes(own, present, batch.start)) != batch.proof:
            raise ProofMismatch(
                f"Rows {batch.start} to {batch.stop} that came for {file} belong to other events."
            )
