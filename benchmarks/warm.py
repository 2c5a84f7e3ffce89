"""Columns that are in the service's cache: over HTTP, and in an analysis, proven.

Against other servers ours is ``Service.fetch``: from the request to the checked reply. Against a
local file that has the columns, ours is what an analyst writes: ``tree.arrays`` of remote branches,
with the proof by the local file's own event keys, opened anew each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import uproot
import urllib3

from benchmarks.measure import Options, Row, Side, compare
from benchmarks.world import LOCAL, World, equal, forget, started, world, write_local
from columnservice.demo.blocks import Sample
from columnservice.demo.process import Process, free_port

COLUMNS = ("PFCands_pt", "PFCands_eta", "PFCands_phi", "PFCands_mass")
SMALL_EVENTS = 64
LZMA_PART = 4
"""The LZMA file holds one part in so many of the events: reading it takes seconds as it is."""


def rows(options: Options) -> Iterator[Row]:
    """All rows ``warm-*``."""
    events = options.size("warm_events")
    options.say("warm: generating events")
    with world(options.scratch, Sample(events=events, parents=2, missing=0)) as made:
        yield from _servers(options, made, events)
        yield from _local(options, made, events)


def _same_table(ours: pa.Table, peer: pa.Table) -> bool:
    return bool(ours.replace_schema_metadata(None).equals(peer.replace_schema_metadata(None)))


def _servers(options: Options, made: World, events: int) -> Iterator[Row]:
    """Against Flight and a plain stream, which map an Arrow file with the same batches."""
    names = ("warm-http/plain-stream", "warm-http/flight", "warm-http-small/flight")
    if not options.wants(*names):
        return
    uuid = made.uuids[LOCAL]

    def ours(stop: int) -> Callable[[], pa.Table]:
        return lambda: made.service.fetch(LOCAL, uuid, 0, stop, COLUMNS).table

    table = ours(events)()
    path = options.scratch / "table.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    small_bytes = table.slice(0, SMALL_EVENTS).nbytes
    large_bytes = table.nbytes
    del table
    with ExitStack() as stack:
        plain, flight = (_peer(stack, options, kind, path) for kind in ("plain", "flight"))
        for name, stop, peer, size_bytes in (
            (names[0], events, plain, large_bytes),
            (names[1], events, flight, large_bytes),
            (names[2], SMALL_EVENTS, flight, small_bytes),
        ):
            if options.wants(name):
                yield compare(
                    options,
                    name,
                    ours(stop),
                    {"peer": peer(stop)},
                    same=_same_table,
                    input_bytes=size_bytes,
                )


def _peer(
    stack: ExitStack, options: Options, kind: str, path: Path
) -> Callable[[int], Callable[[], pa.Table]]:
    """A server that a user would write, and what its user calls for the rows up to a number."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.servers", kind, str(port), str(path)]
    process = Process(f"the {kind} server", command, options.scratch / f"{kind}.log")
    stack.callback(process.stop)
    if kind == "plain":
        url = f"http://127.0.0.1:{port}/data"
        started(process, f"{url}?start=0&stop=0")
        http = urllib3.PoolManager()

        def get(stop: int) -> pa.Table:
            reply = http.request("GET", f"{url}?start=0&stop={stop}")
            return pa.ipc.open_stream(reply.data).read_all()

        return lambda stop: lambda: get(stop)
    from pyarrow import flight as fl

    client = fl.connect(f"grpc://127.0.0.1:{port}")
    client.wait_for_available(timeout=60)
    stack.callback(client.close)

    def ticket(stop: int) -> Any:
        return fl.Ticket(json.dumps([0, stop]).encode())

    return lambda stop: lambda: client.do_get(ticket(stop)).read_all()


def _local(options: Options, made: World, events: int) -> Iterator[Row]:
    """Against uproot reading a local file that has the columns."""
    names = ("warm-http/local-zstd", "warm-mapped/local-zstd", "warm-http/local-lzma")
    if not options.wants(*names):
        return
    opened = made.opener()
    arrays = opened().arrays(COLUMNS)
    size_bytes = sum(np.asarray(ak.flatten(arrays[name])).nbytes for name in COLUMNS)
    columns = {name: arrays[name] for name in COLUMNS}

    def side(stop: int, then: Callable[[Any], Any]) -> Side:
        return Side(lambda: then(opened().arrays(COLUMNS, entry_stop=stop)), forget)

    def peer(path: Path, then: Callable[[Any], Any]) -> Callable[[], Any]:
        return lambda: then(uproot.open({path: "Events"}).arrays(COLUMNS))

    if options.wants(*names[:2]):
        zstd = write_local(options.scratch / "zstd.root", made.pair.local, columns, uproot.ZSTD(5))
    if options.wants(names[0]):
        yield compare(
            options,
            names[0],
            side(events, _itself),
            {"uproot": peer(zstd, _itself)},
            same=equal,
            input_bytes=size_bytes,
        )
    if options.wants(names[1]):
        yield compare(
            options,
            names[1],
            side(events, _sums),
            {"uproot": peer(zstd, _sums)},
            same=np.array_equal,
            input_bytes=size_bytes,
        )
    if options.wants(names[2]):
        part = events // LZMA_PART
        lzma = write_local(
            options.scratch / "lzma.root", made.pair.local, columns, uproot.LZMA(4), slice(0, part)
        )
        yield compare(
            options,
            names[2],
            side(part, _itself),
            {"uproot": peer(lzma, _itself)},
            same=equal,
            input_bytes=size_bytes // LZMA_PART,
        )


def _itself(arrays: Any) -> Any:
    return arrays


def _sums(arrays: Any) -> list[float]:
    """Every value is looked at."""
    return [float(ak.sum(arrays[name])) for name in COLUMNS]
