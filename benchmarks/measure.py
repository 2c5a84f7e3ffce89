"""Measuring side by side: both run in turn, A B B A A B …, and each turn gives one ratio.

A pair sees the same weather on a shared machine, so its ratio is steadier than either time. Knows
nothing of what is measured.
"""

from __future__ import annotations

import gc
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

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
    patience_seconds: float = 45.0
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
    """One side of a comparison.

    Attributes:
        run: what is timed.
        prepare: runs before each ``run`` and is not timed.
        counted: whether a peer can be the one that a ratio is made with. Others are measured in the
            same turns, give the same answer, and are told in the note: what a user does not do by
            default, but what a reader wants to know.
    """

    run: Callable[[], Any]
    prepare: Callable[[], object] = lambda: None
    counted: bool = True


def _side(told: Side | Callable[[], Any]) -> Side:
    return told if isinstance(told, Side) else Side(told)


def timed(side: Side) -> tuple[float, Any]:
    """Seconds of one run, and its result; neither preparation nor freeing garbage is counted."""
    side.prepare()
    gc.collect()
    begun = time.perf_counter()
    result = side.run()
    return time.perf_counter() - begun, result


T = TypeVar("T")


def turn(sides: Iterable[T], number: int) -> list[T]:
    """The order of one turn: every second one is the other way round.

    What a side leaves behind, busy threads or a full cache, meets each neighbour equally often.
    """
    found = list(sides)
    return found[::-1] if number % 2 else found


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
    """Time ours against the fastest of the peers that count, all in turn in one run.

    The first run of each side warms it up and gives the answers that are compared.

    Args:
        options: holds the row's target and how often to repeat.
        name: of the row.
        ours: what is ours.
        peers: what a user would do otherwise, by name.
        same: whether our answer (first) and a peer's (second) are the same.
        input_bytes: what all worked on.
        note: what else there is to say; with several peers, all their medians are added, apart
            for those that do not count.

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
    sides = {"": mine, **others}
    figures: dict[str, list[float]] = {who: [] for who in sides}
    begun = time.perf_counter()
    for pair in range(options.pairs):
        if pair >= 3 and time.perf_counter() - begun > options.patience_seconds:
            break
        options.say(f"{name}: pair {pair + 1} of {options.pairs}")
        for who in turn(sides, pair):
            figures[who].append(timed(sides[who])[0])
    medians = {peer: statistics.median(figures[peer]) for peer in others}
    counted = {peer: medians[peer] for peer, side in others.items() if side.counted}
    beside = {peer: medians[peer] for peer in others if peer not in counted}
    best = min(counted, key=lambda peer: counted[peer])
    notes = [note] * bool(note)
    if len(medians) > 1:
        notes.append(_told(counted))
    if beside:
        notes.append(f"not counted: {_told(beside)}")
    return row_of(
        options, name, figures[""], figures[best], input_bytes=input_bytes, note="; ".join(notes)
    )


def _told(medians: Mapping[str, float]) -> str:
    """Peers and their seconds, the fastest first."""
    fastest = sorted(medians.items(), key=lambda item: item[1])
    return ", ".join(f"{peer} {seconds:.3g} s" for peer, seconds in fastest)


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
