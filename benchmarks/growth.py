"""Ten times the events: how much more time and memory the delivery path takes.

Each run starts a service and a client from nothing, joins, reads, decodes, gathers and delivers a
whole local file in chunks that the client lets go again. Memory is what the processes of the
service and the client hold for themselves at one moment (proportional shares of anonymous pages,
summed): what is mapped from the cache's files belongs to the page cache and can be given up.

Limits of the service and the client are lowered, so that the small file reaches them too: at the
defaults it would take 40 000 events, 2.4 GB of parents, and 24 GB for ten times as many. What the
same files take with the defaults is told beside.
"""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import psutil
import uproot

import columnservice
from benchmarks.measure import Options, Row, WrongAnswer, row_of, turn
from benchmarks.truth import expected
from benchmarks.world import LOCAL, world
from columnservice.demo.blocks import Sample
from columnservice.demo.generate import Pair, generate
from columnservice.nanoevents.branches import ColumnClasses
from columnservice.nanoevents.memory import LIMIT_BYTES, MEMORY
from columnservice.nanoevents.offer import make_offer

TIMES = 10
COLUMNS = ("PFCands_pt", "PFCands_eta", "PFCands_mass", "PFCands_pdgId")
CHUNK_EVENTS = 250
REMEMBERED_BYTES = 8_000_000
"""What the client remembers: two chunks or so."""
RUNS = 3
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """One delivery: seconds, most bytes at one moment, and what came."""

    seconds: float
    peak_bytes: int
    events: int
    objects: int


@dataclass(frozen=True)
class Limits:
    """What bounds memory: events of a Partition, and what the client remembers."""

    partition_events: int
    remembered_bytes: int

    def __str__(self) -> str:
        return (
            f"partitions of {self.partition_events} events, client remembers "
            f"{self.remembered_bytes / 1e6:.0f} MB"
        )


LOWERED = Limits(CHUNK_EVENTS, REMEMBERED_BYTES)


def _defaults() -> Limits:
    # Imported here only: the client is a process of this module and would hold it too.
    from columnservice.settings import Settings

    return Limits(Settings.model_fields["partition_events"].default, LIMIT_BYTES)


def rows(options: Options) -> Iterator[Row]:
    """The rows ``growth/time`` and ``growth/memory``."""
    pairs = [
        _pair(options, options.scratch / str(times), options.size("growth_events") * times)
        for times in (1, TIMES)
    ]
    few, many = _alternately(options, pairs, LOWERED, min(options.pairs, RUNS))
    note = f"{pairs[0].sample.events} and {pairs[1].sample.events} events; {LOWERED}"
    read = sum(parent.stat().st_size for parent in pairs[1].parents)
    if options.wants("growth/time"):
        ours, peer = [r.seconds for r in many], [r.seconds for r in few]
        yield row_of(options, "growth/time", ours, peer, input_bytes=read, note=note)
    if options.wants("growth/memory"):
        ours, peer = ([float(r.peak_bytes) for r in made] for made in (many, few))
        defaults = _defaults()
        usual = _alternately(options, pairs, defaults, 1)
        yield row_of(
            options,
            "growth/memory",
            ours,
            peer,
            input_bytes=read,
            seconds=statistics.median(r.seconds for r in many),
            peer_seconds=statistics.median(r.seconds for r in few),
            note=f"{note}: {_peaks(few, many)}; not counted: {defaults}: {_peaks(*usual)}",
        )


def _pair(options: Options, folder: Path, events: int) -> Pair:
    options.say(f"growth: generating {events} events")
    folder.mkdir()
    return generate("cms", folder, Sample(events=events, parents=2, missing=0))


def _alternately(
    options: Options, pairs: Sequence[Pair], limits: Limits, count: int
) -> tuple[list[Run], list[Run]]:
    """So many deliveries of the small file, and of the large one."""
    runs: tuple[list[Run], list[Run]] = ([], [])
    held = [objects_of(pair) for pair in pairs]
    for number in range(count):
        for which in turn((0, 1), number):
            pair = pairs[which]
            options.say(f"growth: {pair.sample.events} events, run {number + 1}")
            folder = options.scratch / f"{pair.sample.events}-{limits.partition_events}-{number}"
            run = _deliver(pair, folder, limits)
            if (run.events, run.objects) != (pair.sample.events, held[which]):
                raise WrongAnswer(
                    f"growth: {run.events} of {pair.sample.events} events came, with {run.objects} "
                    f"of {held[which]} objects."
                )
            runs[which].append(run)
    return runs


def objects_of(pair: Pair) -> int:
    """How many objects the parents hold for the local events, by the generator's truth."""
    return int(ak.sum(ak.num(expected(pair, COLUMNS[3:])[COLUMNS[3]])))


def _peaks(few: Sequence[Run], many: Sequence[Run]) -> str:
    medians = (statistics.median(run.peak_bytes for run in runs) for runs in (few, many))
    return " and ".join(f"{median / 1e6:.0f} MB" for median in medians)


def _deliver(pair: Pair, folder: Path, limits: Limits) -> Run:
    """All events through a service and a client of their own."""
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    settings = {"COLUMNSERVICE_PARTITION_EVENTS": str(limits.partition_events)}
    with world(folder, pair.sample, pair=pair, settings=settings) as made:
        receiving, sending = context.Pipe(duplex=False)
        told = (sending, made.service.url, str(pair.local), limits.remembered_bytes)
        client = context.Process(target=_consume, args=told)
        client.start()
        sending.close()
        with Peak() as peak:
            seconds, events, objects = receiving.recv()
        client.join()
    return Run(seconds, peak.most_bytes, events, objects)


def _consume(  # type: ignore[no-untyped-def]
    connection, url: str, path: str, remembered_bytes: int
) -> None:
    """The client: an analysis that looks at each chunk once."""
    MEMORY.limit_bytes = remembered_bytes
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
    """Looks again and again how much all processes below this one hold; the largest sum.

    What stops it from looking is raised when the block ends.
    """

    def __init__(self) -> None:
        self.most_bytes = 0
        self._failed: BaseException | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _look(self) -> None:
        try:
            while not self._over.wait(LOOK_SECONDS):
                with suppress(psutil.Error):  # one has just ended: the next look sees the others
                    below = psutil.Process().children(recursive=True)
                    self.most_bytes = max(self.most_bytes, sum(_own_bytes(p.pid) for p in below))
        except BaseException as error:
            self._failed = error


def _own_bytes(pid: int) -> int:
    """A process's share of anonymous memory; shared pages count once over all who share them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    fields = (line.split() for line in lines)
    return sum(int(f[1]) * 1024 for f in fields if f[0] == "Pss_Anon:")
