"""The particles of toy collisions: those of the jets, of the muons and electrons, and pile-up.

Made to fit the objects of ``physics``: what stands around a muon tells where it comes from.
SYNTHETIC. Energies in GeV, lengths in cm. Knows nothing of file formats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from columnservice.demo.blocks import Sample
from columnservice.demo.physics import TRACKER_ETA, Core, Floats, Integers, wrap

MUON_MASS = 0.10566
ELECTRON_MASS = 0.000511
PION_MASS = 0.13957

_PARTICLES = 12  # stream of random numbers


@dataclass(frozen=True)
class Particles:
    """The particles of some events, flat, in order of events.

    Attributes:
        counts: particles per event, int64.
        columns: name → flat array: pt, eta, phi, mass, pdg_id, dxy, dz, vertex (0 is the collision
            of interest), puppi (0 … 1), charge.
    """

    counts: Integers
    columns: dict[str, NDArray[Any]]


def rest(random: np.random.Generator, n: int, mean_bytes: int) -> ak.Array:
    """Incompressible bytes, in place of all the products of an event that this toy does not have.

    A reader of a few columns must not pay for them: without them a demo would not show that.
    """
    counts = random.integers(mean_bytes // 2, mean_bytes * 3 // 2 + 1, n)
    return ak.unflatten(np.frombuffer(random.bytes(int(counts.sum())), np.uint8), counts)


def _event_of(counts: Integers) -> Integers:
    return np.repeat(np.arange(len(counts)), counts)


def _flat(array: ak.Array, field: str) -> Floats:
    flat: Floats = ak.to_numpy(ak.flatten(array[field]))
    return flat


def _jet_particles(random: np.random.Generator, events: Core) -> dict[str, NDArray[Any]]:
    """Particles around the jets' axes that share what a muon in the jet leaves of its pt."""
    jets, muons = events.jets, events.muons
    pairs = ak.cartesian({"jet": jets, "muon": muons[~muons.prompt]}, nested=True)
    near = np.hypot(
        pairs.jet.eta - pairs.muon.eta,
        (pairs.jet.phi - pairs.muon.phi + np.pi) % (2 * np.pi) - np.pi,
    )
    taken = ak.sum(ak.where(near < 0.5, pairs.muon.pt, 0.0), axis=-1)
    left = np.maximum(ak.to_numpy(ak.flatten(jets.pt - ak.fill_none(taken, 0.0))), 0.5)
    number = 3 + random.poisson(12, len(left))
    jet_of = np.repeat(np.arange(len(left)), number)
    share = random.gamma(0.6, 1.0, len(jet_of)) + 1e-3
    share /= np.bincount(jet_of, share)[jet_of]
    distance = random.exponential(0.12, len(jet_of))
    angle = random.uniform(0, 2 * np.pi, len(jet_of))
    event = _event_of(ak.to_numpy(ak.num(jets)))[jet_of]
    eta = _flat(jets, "eta")[jet_of] + distance * np.cos(angle)
    phi = _flat(jets, "phi")[jet_of] + distance * np.sin(angle)
    return {"event": event, "pt": left[jet_of] * share, "eta": eta, "phi": wrap(phi)}


def _scattered(
    random: np.random.Generator, counts: Integers, mean_pt: float
) -> dict[str, NDArray[Any]]:
    """Soft particles everywhere, ``counts`` per event."""
    n = int(counts.sum())
    return {
        "event": _event_of(counts),
        "pt": 0.3 + random.exponential(mean_pt, n),
        "eta": random.triangular(-5, 0, 5, n),
        "phi": random.uniform(-np.pi, np.pi, n),
    }


def _kinds(random: np.random.Generator, eta: Floats) -> tuple[Integers, Integers]:
    """pdgId and charge: hadrons and photons, told apart by sign only where there is a tracker."""
    which = random.random(len(eta))
    sign = random.choice([-1, 1], len(eta))
    inside = np.abs(eta) < TRACKER_ETA
    forward = np.abs(eta) > 3.0
    charged = inside & (which < 0.62)
    pdg_id = np.where(charged, 211 * sign, np.where(which < 0.85, 22, 130))
    pdg_id = np.where(forward, np.where(which < 0.5, 1, 2), pdg_id)
    return pdg_id, np.where(charged, sign, 0)


def _leptons(objects: ak.Array, pdg_id: int, mass: float) -> dict[str, NDArray[Any]]:
    charge = _flat(objects, "charge").astype(np.int64)
    columns: dict[str, NDArray[Any]] = {k: _flat(objects, k) for k in ("pt", "eta", "phi")}
    columns["event"] = _event_of(ak.to_numpy(ak.num(objects)))
    columns["pdg_id"] = -pdg_id * charge
    columns["charge"] = charge
    columns["mass"] = np.full(len(charge), mass)
    columns["vertex"] = np.zeros(len(charge), np.int64)
    return columns


def particles(sample: Sample, block: int, events: Core) -> Particles:
    """All particles of the events of a block (all of them, in the order of ``core``)."""
    random = sample.random(_PARTICLES, block)
    per_collision = 27.0 if sample.hl_lhc else 17.0
    pile = random.poisson(per_collision * (events.vertices - 1))
    groups = [
        _jet_particles(random, events),
        _scattered(random, random.poisson(120, len(events)), 0.9),
        _scattered(random, pile, 0.55),
    ]
    for number, group in enumerate(groups):
        group["pdg_id"], group["charge"] = _kinds(random, group["eta"])
        group["mass"] = np.where(group["charge"] != 0, PION_MASS, 0.0)
        group["vertex"] = np.zeros(len(group["pt"]), np.int64)
        if number == 2:
            at_most = np.maximum(events.vertices[group["event"]], 2)
            group["vertex"] = 1 + (random.random(len(at_most)) * (at_most - 1)).astype(np.int64)
    groups.append(_leptons(events.muons, 13, MUON_MASS))
    groups.append(_leptons(events.electrons, 11, ELECTRON_MASS))
    together = {name: np.concatenate([g[name] for g in groups]) for name in groups[0]}

    n = len(together["pt"])
    charged, from_first = together["charge"] != 0, together["vertex"] == 0
    lepton = np.isin(np.abs(together["pdg_id"]), (11, 13))
    spread = np.where(~lepton & (random.random(n) < 0.05), 0.2, 0.015)
    together["dxy"] = np.where(charged, random.normal(0, 1, n) * spread, 0.0)
    together["dz"] = np.where(charged, random.normal(0, 1.5, n) * spread, 0.0)
    neutral = np.where(from_first, random.beta(5, 1.2, n), random.beta(0.3, 5, n))
    together["puppi"] = np.where(charged, from_first.astype(float), neutral)
    # grouped by kind and falling in pt, as CMS stores them: it compresses better
    order = np.lexsort((-together["pt"], np.abs(together["pdg_id"]), together["event"]))
    counts = np.bincount(together.pop("event"), minlength=len(events)).astype(np.int64)
    return Particles(counts, {name: column[order] for name, column in together.items()})
