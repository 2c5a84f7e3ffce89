"""Ten times the events: how much more time and memory the delivery path takes.

Each run starts a service and a client from nothing, joins, reads, decodes, gathers and delivers a
whole local file in chunks that the client lets go again. Memory is what the processes of the
service and the client hold for themselves at one moment (proportional shares of anonymous pages,
summed): what is mapped from the cache's files belongs to the page cache and can be given up.
"""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.measure import Options, Row, WrongAnswer, row_of
from benchmarks.world import LOCAL, world
from columnservice.demo.blocks import Sample
from columnservice.demo.generate import Pair, generate

TIMES = 10
COLUMNS = ("PFCands_pt", "PFCands_eta", "PFCands_mass", "PFCands_pdgId")
CHUNK_EVENTS = 250
# An analysis remembers what it read last, up to 512 MB; here two chunks or so, as few as fit into
# the small file too: else memory would grow up to that limit, in the larger file only.
REMEMBERED_BYTES = 8_000_000
SETTINGS = {"COLUMNSERVICE_PARTITION_EVENTS": str(CHUNK_EVENTS)}
RUNS = 3
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """One delivery: seconds, most bytes at one moment, and what came."""

    seconds: float
    peak_bytes: int
    events: int
    objects: int


def rows(options: Options) -> Iterator[Row]:
    """The rows ``growth/time`` and ``growth/memory``."""
    pairs = [
        _pair(options, options.scratch / str(times), options.size("growth_events") * times)
        for times in (1, TIMES)
    ]
    runs: tuple[list[Run], list[Run]] = ([], [])
    for number in range(min(options.pairs, RUNS)):
        for pair, found in zip(pairs, runs, strict=True):
            options.say(f"growth: {pair.sample.events} events, run {number + 1}")
            run = _deliver(pair, options.scratch / f"{pair.sample.events}-{number}")
            if run.events != pair.sample.events or (found and run.objects != found[0].objects):
                raise WrongAnswer(f"growth: {run.events} of {pair.sample.events} events came.")
            found.append(run)
    few, many = runs
    note = f"{pairs[0].sample.events} and {pairs[1].sample.events} events"
    read = sum(parent.stat().st_size for parent in pairs[1].parents)
    if options.wants("growth/time"):
        ours, peer = [r.seconds for r in many], [r.seconds for r in few]
        yield row_of(options, "growth/time", ours, peer, input_bytes=read, note=note)
    if options.wants("growth/memory"):
        ours, peer = ([float(r.peak_bytes) for r in made] for made in (many, few))
        peaks = " and ".join(f"{statistics.median(p) / 1e6:.0f} MB" for p in (peer, ours))
        yield row_of(
            options,
            "growth/memory",
            ours,
            peer,
            input_bytes=read,
            seconds=statistics.median(r.seconds for r in many),
            peer_seconds=statistics.median(r.seconds for r in few),
            note=f"{note}, at most {peaks}",
        )


def _pair(options: Options, folder: Path, events: int) -> Pair:
    options.say(f"growth: generating {events} events")
    folder.mkdir()
    return generate("cms", folder, Sample(events=events, parents=2, missing=0))


def _deliver(pair: Pair, folder: Path) -> Run:
    """All events through a service and a client of their own."""
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    with world(folder, pair.sample, pair=pair, settings=SETTINGS) as made:
        receiving, sending = context.Pipe(duplex=False)
        told = (sending, made.service.url, str(pair.local))
        client = context.Process(target=_consume, args=told)
        client.start()
        sending.close()
        with Peak() as peak:
            seconds, events, objects = receiving.recv()
        client.join()
    return Run(seconds, peak.most_bytes, events, objects)


def _consume(connection, url: str, path: str) -> None:  # type: ignore[no-untyped-def]
    """The client: an analysis that looks at each chunk once."""
    import awkward as ak
    import uproot

    import columnservice
    from columnservice.nanoevents.branches import ColumnClasses
    from columnservice.nanoevents.memory import MEMORY
    from columnservice.nanoevents.offer import make_offer

    MEMORY.limit_bytes = REMEMBERED_BYTES
    begun = time.perf_counter()
    offer = make_offer(columnservice.connect(url), dataset=LOCAL, read_ahead=False)
    tree = uproot.open({path: "Events"}, custom_classes=ColumnClasses(offer))
    events = objects = 0
    for start in range(0, tree.num_entries, CHUNK_EVENTS):
        arrays = tree.arrays(list(COLUMNS), entry_start=start, entry_stop=start + CHUNK_EVENTS)
        events += len(arrays)
        objects += int(ak.sum(ak.num(arrays[COLUMNS[0]])))
    connection.send((time.perf_counter() - begun, events, objects))


class Peak:
    """Looks again and again how much all processes below this one hold; the largest sum."""

    def __init__(self) -> None:
        self.most_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            below = psutil.Process().children(recursive=True)
            self.most_bytes = max(self.most_bytes, sum(_own_bytes(p.pid) for p in below))


def _own_bytes(pid: int) -> int:
    """A process's share of anonymous memory; shared pages count once over all who share them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    fields = (line.split() for line in lines)
    return sum(int(f[1]) * 1024 for f in fields if f[0] == "Pss_Anon:")
