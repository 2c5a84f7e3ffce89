"""In coffea: remote columns against the same columns in the local file.

The columns are warm in the service. Files are opened anew in each run, as coffea does for each
chunk. A *later* touch is one by another pass over the same events in the same process.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory
from coffea.processor import IterativeExecutor, ProcessorABC, Runner

from benchmarks.measure import Options, Row, Side, compare
from benchmarks.peers import THREADS, threaded
from benchmarks.truth import demand, expected
from benchmarks.world import World, forget, world, write_local
from columnservice.demo.blocks import Sample

COLUMNS = ("PFCands_pt", "PFCands_eta", "PFCands_phi", "PFCands_mass")
CHUNKS = 4
FIRST, LATER = "first-touch/one-more-local-column", "later-touch/one-more-local-column"


class Activity(ProcessorABC):  # type: ignore[misc]
    """Sums over the particles near each leading muon: four remote and three local columns."""

    def process(self, events: Any) -> dict[str, float]:
        muon = ak.firsts(events.Muon)
        particles = events.PFCands
        near = np.hypot(particles.eta - muon.eta, particles.phi - muon.phi) < 0.4
        energy = np.hypot(particles.pt * np.cosh(particles.eta), particles.mass)
        return {
            "events": float(len(events)),
            "pt": float(ak.sum(particles.pt[near])),
            "energy": float(ak.sum(energy)),
            "muons": float(ak.sum(muon.pt)),
        }

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


def rows(options: Options) -> Iterator[Row]:
    """The rows ``runner/local``, ``first-touch/…`` and ``later-touch/…``."""
    warnings.filterwarnings("ignore", module="coffea")
    events = options.size("analysis_events")
    options.say("analysis: generating events")
    with ExitStack() as stack:
        sample = Sample(events=events, parents=2, missing=0)
        made = stack.enter_context(world(options.scratch, sample))
        arrays = made.tree().arrays(list(COLUMNS))
        # The peer's file is made of it: it must be right before the peer can agree with us.
        demand("runner", arrays, expected(made.pair, COLUMNS))
        size_bytes = sum(np.asarray(ak.flatten(arrays[name])).nbytes for name in COLUMNS)
        full = write_local(
            options.scratch / "full.root",
            made.pair.local,
            {name: arrays[name] for name in COLUMNS},
            uproot.ZSTD(5),
        )
        thin = write_local(options.scratch / "thin.root", made.pair.local, {}, uproot.ZSTD(5))
        made.register("bench_thin", [thin], "bench_parent")
        made.tree(thin, "bench_thin").arrays(list(COLUMNS))
        two = threaded(stack)
        if options.wants("runner/local"):
            yield _runner(options, made, thin, full, two, size_bytes)
        if options.wants(FIRST, LATER):
            yield from _touches(options, made, thin, full, two, size_bytes // len(COLUMNS))


def _runner(
    options: Options, made: World, thin: Path, full: Path, two: dict[str, Any], size_bytes: int
) -> Row:
    """A processor over all events; which columns there are is asked in each run."""
    events = options.size("analysis_events")

    def run(path: Path, *, remote: bool = False, how: dict[str, Any] | None = None) -> Any:
        runner = Runner(
            executor=IterativeExecutor(status=False),
            schema=NanoAODSchema,
            chunksize=-(-events // CHUNKS),
            cachestrategy=None,
        )
        fileset = {"sample": {"files": {str(path): "Events"}}}
        if remote:
            return made.service.run(runner, fileset, Activity())
        return runner(fileset, Activity(), uproot_options=how or {})

    def same(ours: Any, peer: Any) -> bool:
        return bool(ours.keys() == peer.keys() and all(ours[k] == peer[k] for k in ours))

    return compare(
        options,
        "runner/local",
        Side(lambda: run(thin, remote=True), forget),
        {
            "local": lambda: run(full),
            f"local with {THREADS} threads": Side(lambda: run(full, how=two), counted=False),
        },
        same=same,
        input_bytes=size_bytes,
    )


def _touches(
    options: Options, made: World, thin: Path, full: Path, two: dict[str, Any], size_bytes: int
) -> Iterator[Row]:
    """One column of a jagged collection, first and later, after a local one was used."""
    how = made.service.nanoevents(NanoAODSchema, dataset="bench_thin", read_ahead=False)

    def opened(path: Path, how: dict[str, Any]) -> Any:
        events = NanoEventsFactory.from_root({path: "Events"}, **how).events()
        ak.sum(events.Muon.pt)
        return events

    def touch(events: Any) -> Any:
        # ``eta`` is touched by its own name: what is timed is a column, not a behaviour.
        return ak.flatten(events.PFCands.eta).to_numpy()

    def side(
        path: Path, how: dict[str, Any], before: Callable[[], None], counted: bool = True
    ) -> Side:
        held: list[Any] = []

        def prepare() -> None:
            before()
            held[:] = [opened(path, how)]

        return Side(lambda: touch(held[0]), prepare, counted)

    def nothing() -> None:
        """What was fetched before is remembered."""

    plain: dict[str, Any] = {"schemaclass": NanoAODSchema}
    threads = plain | {"uproot_options": two}
    for name, before in ((FIRST, forget), (LATER, nothing)):
        if options.wants(name):
            yield compare(
                options,
                name,
                side(thin, how, before),
                {
                    "local": side(full, plain, nothing),
                    f"local with {THREADS} threads": side(full, threads, nothing, counted=False),
                },
                same=np.array_equal,
                input_bytes=size_bytes,
            )
