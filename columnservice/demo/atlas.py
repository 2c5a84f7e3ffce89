"""Synthetic ATLAS events as a PHYSLITE-like local tree and as DAOD-like parent trees.

Energies in MeV and lengths in mm, as ATLAS stores them. Knows how events become branches, and
nothing of which event goes where.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from columnservice.demo.blocks import Sample
from columnservice.demo.particles import Particles, rest
from columnservice.demo.physics import Core
from columnservice.model import FormatName, Keys

LOCAL_FORMAT: FormatName = "physlite"
PARENT_FORMAT: FormatName = "daod"
LOCAL_TREE = PARENT_TREE = "CollectionTree"
ELECTRONS, MUONS, JETS = "AnalysisElectronsAuxDyn", "AnalysisMuonsAuxDyn", "AnalysisJetsAuxDyn"
TRACKS = "InDetTrackParticlesAuxDyn"
REST, LOCAL_REST = "SyntheticRestOfTheEventAuxDyn.bytes", "SyntheticLocalRestAuxDyn.bytes"
EVENT = "EventInfoAuxDyn"
CHANNEL = 999999
"""A number that no real sample has."""

_MEV, _MM = 1000.0, 10.0
_LOCAL_REST_BYTES, _LOCAL_REST_BYTES_HL_LHC = 1000, 1800
_PARENT_REST_BYTES, _PARENT_REST_BYTES_HL_LHC = 42_000, 203_000
"""What is added to reach 1.2 and 50 kB an event as today, and 2 and 250 kB as at the HL-LHC."""
_MUONS, _TRACKS, _JETS, _REST, _LOCAL_REST = 31, 32, 33, 34, 35  # streams of random numbers


def local_branch(container: str, variable: str) -> str:
    """The name of a container's variable."""
    return f"{container}.{variable}"


parent_branch = local_branch


def _float(array: Any) -> Any:
    return ak.values_astype(array, np.float32)


def _noise(random: np.random.Generator, like: ak.Array, mean: float, scale: float) -> ak.Array:
    counts = ak.num(like)
    flat = random.normal(mean, scale, int(ak.sum(counts))).astype(np.float32)
    return ak.unflatten(flat, counts)


def _shared(keys: Keys, events: Core) -> dict[str, Any]:
    """What local and parent hold alike."""

    def leptons(objects: ak.Array) -> ak.Array:
        fields = {"pt": _float(objects.pt * _MEV), "eta": _float(objects.eta)}
        fields["phi"] = _float(objects.phi)
        fields["charge"] = _float(objects.charge)
        return ak.zip(fields)

    jets = events.jets
    jet = {"pt": _float(jets.pt * _MEV), "eta": _float(jets.eta), "phi": _float(jets.phi)}
    jet["m"] = _float(jets.mass * _MEV)
    n = len(events)
    return {
        f"{EVENT}.runNumber": keys.run,
        f"{EVENT}.lumiBlock": keys.lumi,
        f"{EVENT}.eventNumber": keys.event,
        f"{EVENT}.mcChannelNumber": np.full(n, CHANNEL, np.uint32),
        f"{EVENT}.actualInteractionsPerCrossing": events.vertices.astype(np.float32),
        ELECTRONS: leptons(events.electrons),
        MUONS: leptons(events.muons),
        JETS: ak.zip(jet),
    }


def local_chunk(sample: Sample, block: int, keys: Keys, events: Core) -> dict[str, Any]:
    """Some events of one block as branches of the local tree."""
    chunk = _shared(keys, events)
    mean_bytes = _LOCAL_REST_BYTES_HL_LHC if sample.hl_lhc else _LOCAL_REST_BYTES
    chunk[LOCAL_REST] = rest(sample.random(_LOCAL_REST, block), len(events), mean_bytes)
    muons = chunk[MUONS]
    truth = ak.values_astype(ak.where(events.muons.prompt, 6, 7), np.int32)
    chunk[MUONS] = ak.with_field(muons, truth, "truthType")
    return chunk


def _tracks(random: np.random.Generator, particles: Particles) -> ak.Array:
    p = particles.columns
    n = len(p["pt"])
    seen = (p["charge"] != 0) & (np.abs(p["eta"]) < 2.5) & (p["pt"] > 0.5)
    theta = 2 * np.arctan(np.exp(-p["eta"]))
    momentum = p["pt"] * np.cosh(p["eta"]) * _MEV
    # a track's z0 is counted from the beam spot: those of one collision share its place
    event = np.repeat(np.arange(len(particles.counts)), particles.counts)
    most = int(p["vertex"].max(initial=0)) + 1
    place = random.normal(0, 35.0, (len(particles.counts), most))
    place[:, 0] = 0.0
    z0 = place[event, p["vertex"]] + p["dz"] * _MM
    columns = {
        "phi": p["phi"],
        "theta": theta,
        "qOverP": p["charge"] / momentum,
        "d0": p["dxy"] * _MM,
        "z0": z0,
        "vz": np.zeros(n),
        "chiSquared": random.gamma(15, 2, n),
        "numberDoF": np.full(n, 30.0),
    }
    fields = {name: column[seen].astype(np.float32) for name, column in columns.items()}
    hits = {"numberOfPixelHits": 6, "numberOfSCTHits": 10, "numberOfPixelHoles": 2}
    for name, most_hits in hits.items():
        fields[name] = random.integers(0, most_hits, n)[seen].astype(np.uint8)
    counts = np.bincount(event[seen], minlength=len(particles.counts))
    return ak.unflatten(ak.zip(fields), counts)


def parent_block(
    sample: Sample, block: int, keys: Keys, events: Core, particles: Particles
) -> dict[str, Any]:
    """All events of one block, in the order in which they are made, as a parent tree's branches."""
    columns = _shared(keys, events)
    random = sample.random(_MUONS, block)
    muons = events.muons
    for name, mean, scale in (
        ("momentumBalanceSignificance", 0.0, 1.0),
        ("scatteringCurvatureSignificance", 0.0, 1.5),
        ("EnergyLoss", 3000.0, 400.0),
    ):
        columns[MUONS] = ak.with_field(columns[MUONS], _noise(random, muons.pt, mean, scale), name)
    columns[TRACKS] = _tracks(sample.random(_TRACKS, block), particles)
    timing = _noise(sample.random(_JETS, block), events.jets.pt, 0.0, 1.0)
    columns[JETS] = ak.with_field(columns[JETS], timing, "Timing")
    mean_bytes = _PARENT_REST_BYTES_HL_LHC if sample.hl_lhc else _PARENT_REST_BYTES
    columns[REST] = rest(sample.random(_REST, block), len(events), mean_bytes)
    return columns


def other_trees(run: int, lumis: NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """Further trees of a parent file: a DAOD has none that tells its luminosity blocks."""
    del run, lumis
    return {}
