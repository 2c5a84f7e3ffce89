"""Many clients at once: none fails, none starves, and together they get what one alone would.

Each client is a thread of its own with its own connection, in one of several processes, and asks
for ranges at random, all of them warm. The last reply of each is compared with the same rows of one
reply with all. Any error ends the benchmark.
"""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa

import columnservice
from benchmarks.measure import Options, Row, row_of
from benchmarks.truth import demand, expected
from benchmarks.world import LOCAL, World, world
from columnservice.demo.blocks import Sample

COLUMNS = ("PFCands_pt", "PFCands_eta", "PFCands_phi", "PFCands_mass")
CLIENTS, PROCESSES = 64, 8
RANGE_PARTS = 20
"""A request is for one part in so many of the events."""
FAIR, TOTAL = "clients/slowest-of-mean", "clients/one-alone"


def rows(options: Options) -> Iterator[Row]:
    """The rows ``clients/…``."""
    events = options.size("clients_events")
    seconds = float(options.size("clients_seconds"))
    options.say("clients: generating events")
    with world(options.scratch, Sample(events=events, parents=2, missing=0)) as made:
        whole = made.service.fetch(LOCAL, made.uuids[LOCAL], 0, events, COLUMNS).table
        demand("clients", ak.from_arrow(whole["PFCands"]), expected(made.pair, COLUMNS))
        path = options.scratch / "whole.arrow"
        with (
            pa.OSFile(str(path), "wb") as file,
            pa.ipc.new_file(file, whole.schema.remove_metadata()) as writer,
        ):
            writer.write_table(whole.replace_schema_metadata(None))
        del whole
        options.say("clients: one alone")
        alone = [_rates(made, path, 1, seconds / 6)[0]]
        options.say(f"clients: {CLIENTS} for {seconds:g} s")
        rates = _rates(made, path, CLIENTS, seconds)
        alone.append(_rates(made, path, 1, seconds / 6)[0])
    note = f"{sum(rates) / 1e9:.2f} GB/s together, one alone {max(alone) / 1e9:.2f} GB/s"
    size_bytes = int(sum(rates) * seconds)
    mean = statistics.mean(rates)
    if options.wants(FAIR):
        yield _row(options, FAIR, min(rates), mean, size_bytes, seconds, note)
    if options.wants(TOTAL):
        yield _row(options, TOTAL, sum(rates), max(alone), size_bytes, seconds, note)


def _row(
    options: Options,
    name: str,
    ours: float,
    peer: float,
    size_bytes: int,
    seconds: float,
    note: str,
) -> Row:
    """A ratio of rates, as the ratio of the times per byte that it is."""
    return row_of(
        options,
        name,
        [1 / ours],
        [1 / peer],
        input_bytes=size_bytes,
        seconds=seconds,
        peer_seconds=seconds,
        note=f"a ratio of rates; {note}",
    )


def _rates(made: World, whole: Path, clients: int, seconds: float) -> list[float]:
    """Bytes of columns per second of each client.

    Args:
        made: the service.
        whole: an Arrow file with all rows.
        clients: how many.
        seconds: how long they ask.

    Raises:
        RuntimeError: a client got an error, or other values than these.
    """
    context = multiprocessing.get_context("spawn")
    processes = min(PROCESSES, clients)
    told: Queue[Any] = context.Queue()
    begin = context.Barrier(processes)
    arguments = (made.service.url, made.uuids[LOCAL], str(whole), clients // processes, seconds)
    running = [
        context.Process(target=_process, args=(*arguments, number, begin, told))
        for number in range(processes)
    ]
    for process in running:
        process.start()
    found: list[float] = []
    try:
        for _ in running:
            rates = told.get(timeout=seconds + 120)
            if isinstance(rates, str):
                raise RuntimeError(f"a client failed: {rates}")
            found += rates
    finally:
        for process in running:
            process.join(30)
            if process.is_alive():
                process.terminate()
    return found


def _process(
    url: str,
    uuid: str,
    path: str,
    clients: int,
    seconds: float,
    number: int,
    begin: Any,
    told: Queue[Any],
) -> None:
    whole = pa.ipc.open_file(pa.memory_map(path)).read_all()
    events = whole.num_rows
    rates: list[float] = [0.0] * clients
    failed: list[str] = []

    def client(place: int) -> None:
        service = columnservice.connect(url)
        random = np.random.default_rng([number, place])
        size = max(events // RANGE_PARTS, 1)
        got, begun = 0, time.perf_counter()
        until = begun + seconds
        try:
            while time.perf_counter() < until:
                start = int(random.integers(0, events - size + 1))
                reply = service.fetch(LOCAL, uuid, start, start + size, COLUMNS)
                got += sum(batch.data.nbytes for batch in reply.batches)
            rates[place] = got / (time.perf_counter() - begun)
            table = reply.table.replace_schema_metadata(None)
            if not table.equals(whole.slice(start, size)):
                failed.append(f"rows from {start} on are other ones than in one reply with all")
        except Exception as error:
            failed.append(repr(error))

    begin.wait()
    threads = [threading.Thread(target=client, args=(place,)) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put(failed[0] if failed else rates)
