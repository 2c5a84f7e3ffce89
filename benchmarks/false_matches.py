"""How often objects are matched wrongly, by how dense an event is.

``python -m benchmarks.false_matches`` prints the table that stands in docs/analysts.md. Not a
comparison of times, so no room of the registry. Events are made of parent objects at a given
density; the local ones are a shuffled selection of them, rounded as NanoAOD rounds and, where the
table says so, calibrated anew. Some parent objects are taken away afterwards: what was made from
them (an orphan) has no right answer, and whatever it is matched with is wrong.

The windows are those of ``formats.matches``. Densities: hard collisions have about 10 AK4 jets, 200
jets are beyond any; MiniAOD has 700 to 3000 packed candidates, half of them within jets, and 50 to
300 pruned generator particles, whose directions NanoAOD keeps with 8 bits.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from columnservice.alignment.match import Objects, Window, match
from columnservice.formats.matches import MINIAOD_MATCHES, Match
from columnservice.model import plain

DENSITIES = {
    "Muon": (2, 10, 50),
    "Jet": (10, 50, 200),
    "GenPart": (50, 200, 1000),
    "PFCand": (500, 1000, 2000, 5000),
}
SMEARED = {"Jet": 0.1}
BITS = {"GenPart": 8}
USUAL_BITS = 10
# Up to which |eta| there are objects, and what their labels may be: (pdgId and status) of GenPart.
REACH = {"GenPart": 7.5, "PFCand": 4.5}
LABELS = {"GenPart": range(16), "PFCand": (211, -211, 22, 130)}
KEPT, ORPHANS = 0.7, 0.1
JET_RADIUS = 0.1  # e-folding distance of a candidate from its jet's axis
IN_JETS = 0.5


@dataclass(frozen=True)
class Rates:
    """What became of the local objects of one collection at one density, as shares.

    Attributes:
        right, unmatched, ambiguous, wrong: of objects whose parent is there; they add up to 1.
        orphans_wrong: of objects whose parent was taken away, those that were given another.
    """

    collection: str
    per_event: int
    objects: int
    right: float
    unmatched: float
    ambiguous: float
    wrong: float
    orphans_wrong: float


def mantissa(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Rounded to so many bits of the mantissa, as ``MiniFloatConverter::reduceMantissa`` rounds."""
    shift = np.uint32(23 - bits)
    words = values.astype(np.float32).view(np.uint32)
    return ((words + (np.uint32(1) << (shift - np.uint32(1)))) >> shift << shift).view(np.float32)


def _parents(
    rng: np.random.Generator, events: int, size: int, collection: str
) -> tuple[NDArray[np.float32], ...]:
    """eta, phi, pt and label of ``events · size`` objects, event by event."""
    n, reach = events * size, REACH.get(collection, 2.5)
    eta, phi = rng.uniform(-reach, reach, n), rng.uniform(-np.pi, np.pi, n)
    if collection in LABELS:
        axes = 20
        axis_eta, axis_phi = (rng.uniform(-a, a, (events, axes)) for a in (2.4, np.pi))
        inside = rng.random(n) < IN_JETS
        event, axis = np.repeat(np.arange(events), size), rng.integers(0, axes, n)
        far, turn = rng.exponential(JET_RADIUS, n), rng.uniform(-np.pi, np.pi, n)
        eta = np.where(inside, axis_eta[event, axis] + far * np.cos(turn), eta)
        phi = np.where(inside, axis_phi[event, axis] + far * np.sin(turn), phi)
        phi = np.remainder(phi + np.pi, 2 * np.pi) - np.pi
        pt, label = 0.5 + rng.exponential(1.5, n), rng.choice(list(LABELS[collection]), n)
    else:
        pt, label = 15 + rng.exponential(30, n), np.zeros(n, int)
    return tuple(a.astype(np.float32) for a in (eta, phi, pt, label))


def measure(line: Match, per_event: int, events: int, seed: int = 1) -> Rates:
    """Rates at one density.

    Args:
        line: of the matching table.
        per_event: parent objects in each event.
        events: how many.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    values = _parents(rng, events, per_event, line.local)
    event = np.repeat(np.arange(events), per_event)
    chosen = np.flatnonzero(rng.random(len(event)) < KEPT)
    chosen = chosen[np.lexsort((rng.random(len(chosen)), event[chosen]))]
    there = rng.random(len(event)) >= ORPHANS
    place = np.cumsum(there) - 1 - np.repeat(np.cumsum(there.reshape(events, -1).sum(1)), per_event)
    place += np.repeat(there.reshape(events, -1).sum(1), per_event)  # counted within the event
    eta, phi, pt, label = (v[chosen] for v in values)
    spread = SMEARED.get(line.local, 0.0)
    pt = (pt * rng.normal(1, spread, len(pt))).astype(np.float32) if spread else pt
    bits = BITS.get(line.local, USUAL_BITS)
    eta, phi, pt = mantissa(eta, bits), mantissa(phi, bits), mantissa(pt, bits)
    index, ambiguous = match(
        _objects((eta, phi, pt, label), event[chosen], events),
        _objects(tuple(v[there] for v in values), event[there], events),
        Window(line.max_dr, line.pt_low, line.pt_high, line.resolution),
    )
    found, doubt = index.values, ambiguous.values
    known = there[chosen]
    right = found == place[chosen]
    share = float(known.sum())
    return Rates(
        line.local,
        per_event,
        len(chosen),
        float((right & known).sum()) / share,
        float(((found < 0) & ~doubt & known).sum()) / share,
        float((doubt & known).sum()) / share,
        float(((found >= 0) & ~right & known).sum()) / share,
        float((found[~known] >= 0).mean()),
    )


def _objects(
    values: tuple[NDArray[np.float32], ...], event: NDArray[np.int64], events: int
) -> Objects:
    offsets = np.searchsorted(event, np.arange(events + 1)).astype(np.int64)
    eta, phi, pt, label = (plain(v, offsets) for v in values)
    return Objects(eta, phi, pt, (label,))


def rates(objects: int) -> Iterator[Rates]:
    """Rates of all collections and densities, each from about so many objects."""
    lines = {line.local: line for line in MINIAOD_MATCHES}
    for local, densities in DENSITIES.items():
        for density in densities:
            yield measure(lines[local], density, max(1, objects // density))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=2_000_000, help="per row")
    print(
        "| collection | objects per event | right | no match | in doubt | wrong | orphans wrong |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for r in rates(parser.parse_args().objects):
        print(
            f"| {r.collection} | {r.per_event} | {r.right:.4%} | {r.unmatched:.4%} "
            f"| {r.ambiguous:.4%} | {r.wrong:.4%} | {r.orphans_wrong:.3%} |"
        )


if __name__ == "__main__":
    main()
