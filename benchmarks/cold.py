"""Columns that nobody has asked for yet: read from the parents through a real XCache.

The XCache holds the parents (both sides find it as warm), the service's own cache is emptied before
each run. Ours is what an analyst writes: ``tree.arrays`` of remote branches with their proof. The
peers read with uproot over ``root://``: bare branches in the parents' order, or a whole script that
joins with pandas, decodes and takes rows with awkward.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import uproot
from numpy.typing import NDArray
from uproot.source.xrootd import XRootDSource

from benchmarks.measure import Options, Row, Side, compare, row_of, timed
from benchmarks.world import KEYS, LOCAL, World, forget, world, write_local
from columnservice.demo.blocks import Sample
from columnservice.demo.cms import CANDIDATES
from columnservice.demo.generate import Pair
from columnservice.reader.baskets import basket_runs

SKIM = "bench_skim"
COLUMNS = {
    "PFCands_pt": "packedPt_",
    "PFCands_eta": "packedEta_",
    "PFCands_mass": "packedM_",
    "PFCands_pdgId": "pdgId_",
    "PFCandsRaw_packedDxy": "packedDxy_",
    "PFCandsRaw_packedDz": "packedDz_",
    "PFCandsRaw_packedHits": "packedHits_",
    "PFCandsRaw_packedPuppiweight": "packedPuppiweight_",
}
BRANCHES = {name: f"{CANDIDATES}.obj.{member}" for name, member in COLUMNS.items()}
AUXILIARY = "EventAuxiliary"
SKIM_RUNS = 2
ONE_WAY_SECONDS = 0.025
WHOLE_SECONDS = 2.0
NEAR = (
    "cold-whole/bare-read", "cold-skim/whole", "skim-bytes/needed-baskets", "user-script/skim",
    "user-script/whole",
)  # fmt: skip
FAR = "cold-whole-50ms/bare-read"
HANDLERS = {"fsspec": {}, "XRootDSource": {"handler": XRootDSource}}


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
        if options.wants(FAR):
            far = options.scratch / "far"
            far.mkdir(mode=0o755)
            how = {"remote": True, "delay_seconds": ONE_WAY_SECONDS, "pair": made.pair}
            with world(far, sample, **how) as distant:
                yield _whole(options, FAR, distant, _warmed(distant))


def _near(options: Options, made: World) -> Iterator[Row]:
    skim = _skim(made, made.pair.local.parent / "skim.root")
    whole = _warmed(made)
    if options.wants("cold-whole/bare-read"):
        yield _whole(options, "cold-whole/bare-read", made, whole)
    part = _cold(made, skim.path, SKIM)
    if options.wants("cold-skim/whole"):
        yield _part_of_whole(options, made, part, whole)
    if options.wants("skim-bytes/needed-baskets"):
        yield _bytes(options, made, skim, part)
    if options.wants("user-script/skim"):
        yield _script(options, "user-script/skim", made, part, skim.path)
    if options.wants("user-script/whole"):
        yield _script(options, "user-script/whole", made, whole, made.pair.local)


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
    made.register(SKIM, [path], "bench_parent")
    return Skim(path, rows)


def _cold(made: World, path: Path, dataset: str) -> Side:
    """All columns of a local file, of which the service has nothing in its own cache."""
    opened = made.opener(path, dataset)

    def prepare() -> None:
        made.evict()
        forget()

    return Side(lambda: opened().arrays(list(COLUMNS)), prepare)


def _warmed(made: World) -> Side:
    """The whole file, after the XCache has got the bytes."""
    side = _cold(made, made.pair.local, LOCAL)
    timed(side)
    return side


def _input_bytes(pair: Pair, rows: NDArray[np.int64] | None = None) -> int:
    """Compressed bytes of the baskets that hold the events, all columns and the keys."""
    found = 0
    truth = pair.truth
    chosen = np.arange(len(truth.parent_row)) if rows is None else rows
    for number, path in enumerate(pair.parents):
        mine = chosen[truth.parent_file[chosen] == number]
        wanted = np.unique(truth.parent_row[mine])
        with uproot.open({path: "Events"}) as tree:
            for name in (AUXILIARY, *BRANCHES.values()):
                branch = tree[name]
                sizes = branch.member("fBasketBytes")
                for first, stop in basket_runs(np.asarray(branch.entry_offsets), wanted):
                    found += int(np.sum(sizes[first:stop]))
    return found


def _bare(made: World, handler: dict[str, Any]) -> list[Any]:
    """The branches of all parents, as they are."""
    found = []
    for url in made.urls:
        with uproot.open({url: "Events"}, **handler) as tree:
            found.append(tree.arrays(list(BRANCHES.values())))
    return found


def _whole(options: Options, name: str, made: World, ours: Side) -> Row:
    truth = made.pair.truth

    def same(mine: Any, codes: Sequence[Any]) -> bool:
        """The parents' codes, brought into local order by the generator's truth."""
        sizes = np.cumsum([0, *(len(c) for c in codes)])
        place = sizes[truth.parent_file] + truth.parent_row
        for column, branch in BRANCHES.items():
            if column in ("PFCands_pt", "PFCands_pdgId", "PFCandsRaw_packedDz"):
                theirs = ak.concatenate([c[branch] for c in codes])[place]
                theirs = _decoded(column, theirs)
                if not ak.array_equal(mine[column], theirs, dtype_exact=False):
                    return False
        return True

    def peer(handler: dict[str, Any]) -> Callable[[], Any]:
        return lambda: _bare(made, handler)

    peers = {kind: peer(handler) for kind, handler in HANDLERS.items()}
    size_bytes = _input_bytes(made.pair)
    return compare(options, name, ours, peers, same=same, input_bytes=size_bytes)


def _part_of_whole(options: Options, made: World, part: Side, whole: Side) -> Row:
    """The time for 1 % of the events over the time for all."""
    timed(part)
    ours, peer = [], []
    begun = time.perf_counter()
    for pair in range(options.pairs):
        if pair >= 3 and time.perf_counter() - begun > options.patience_seconds:
            break
        ours.append(timed(part)[0])
        peer.append(timed(whole)[0])
    short = statistics.median(peer) < WHOLE_SECONDS
    note = f"the whole file takes less than {WHOLE_SECONDS:g} s: take more events" if short else ""
    size_bytes = _input_bytes(made.pair)
    return row_of(options, "cold-skim/whole", ours, peer, input_bytes=size_bytes, note=note)


def _bytes(options: Options, made: World, skim: Skim, part: Side) -> Row:
    """Bytes that the service got from the XCache for the skim, over what it needed."""
    assert made.relay is not None
    needed = _input_bytes(made.pair, skim.rows)
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
        note="a ratio of bytes",
    )


def _decoded(column: str, codes: Any) -> Any:
    """A branch as the column that it stands for (CMSSW's PackedCandidate::unpack)."""
    counts, flat = ak.num(codes), np.asarray(ak.flatten(codes))
    if column in ("PFCands_pt", "PFCands_mass"):
        flat = flat.astype(np.uint16).view(np.float16).astype(np.float32)
    elif column == "PFCands_eta":
        flat = flat.astype(np.uint16).view(np.int16).astype(np.float32) * np.float32(6 / 32767)
    return ak.unflatten(flat, counts)


def _script(options: Options, name: str, made: World, ours: Side, local: Path) -> Row:
    """What a user writes who knows of no service."""

    def keys_of(aux: Any) -> pd.DataFrame:
        raw = np.asarray(ak.to_regular(aux))
        words = {
            "run": (35, 39, ">u4"),
            "luminosityBlock": (39, 43, ">u4"),
            "event": (43, 51, ">u8"),
        }
        return pd.DataFrame(
            {
                key: np.ascontiguousarray(raw[:, a:b]).view(kind).ravel().astype(kind[1:])
                for key, (a, b, kind) in words.items()
            }
        )

    bytes_of_key = uproot.AsJagged(uproot.AsDtype("u1"))

    def script(handler: dict[str, Any]) -> Any:
        with uproot.open({local: "Events"}) as tree:
            mine = tree.arrays(KEYS, library="pd")
        frames, values = [], []
        for url in made.urls:
            with uproot.open({url: "Events"}, **handler) as tree:
                frames.append(keys_of(tree[AUXILIARY].array(bytes_of_key)))
                if frames[-1].merge(mine, on=list(KEYS)).empty:
                    continue
                values.append(tree.arrays(list(BRANCHES.values())))
                frames[-1]["row"] = np.arange(len(frames[-1])) + sum(map(len, values[:-1]))
        parents = pd.concat(frames).dropna()
        take = mine.merge(parents, on=list(KEYS), how="left")["row"].to_numpy(np.int64)
        codes = ak.concatenate(values)[take]
        return ak.zip(
            {name: _decoded(name, codes[branch]) for name, branch in BRANCHES.items()},
            depth_limit=1,
        )

    def same(mine: Any, other: Any) -> bool:
        close = ak.all(abs(mine["PFCands_eta"] - other["PFCands_eta"]) < 1e-5, axis=None)
        exact = (n for n in COLUMNS if n != "PFCands_eta")
        return bool(close) and all(
            ak.array_equal(mine[n], other[n], dtype_exact=False) for n in exact
        )

    def peer(handler: dict[str, Any]) -> Callable[[], Any]:
        return lambda: script(handler)

    peers = {kind: peer(handler) for kind, handler in HANDLERS.items()}
    size_bytes = _input_bytes(made.pair)
    return compare(options, name, ours, peers, same=same, input_bytes=size_bytes)
