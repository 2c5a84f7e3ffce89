"""Columns that are in the service's cache: over HTTP, and in an analysis, proven.

Against other servers ours is ``Service.fetch``: from the request to the checked reply. Against a
local file that has the columns, ours is what an analyst writes: ``tree.arrays`` of remote branches,
with the proof by the local file's own event keys, opened anew each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import uproot
import urllib3

from benchmarks.measure import Options, Row, Side, compare
from benchmarks.peers import THREADS, threaded
from benchmarks.truth import demand, equal, expected
from benchmarks.world import LOCAL, World, forget, started, world, write_local
from columnservice.demo.blocks import Sample
from columnservice.demo.process import Process, free_port

COLUMNS = ("PFCands_pt", "PFCands_eta", "PFCands_phi", "PFCands_mass")
SMALL_EVENTS = 64
BATCH_EVENTS = 1000
"""Servers are also asked for smaller batches than the service's, which are whole Partitions."""
SLOW_PART = 4
"""Files that take long to read hold one part in so many of the events."""


def rows(options: Options) -> Iterator[Row]:
    """All rows ``warm-*``."""
    events = options.size("warm_events")
    options.say("warm: generating events")
    with world(options.scratch, Sample(events=events, parents=2, missing=0)) as made:
        truth = expected(made.pair, COLUMNS)
        yield from _servers(options, made, events, truth)
        yield from _local(options, made, events, truth)


def _same_table(ours: pa.Table, peer: pa.Table) -> bool:
    return bool(ours.replace_schema_metadata(None).equals(peer.replace_schema_metadata(None)))


def _servers(options: Options, made: World, events: int, truth: ak.Array) -> Iterator[Row]:
    """Against Flight and a plain stream, which map an Arrow file with the same batches."""
    names = ("warm-http/plain-stream", "warm-http/flight", "warm-http-small/flight")
    if not options.wants(*names):
        return
    uuid = made.uuids[LOCAL]

    def ours(stop: int) -> Callable[[], pa.Table]:
        return lambda: made.service.fetch(LOCAL, uuid, 0, stop, COLUMNS).table

    table = ours(events)()
    # What the peers serve is made of it: it must be right before they can agree with us.
    demand("warm-http", ak.from_arrow(table["PFCands"]), truth)
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
                peers = {"batches as ours": peer(stop, 0)}
                if stop > BATCH_EVENTS:
                    peers[f"batches of {BATCH_EVENTS} events"] = peer(stop, BATCH_EVENTS)
                yield compare(
                    options, name, ours(stop), peers, same=_same_table, input_bytes=size_bytes
                )


def _peer(
    stack: ExitStack, options: Options, kind: str, path: Path
) -> Callable[[int, int], Callable[[], pa.Table]]:
    """A server that a user would write, and what its user calls.

    Returns:
        rows up to a number, most rows of a batch (0: as they are) → the call.
    """
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.servers", kind, str(port), str(path)]
    process = Process(f"the {kind} server", command, options.scratch / f"{kind}.log")
    stack.callback(process.stop)
    if kind == "plain":
        url = f"http://127.0.0.1:{port}/data"
        started(process, f"{url}?start=0&stop=0&most=0")
        http = urllib3.PoolManager()

        def get(stop: int, most: int) -> pa.Table:
            reply = http.request("GET", f"{url}?start=0&stop={stop}&most={most}")
            return pa.ipc.open_stream(reply.data).read_all()

        return lambda stop, most: lambda: get(stop, most)
    from pyarrow import flight as fl

    client = fl.connect(f"grpc://127.0.0.1:{port}")
    client.wait_for_available(timeout=60)
    stack.callback(client.close)

    def ticket(stop: int, most: int) -> Any:
        return fl.Ticket(json.dumps([0, stop, most]).encode())

    return lambda stop, most: lambda: client.do_get(ticket(stop, most)).read_all()


def _local(options: Options, made: World, events: int, truth: ak.Array) -> Iterator[Row]:
    """Against uproot reading a local file that has the columns."""
    if not options.wants(*LOCAL_ROWS):
        return
    opened = made.opener()
    arrays = opened().arrays(COLUMNS)
    demand("warm-http", arrays, truth)
    columns = {name: arrays[name] for name in COLUMNS}
    size_bytes = sum(np.asarray(ak.flatten(arrays[name])).nbytes for name in COLUMNS)

    with ExitStack() as stack:
        two = threaded(stack)
        for name, kind in LOCAL_ROWS.items():
            if not options.wants(name):
                continue
            stop = events // kind.part
            path = options.scratch / f"{kind.name}.root"
            if not path.exists():
                options.say(f"{name}: writing the local file")
                rows = slice(0, stop)
                write_local(path, made.pair.local, columns, kind.compression, rows)
            yield compare(
                options,
                name,
                Side(partial(_remote, opened, stop, kind.then), forget),
                {
                    "uproot": partial(_read, path, kind.then),
                    f"uproot with {THREADS} threads": Side(
                        partial(_read, path, kind.then, two), counted=False
                    ),
                },
                same=kind.same,
                input_bytes=size_bytes // kind.part,
                note=kind.note,
            )


def _remote(opened: Callable[[], Any], stop: int, then: Callable[[Any], Any]) -> Any:
    return then(opened().arrays(COLUMNS, entry_stop=stop))


def _read(path: Path, then: Callable[[Any], Any], how: Mapping[str, Any] = {}) -> Any:
    return then(uproot.open({path: "Events"}, **how).arrays(COLUMNS))


def _itself(arrays: Any) -> Any:
    return arrays


def _sums(arrays: Any) -> list[float]:
    """Every value is looked at."""
    return [float(ak.sum(arrays[name])) for name in COLUMNS]


@dataclass(frozen=True)
class Kind:
    """A local file with the columns, and what is done with them.

    Attributes:
        name: of the file.
        compression: of uproot.
        part: the file holds one part in so many of the events.
        then: what an analysis does with the arrays.
        same: whether two results of it are the same.
        note: of the row.
    """

    name: str
    compression: Any
    part: int = 1
    then: Callable[[Any], Any] = _itself
    same: Callable[[Any, Any], bool] = equal
    note: str = ""


LOCAL_ROWS = {
    "warm-http/local-zstd": Kind("zstd", uproot.ZSTD(5)),
    "warm-mapped/local-zstd": Kind(
        "zstd", uproot.ZSTD(5), then=_sums, same=np.array_equal, note="ours over HTTP"
    ),
    "warm-http/local-zlib": Kind("zlib", uproot.ZLIB(6), SLOW_PART),
    "warm-http/local-lzma": Kind("lzma", uproot.LZMA(4), SLOW_PART),
}
