"""Columns that nobody has asked for yet: read from the parents through a real XCache.

The XCache holds the parents (both sides find it as warm); the service's Pieces are
removed before each run. Ours is what an analyst writes:
``tree.arrays`` of remote branches with their proof. The peers read with uproot over ``root://``:
bare branches in the parents' order, or a whole script (``scripts``).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from numpy.typing import NDArray

from benchmarks import rdataframe
from benchmarks.measure import Options, Row, Side, compare, row_of, timed
from benchmarks.peers import Way, ways
from benchmarks.scripts import bare, script
from benchmarks.truth import agrees, branches_of, demand, equal, expected, in_order
from benchmarks.world import LOCAL, PARENT, World, forget, world, write_local
from columnservice.demo.blocks import Sample
from columnservice.demo.generate import Pair
from columnservice.reader.baskets import basket_runs

SKIM = "bench_skim"
COLUMNS = (
    "PFCands_pt",
    "PFCands_eta",
    "PFCands_mass",
    "PFCands_pdgId",
    "PFCandsRaw_packedDxy",
    "PFCandsRaw_packedDz",
    "PFCandsRaw_packedHits",
    "PFCandsRaw_packedPuppiweight",
)
WIDE = (
    *COLUMNS,
    "PFCandsRaw_packedDPhi",
    "PFCandsRaw_packedDEta",
    "PFCandsRaw_packedDTrkPt",
    "PFCandsRaw_rawCaloFraction",
    "PFCandsRaw_hcalFraction",
    "PFCandsRaw_qualityFlags",
    "PFCandsRaw_pvRefKey",
    "PFCandsRaw_packedLayers",
    "PFCandsRaw_normalizedChi2",
    "PFCandsRaw_covarianceVersion",
    "PFCandsRaw_covarianceSchema",
    "PFCandsRaw_firstHit",
    "PFCandsRaw_packedCovariance_dxydxy",
    "PFCandsRaw_packedCovariance_dxydz",
    "PFCandsRaw_packedCovariance_dzdz",
    "PFCands_phi",
)
"""So many that reading them for all events takes more than two seconds."""
SKIM_RUNS = 2
ONE_WAY_SECONDS = 0.025
WHOLE_SECONDS = 2.0
NEAR = ("cold-whole/bare-read", "cold-skim/whole", "user-script/skim", "user-script/whole")
FAR = ("cold-whole-50ms/bare-read", "skim-bytes/needed-baskets")
"""Through a relay, which delays and counts."""


@dataclass(frozen=True)
class Skim:
    """A local file with 1 % of the events, in contiguous rows of the parents.

    Attributes:
        path: of the file.
        rows: its events in the local file that it was made from.
    """

    path: Path
    rows: NDArray[np.int64]


def rows(options: Options) -> Iterator[Row]:
    """All rows ``cold-*``, ``skim-*`` and ``user-script/*``."""
    sample = Sample(events=options.size("cold_events"), parents=2, missing=0)
    options.say("cold: generating events")
    folder = options.scratch / "near"
    folder.mkdir(mode=0o755)
    options.scratch.chmod(0o755)
    with world(folder, sample, remote=True) as made:
        if options.wants(*NEAR):
            yield from _near(options, made)
        if options.wants(*FAR):
            far = options.scratch / "far"
            far.mkdir(mode=0o755)
            how = {"remote": True, "delay_seconds": ONE_WAY_SECONDS, "pair": made.pair}
            with world(far, sample, **how) as distant:
                yield from _far(options, distant)


def _near(options: Options, made: World) -> Iterator[Row]:
    skim = _skim(made, made.pair.local.parent / "skim.root")
    if options.wants("cold-whole/bare-read"):
        yield _whole(options, "cold-whole/bare-read", made)
    if options.wants("cold-skim/whole"):
        yield _part_of_whole(options, made, skim)
    if options.wants("user-script/skim"):
        yield _script(options, "user-script/skim", made, skim.path, SKIM)
    if options.wants("user-script/whole"):
        yield _script(options, "user-script/whole", made, made.pair.local, LOCAL)


def _far(options: Options, made: World) -> Iterator[Row]:
    if options.wants("cold-whole-50ms/bare-read"):
        yield _whole(options, "cold-whole-50ms/bare-read", made)
    if options.wants("skim-bytes/needed-baskets"):
        yield _bytes(options, made, _skim(made, made.pair.local.parent / "counted.root"))


def _skim(made: World, path: Path) -> Skim:
    """Write and register a skim: a few runs of adjacent events of the first parent."""
    truth = made.pair.truth
    wanted = max(len(truth.parent_row) // 100, SKIM_RUNS)
    first = np.flatnonzero(truth.parent_file == 0)
    ordered = first[np.argsort(truth.parent_row[first])]
    starts = (np.arange(SKIM_RUNS) + 0.5) / SKIM_RUNS * len(ordered)
    picked = [ordered[int(s) : int(s) + wanted // SKIM_RUNS] for s in starts]
    rows = np.sort(np.concatenate(picked))
    write_local(path, made.pair.local, {}, uproot.ZSTD(5), rows)
    made.register(SKIM, [path], PARENT)
    return Skim(path, rows)


def _cold(
    made: World, path: Path, dataset: str, columns: Sequence[str] = COLUMNS, *, known: bool = True
) -> Side:
    """Columns of a local file, of which the service has no Pieces.

    Args:
        made: the service.
        path, dataset: of the local file.
        columns: names.
        known: whether the column list is; else it is asked for in each run.
    """
    opened = made.opener(path, dataset) if known else partial(made.tree, path, dataset)

    def prepare() -> None:
        made.evict()
        forget()

    return Side(lambda: opened().arrays(list(columns)), prepare)


def _input_bytes(pair: Pair, columns: Sequence[str], rows: NDArray[np.int64] | None = None) -> int:
    """Compressed bytes of the baskets of the Columns' branches that hold the events."""
    found = 0
    truth = pair.truth
    chosen = np.arange(len(truth.parent_row)) if rows is None else rows
    for number, path in enumerate(pair.parents):
        mine = chosen[truth.parent_file[chosen] == number]
        wanted = np.unique(truth.parent_row[mine])
        with uproot.open({path: "Events"}) as tree:
            for name in branches_of(columns):
                branch = tree[name]
                sizes = branch.member("fBasketBytes")
                for first, stop in basket_runs(np.asarray(branch.entry_offsets), wanted):
                    found += int(np.sum(sizes[first:stop]))
    return found


def _whole(options: Options, name: str, made: World) -> Row:
    """All events against a bare read; the parents' codes are compared in local order."""
    ours = _cold(made, made.pair.local, LOCAL)
    timed(ours)  # the XCache gets the bytes

    def same(mine: Any, codes: Sequence[Any]) -> bool:
        return agrees(mine, in_order(made.pair, COLUMNS, codes))

    with ExitStack() as stack:
        peers = {
            kind: Side(partial(bare, way, COLUMNS), counted=way.counted)
            for kind, way in ways(made.urls, stack).items()
        }
        size_bytes = _input_bytes(made.pair, COLUMNS)
        return compare(options, name, ours, peers, same=same, input_bytes=size_bytes)


def _part_of_whole(options: Options, made: World, skim: Skim) -> Row:
    """The time for 1 % of the events over the time for all."""
    row = compare(
        options,
        "cold-skim/whole",
        _cold(made, skim.path, SKIM, WIDE),
        {"whole": _cold(made, made.pair.local, LOCAL, WIDE)},
        same=lambda part, whole: equal(part, whole[skim.rows]),
        input_bytes=_input_bytes(made.pair, WIDE),
        note=f"{len(WIDE)} columns",
    )
    if row.peer_seconds >= WHOLE_SECONDS:
        return row
    short = f"the whole file takes less than {WHOLE_SECONDS:g} s: take more events"
    return replace(row, note=f"{row.note}; {short}")


def _bytes(options: Options, made: World, skim: Skim) -> Row:
    """Bytes that the service got from the XCache for the skim, over what it needed."""
    assert made.relay is not None
    part = _cold(made, skim.path, SKIM)
    demand("skim-bytes", timed(part)[1], expected(made.pair, COLUMNS, skim.rows))
    needed = _input_bytes(made.pair, COLUMNS, skim.rows)
    got, seconds = [], []
    for _ in range(3):
        part.prepare()
        before = made.relay.counts
        begun = time.perf_counter()
        part.run()
        seconds.append(time.perf_counter() - begun)
        got.append(float((made.relay.counts - before).received_bytes))
    took = statistics.median(seconds)
    return row_of(
        options,
        "skim-bytes/needed-baskets",
        got,
        [float(needed)] * len(got),
        input_bytes=needed,
        seconds=took,
        peer_seconds=took,
        note="a ratio of bytes; seconds at 50 ms",
    )


def _script(options: Options, name: str, made: World, local: Path, dataset: str) -> Row:
    """Against what a user writes who knows of no service; both find out anew what there is."""

    def side(way: Way, *, by_runs: bool = False) -> Side:
        run = partial(script, way, local, COLUMNS, by_runs=by_runs)
        return Side(run, counted=way.counted and not by_runs)

    def same(mine: Any, other: Any) -> bool:
        return agrees(mine, other.arrays() if isinstance(other, rdataframe.Read) else other)

    with ExitStack() as stack:
        found = ways(made.urls, stack)
        peers = {kind: side(way) for kind, way in found.items()}
        root = rdataframe.started(stack, options.scratch)
        if root is not None:
            read = partial(rdataframe.script, root, local, made.urls, COLUMNS)
            peers["RDataFrame with an indexed friend"] = Side(read)
        if dataset == SKIM:
            peers |= {
                f"{kind} of needed entries": side(way, by_runs=True)
                for kind, way in found.items()
                if way.counted
            }
        return compare(
            options,
            name,
            _cold(made, local, dataset, known=False),
            peers,
            same=same,
            input_bytes=_input_bytes(made.pair, COLUMNS),
            note="" if root is not None else f"no RDataFrame: {rdataframe.SETTING} names none",
        )
