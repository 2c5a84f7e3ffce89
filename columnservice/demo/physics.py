"""Toy collisions whose particles fit together: muons, jets, and the particles around them.

Half of the events are Z → μμ with isolated (prompt) muons, half are b-quark pairs whose muons stand
inside jets (non-prompt). Every jet and muon appears again among the particles, with the particles
of the jet around it and pile-up everywhere, so that the particles near a muon tell its origin. It
is a toy with plausible shapes and no more: SYNTHETIC. Energies in GeV, lengths in cm. Knows nothing
of file formats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from columnservice.demo.blocks import Sample

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Z_MASS, Z_WIDTH = 91.19, 2.50
TRACKER_ETA = 2.5
MUON_ETA = 2.4

_CORE = 11  # stream of random numbers


@dataclass(frozen=True)
class Core:
    """The reconstructed objects of some events.

    Attributes:
        is_z: which events are Z → μμ, bool per event.
        rho: energy density of pile-up in GeV per unit area, float64 per event.
        vertices: number of collisions, int64 per event.
        weight: generator weight, float64 per event.
        muons: records pt, eta, phi, charge, prompt; jagged, falling in pt.
        electrons: records pt, eta, phi, charge; jagged, falling in pt.
        jets: records pt, eta, phi, mass, btag, flavour; jagged, falling in pt; a jet's pt includes
            the muon in it.
        met_pt, met_phi: missing transverse momentum, float64 per event.
    """

    is_z: NDArray[np.bool_]
    rho: Floats
    vertices: Integers
    weight: Floats
    muons: ak.Array
    electrons: ak.Array
    jets: ak.Array
    met_pt: Floats
    met_phi: Floats

    def __len__(self) -> int:
        return len(self.rho)


def wrap(phi: Floats) -> Floats:
    """Angles in [-π, π)."""
    return (phi + np.pi) % (2 * np.pi) - np.pi


def pileup(sample: Sample) -> int:
    """Mean number of collisions in an event."""
    return 200 if sample.hl_lhc else 50


def _jagged(counts: Integers, **columns: NDArray[Any]) -> ak.Array:
    """Records of objects, falling in pt within each event."""
    array = ak.unflatten(ak.zip(columns), counts)
    return array[ak.argsort(array.pt, ascending=False)]


def _z_muons(random: np.random.Generator, n: int) -> tuple[Floats, Floats, Floats]:
    """Pt, eta, phi of shape (n, 2): isotropic decays of Zs that have some pt and rapidity."""
    # a Breit-Wigner between 60 and 130 GeV, by the inverse of its integral
    low, high = np.arctan(2 * (np.array([60.0, 130.0]) - Z_MASS) / Z_WIDTH)
    mass = Z_MASS + Z_WIDTH / 2 * np.tan(random.uniform(low, high, n))
    z_pt, z_phi = random.exponential(20, n), random.uniform(-np.pi, np.pi, n)
    rapidity = random.normal(0, 1.2, n)
    cosine, angle = random.uniform(-1, 1, n), random.uniform(-np.pi, np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    direction = np.stack([sine * np.cos(angle), sine * np.sin(angle), cosine])
    transverse = np.hypot(mass, z_pt)
    z = np.stack([z_pt * np.cos(z_phi), z_pt * np.sin(z_phi), transverse * np.sinh(rapidity)])
    energy = transverse * np.cosh(rapidity)
    pt, eta, phi = [], [], []
    for sign in (1, -1):
        rest = sign * direction * mass / 2
        along = (rest * z).sum(axis=0)
        px, py, pz = rest + z * (along / (mass * (energy + mass)) + 0.5)
        pt.append(np.hypot(px, py))
        eta.append(np.arcsinh(pz / np.hypot(px, py)))
        phi.append(np.arctan2(py, px))
    return np.stack(pt, 1), np.stack(eta, 1), np.stack(phi, 1)


def core(sample: Sample, block: int, n: int) -> Core:
    """The objects of the ``n`` events of a block; the same ones every time."""
    random = sample.random(_CORE, block)
    is_z = random.random(n) < 0.5
    vertices = np.maximum(random.poisson(pileup(sample), n), 1).astype(np.int64)
    rho = np.maximum(0.45 * vertices + random.normal(0, 1.5, n), 0.1)

    b_pt = 20 + random.exponential(30, (n, 1)) + random.normal(0, 2, (n, 2))
    b_eta = random.normal(0, 1.1, (n, 2))
    b_phi = random.uniform(-np.pi, np.pi, (n, 1)) + random.normal(0, 0.1, (n, 2))
    b_phi[:, 1] += np.pi
    z_pt, z_eta, z_phi = _z_muons(random, n)
    share = random.beta(4, 2.5, (n, 2))
    distance, angle = random.exponential(0.09, (n, 2)), random.uniform(0, 2 * np.pi, (n, 2))

    chosen = is_z[:, None]
    pt = np.where(chosen, z_pt, share * b_pt)
    eta = np.where(chosen, z_eta, b_eta + distance * np.cos(angle))
    phi = wrap(np.where(chosen, z_phi, b_phi + distance * np.sin(angle)))
    sign = random.choice([-1, 1], n)
    charge = np.stack([sign, -sign], axis=1)
    seen = (pt > 3) & (np.abs(eta) < MUON_ETA) & (chosen | (random.random((n, 2)) < 0.7))
    prompt = np.broadcast_to(chosen, seen.shape)
    muons = _jagged(
        seen.sum(axis=1),
        **{"pt": pt[seen], "eta": eta[seen], "phi": phi[seen]},
        **{"charge": charge[seen], "prompt": prompt[seen]},
    )

    light = random.poisson(2.0, n)
    total = int(light.sum())
    soft = ak.unflatten(
        ak.zip(
            {
                "pt": 20 + random.exponential(18, total),
                "eta": random.normal(0, 2, total).clip(-4.7, 4.7),
                "phi": random.uniform(-np.pi, np.pi, total),
                "mass": random.gamma(4, 1.8, total),
                "btag": random.beta(1.2, 8, total),
                "flavour": np.zeros(total, np.int64),
            }
        ),
        light,
    )
    two = np.where(is_z, 0, 2)
    b = ~is_z
    hard = ak.unflatten(
        ak.zip(
            {
                "pt": b_pt[b].ravel(),
                "eta": b_eta[b].ravel(),
                "phi": wrap(b_phi[b].ravel()),
                "mass": random.gamma(5, 2.0, 2 * int(b.sum())),
                "btag": random.beta(8, 2, 2 * int(b.sum())),
                "flavour": np.full(2 * int(b.sum()), 5),
            }
        ),
        two,
    )
    jets = ak.concatenate([hard, soft], axis=1)

    some = random.poisson(0.3, n)
    total = int(some.sum())
    electrons = _jagged(
        some,
        pt=7 + random.exponential(15, total),
        eta=random.uniform(-TRACKER_ETA, TRACKER_ETA, total),
        phi=random.uniform(-np.pi, np.pi, total),
        charge=random.choice([-1, 1], total),
    )
    return Core(
        is_z=is_z,
        rho=rho,
        vertices=vertices,
        weight=np.where(random.random(n) < 0.05, -1.0, 1.0),
        muons=muons,
        electrons=electrons,
        jets=jets[ak.argsort(jets.pt, ascending=False)],
        met_pt=random.gamma(2, 9, n),
        met_phi=random.uniform(-np.pi, np.pi, n),
    )


def take(events: Core, rows: Integers) -> Core:
    """Some events, in another order."""
    return Core(**{name: value[rows] for name, value in vars(events).items()})
