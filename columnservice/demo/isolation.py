"""The demo's physics result: what of an event's particles stands around its muons.

Prompt muons (Z → μμ) are isolated, muons from b quarks are not. Compact files do not hold the
particles, so nobody can count them there with a cone, a threshold or a weight of their own: the
columns come from the parent. Units as in the files (CMS: GeV, ATLAS: MeV); isolation is a ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONE = 0.4
CUT = 0.15


@dataclass(frozen=True)
class Result:
    """What an analysis gives, from the service or from a direct read.

    Attributes:
        isolation: one list of numbers per event, one number per muon.
        prompt: like it: whether the muon comes from a Z, by the generator's truth.
        mass_gev: mass of the two leading muons of opposite charge per event, NaN without.
        sums: remote column → its sum per event (float64): differs if an event got another's.
    """

    isolation: ak.Array
    prompt: ak.Array
    mass_gev: Floats
    sums: dict[str, Floats]

    def save(self, path: Any) -> None:
        """Write it as a NumPy archive."""
        arrays = {
            "counts": ak.to_numpy(ak.num(self.isolation)),
            "isolation": ak.to_numpy(ak.flatten(self.isolation)),
            "prompt": ak.to_numpy(ak.flatten(self.prompt)),
            "mass_gev": self.mass_gev,
            **{f"sum {name}": values for name, values in self.sums.items()},
        }
        np.savez(path, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Any) -> Result:
        """Read what ``save`` wrote."""
        with np.load(path) as file:
            counts = file["counts"]
            return cls(
                ak.unflatten(file["isolation"], counts),
                ak.unflatten(file["prompt"], counts),
                file["mass_gev"],
                {n.removeprefix("sum "): file[n] for n in file.files if n.startswith("sum ")},
            )


def concatenate(results: list[Result]) -> Result:
    """Results of consecutive chunks as one."""
    return Result(
        ak.concatenate([r.isolation for r in results]),
        ak.concatenate([r.prompt for r in results]),
        np.concatenate([r.mass_gev for r in results]),
        {name: np.concatenate([r.sums[name] for r in results]) for name in results[0].sums},
    )


def largest_difference(one: Result, other: Result) -> tuple[str, float]:
    """Where two results of the same events differ most, relative to 1 + |value|; inf for shapes."""
    pairs: dict[str, tuple[Any, Any]] = {
        "isolation": (ak.flatten(one.isolation), ak.flatten(other.isolation)),
        "mass_gev": (one.mass_gev, other.mass_gev),
        **{f"sum of {name}": (one.sums[name], other.sums[name]) for name in one.sums},
    }
    if not ak.array_equal(ak.num(one.isolation), ak.num(other.isolation)):
        return "number of muons", float("inf")
    worst = ("nothing", 0.0)
    for name, (a, b) in pairs.items():
        left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if left.shape != right.shape or not np.array_equal(np.isnan(left), np.isnan(right)):
            return name, float("inf")
        difference = np.abs(left - right) / (1 + np.abs(right))
        here = float(np.nanmax(difference, initial=0.0))
        if here > worst[1]:
            worst = (name, here)
    return worst


def around(muons: ak.Array, particles: ak.Array) -> ak.Array:
    """Sum of the particles' ``weight`` (a pt) within the cone around each muon, over its pt.

    Args:
        muons: records with pt, eta, phi.
        particles: records with eta, phi and weight, the latter in the unit of the muons' pt.
    """
    pairs = ak.cartesian({"muon": muons, "particle": particles}, nested=True)
    turn = (pairs.muon.phi - pairs.particle.phi + np.pi) % (2 * np.pi) - np.pi
    near = np.hypot(pairs.muon.eta - pairs.particle.eta, turn) < CONE
    return ak.sum(ak.where(near, pairs.particle.weight, 0.0), axis=-1) / muons.pt


def pair_mass(muons: ak.Array, unit_gev: float) -> Floats:
    """Mass in GeV of the two leading muons per event; NaN without two of opposite charge."""
    two = muons[ak.num(muons) >= 2]
    first, second = two[:, 0], two[:, 1]
    squared = 2 * first.pt * second.pt
    squared = squared * (np.cosh(first.eta - second.eta) - np.cos(first.phi - second.phi))
    mass = np.where(first.charge * second.charge < 0, np.sqrt(squared) * unit_gev, np.nan)
    found = np.full(len(muons), np.nan)
    found[ak.to_numpy(ak.num(muons) >= 2)] = ak.to_numpy(mass)
    return found
