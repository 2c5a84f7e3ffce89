"""Measuring side by side: both run in turn, A B A B …, and each pair gives one ratio.

A pair sees the same weather on a shared machine, so its ratio is steadier than either time. Knows
nothing of what is measured.
"""

from __future__ import annotations

import gc
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

Direction = Literal[">=", "<="]


class WrongAnswer(Exception):
    """Two sides of a comparison gave different results: nothing was timed."""


@dataclass(frozen=True)
class Target:
    """What a row shall reach.

    Attributes:
        name: of the row, ``warm-http/flight``.
        target: the ratio to reach. With ">=" a ratio is the peer's figure over ours (we are that
            many times faster), with "<=" ours over the peer's (we cost that many times as much).
        direction: ">=" or "<=".
    """

    name: str
    target: float
    direction: Direction = ">="


@dataclass(frozen=True)
class Size:
    """How large an input is: by default, with ``--quick``, and what it counts."""

    normal: int
    quick: int
    help: str


@dataclass(frozen=True)
class Row:
    """One finished comparison; ``met`` says whether the median ratio reaches the target.

    Attributes:
        name, target, direction: as in ``Target``.
        ratio: the median over all pairs; low, high: the tenth and ninetieth percentile.
        seconds, peer_seconds: medians of ours and of the peer.
        input_bytes: what both worked on.
        note: anything a reader should know, in a few words.
    """

    name: str
    ratio: float
    low: float
    high: float
    target: float
    direction: Direction
    met: bool
    seconds: float
    peer_seconds: float
    input_bytes: int
    note: str = ""


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Options:
    """What a room is told.

    Attributes:
        targets: the rows that are asked for, by name; a room may skip the others.
        sizes: by name, as in the registry.
        pairs: how many pairs to measure, at most.
        patience_seconds: after these, and three pairs, a comparison ends early.
        quick: tiny sizes, two pairs: to see that all works, not how fast.
        scratch: an empty folder that is removed afterwards.
        say: tells the person in front of the screen what goes on.
    """

    targets: Mapping[str, Target]
    sizes: Mapping[str, int]
    pairs: int = 11
    patience_seconds: float = 60.0
    quick: bool = False
    scratch: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    say: Callable[[str], None] = _silent

    def size(self, name: str) -> int:
        """A size by its name in the registry."""
        return self.sizes[name]

    def wants(self, *names: str) -> bool:
        """Whether any of these rows is asked for."""
        return any(name in self.targets for name in names)


@dataclass(frozen=True)
class Side:
    """One side of a comparison: ``prepare`` runs before each ``run`` and is not timed."""

    run: Callable[[], Any]
    prepare: Callable[[], object] = lambda: None


def _side(told: Side | Callable[[], Any]) -> Side:
    return told if isinstance(told, Side) else Side(told)


def timed(side: Side) -> tuple[float, Any]:
    """Seconds of one run, and its result; neither preparation nor freeing garbage is counted."""
    side.prepare()
    gc.collect()
    begun = time.perf_counter()
    result = side.run()
    return time.perf_counter() - begun, result


def row_of(
    options: Options,
    name: str,
    ours: Sequence[float],
    peer: Sequence[float],
    *,
    input_bytes: int,
    seconds: float | None = None,
    peer_seconds: float | None = None,
    note: str = "",
) -> Row:
    """A Row from paired figures: seconds, or anything else that two sides spend.

    Args:
        options: holds the row's target.
        name: of the row.
        ours, peer: one figure per pair; ours may be zero nowhere.
        input_bytes: what both worked on.
        seconds, peer_seconds: medians of the times where the figures are no times.
        note: what else there is to say.
    """
    target = options.targets[name]
    pairs = list(zip(ours, peer, strict=True))
    ratios = [b / a if target.direction == ">=" else a / b for a, b in pairs]
    low, ratio, high = (float(q) for q in np.percentile(ratios, (10, 50, 90)))
    return Row(
        name,
        ratio,
        low,
        high,
        target.target,
        target.direction,
        ratio >= target.target if target.direction == ">=" else ratio <= target.target,
        statistics.median(ours) if seconds is None else seconds,
        statistics.median(peer) if peer_seconds is None else peer_seconds,
        input_bytes,
        note,
    )


def compare(
    options: Options,
    name: str,
    ours: Side | Callable[[], Any],
    peers: Mapping[str, Side | Callable[[], Any]],
    *,
    same: Callable[[Any, Any], bool],
    input_bytes: int,
    note: str = "",
) -> Row:
    """Time ours against the fastest of the peers, all in turn in one run.

    The first run of each side warms it up and gives the answers that are compared.

    Args:
        options: holds the row's target and how often to repeat.
        name: of the row.
        ours: what is ours.
        peers: what a user would do otherwise, by name.
        same: whether our answer (first) and a peer's (second) are the same.
        input_bytes: what all worked on.
        note: what else there is to say; with several peers, all their medians are added.

    Raises:
        WrongAnswer: a peer's answer is another one.
    """
    mine, others = _side(ours), {peer: _side(told) for peer, told in peers.items()}
    options.say(f"{name}: warming up")
    _, answer = timed(mine)
    for peer, side in others.items():
        if not same(answer, timed(side)[1]):
            raise WrongAnswer(f"{name}: {peer} gives another answer than we do.")
    del answer
    times, their = [], {peer: [] for peer in others}
    begun = time.perf_counter()
    for pair in range(options.pairs):
        if pair >= 3 and time.perf_counter() - begun > options.patience_seconds:
            break
        options.say(f"{name}: pair {pair + 1} of {options.pairs}")
        times.append(timed(mine)[0])
        for peer, side in others.items():
            their[peer].append(timed(side)[0])
    medians = {peer: statistics.median(figures) for peer, figures in their.items()}
    best = min(medians, key=lambda peer: medians[peer])
    if len(medians) > 1:
        told = ", ".join(f"{p} {s:.3g} s" for p, s in sorted(medians.items(), key=lambda i: i[1]))
        note = f"{note}; {told}" if note else told
    return row_of(options, name, times, their[best], input_bytes=input_bytes, note=note)


def holds(options: Options, name: str, truth: bool, seconds: float, note: str = "") -> Row:
    """A Row for what is either so or not: a ratio of 1 or 0."""
    figure = 1.0 if truth else math.inf
    return row_of(
        options,
        name,
        [figure],
        [1.0],
        input_bytes=0,
        seconds=seconds,
        peer_seconds=seconds,
        note=note,
    )
