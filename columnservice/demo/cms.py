"""Synthetic CMS events as a NanoAOD-like local tree and as MiniAOD-like (EDM) parent trees.

The parents have the branch names and codes of the 2018 and later MiniAOD layout. uproot cannot
write EDM objects; the auxiliaries therefore are branches of bytes with the true byte layout. Knows
how events become branches, and nothing of which event goes where.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from columnservice.demo import packing
from columnservice.demo.blocks import Sample
from columnservice.demo.particles import MUON_MASS, Particles, rest
from columnservice.demo.physics import Core
from columnservice.model import FormatName, Keys

LOCAL_FORMAT: FormatName = "nanoaod"
PARENT_FORMAT: FormatName = "miniaod"
LOCAL_TREE = PARENT_TREE = "Events"
CANDIDATES = "patPackedCandidates_packedPFCandidates__PAT"
GEN_PARTICLES = "patPackedGenParticles_packedGenParticles__PAT"
JETS = "patJets_slimmedJets__PAT"
RHO = "double_fixedGridRhoFastjetAll__RECO.obj"
RHO_NEUTRAL = "double_fixedGridRhoFastjetCentralNeutral__RECO.obj"
REST = "demoBytes_restOfTheEvent__SYNTHETIC.obj.bytes_"
WEIGHTS = "GenEventInfoProduct_generator__SIM.obj.weights_"

_NANO_FLOAT_BITS = 13
"""Bits of the mantissa that this NanoAOD-like file drops, as NanoAOD does to compress better."""

_LOCAL_REST_BYTES = 900
_PARENT_REST_BYTES = 35_000
_PARENT_REST_BYTES_HL_LHC = 175_000
"""What is added to reach 50 kB an event as today, and 250 kB and 2 kB as at the HL-LHC."""

_SMEAR, _CODES = 21, 22  # streams of random numbers


def local_branch(collection: str, field: str) -> str:
    """The name of a collection's branch in the local tree."""
    return f"{collection}_{field}"


def parent_branch(product: str, member: str) -> str:
    """The name of a product's branch in a parent tree."""
    return f"{product}.obj.{member}"


def _short(values: Any) -> Any:
    """float32 with a shortened mantissa; NumPy or flat or jagged Awkward."""
    if isinstance(values, ak.Array):
        counts = ak.num(values)
        return ak.unflatten(_short(ak.to_numpy(ak.flatten(values))), counts)
    bits = np.asarray(values, np.float32).view(np.uint32)
    half, mask = 1 << (_NANO_FLOAT_BITS - 1), ~np.uint32((1 << _NANO_FLOAT_BITS) - 1)
    return ((bits + np.uint32(half)) & mask).view(np.float32)


def _noise(random: np.random.Generator, like: ak.Array, scale: float) -> ak.Array:
    counts = ak.num(like)
    flat = random.normal(0, scale, int(ak.sum(counts))).astype(np.float32)
    return _short(ak.unflatten(flat, counts))


def _fractions(random: np.random.Generator, like: ak.Array, *names: str) -> dict[str, ak.Array]:
    """Shares of a jet's energy that add up to one."""
    counts = ak.num(like)
    shares = random.dirichlet(np.full(len(names), 1.5), int(ak.sum(counts)))
    return {
        name: _short(ak.unflatten(shares[:, place], counts)) for place, name in enumerate(names)
    }


def local_chunk(sample: Sample, block: int, keys: Keys, events: Core) -> dict[str, Any]:
    """Some events of one block as branches of the local tree."""
    random = sample.random(_SMEAR, block)
    muons, electrons, jets = events.muons, events.electrons, events.jets
    muon = {name: _short(muons[name]) for name in ("pt", "eta", "phi")}
    muon["mass"] = ak.full_like(muons.pt, MUON_MASS, dtype=np.float32)
    muon["charge"] = ak.values_astype(muons.charge, np.int32)
    muon["dxy"], muon["dz"] = _noise(random, muons.pt, 0.003), _noise(random, muons.pt, 0.006)
    muon["ptErr"] = _short(muons.pt * 0.02)
    muon["genPartFlav"] = ak.values_astype(ak.where(muons.prompt, 1, 5), np.uint8)
    electron = {name: _short(electrons[name]) for name in ("pt", "eta", "phi")}
    electron["mass"] = ak.zeros_like(electrons.pt, dtype=np.float32)
    electron["charge"] = ak.values_astype(electrons.charge, np.int32)
    jet = {name: _short(jets[name]) for name in ("pt", "eta", "phi", "mass")}
    jet["btagDeepFlavB"] = _short(jets.btag)
    jet["hadronFlavour"] = ak.values_astype(jets.flavour, np.int32)
    jet["area"] = _noise(random, jets.pt, 0.01) + np.float32(0.5)
    jet["rawFactor"] = _noise(random, jets.pt, 0.05)
    jet |= _fractions(random, jets.pt, "chHEF", "neHEF", "chEmEF", "neEmEF", "muEF")
    n = len(events)
    chunk: dict[str, Any] = {
        "run": keys.run,
        "luminosityBlock": keys.lumi,
        "event": keys.event,
        "Muon": ak.zip(muon),
        "Electron": ak.zip(electron),
        "Jet": ak.zip(jet),
        "MET_pt": _short(events.met_pt),
        "MET_phi": _short(events.met_phi),
        "MET_sumEt": _short(random.gamma(20, 60, n)),
        "fixedGridRhoFastjetAll": events.rho.astype(np.float32),
        "genWeight": events.weight.astype(np.float32),
        "PV_npvs": events.vertices.astype(np.int32),
        "Pileup_nTrueInt": np.full(n, 50, np.float32),
    }
    variations = 103
    weights = _short(random.normal(1, 0.05, n * variations))
    chunk["LHEPdfWeight"] = ak.unflatten(weights, np.full(n, variations))
    counts = random.poisson(60 if sample.hl_lhc else 25, n)
    total = int(counts.sum())
    ids = random.choice([-211, 211, 22, 111, 130, -5, 5, 21], total)
    truth = {
        "pt": _short(random.exponential(6, total)),
        "eta": _short(random.normal(0, 2.5, total)),
        "phi": _short(random.uniform(-np.pi, np.pi, total)),
        "mass": np.zeros(total, np.float32),
        "pdgId": ids.astype(np.int32),
        "status": np.ones(total, np.int32),
        "genPartIdxMother": np.full(total, -1, np.int32),
    }
    chunk["GenPart"] = ak.unflatten(ak.zip(truth), counts)
    if sample.hl_lhc:
        chunk["SyntheticRest"] = rest(random, n, _LOCAL_REST_BYTES)
    return chunk


def _candidates(random: np.random.Generator, particles: Particles) -> ak.Array:
    p = particles.columns
    n = len(p["pt"])
    charged = p["charge"] != 0
    tracked = charged & (p["pt"] > 0.95)  # only these keep the details of their tracks
    signed_error = random.lognormal(-1, 1, n)

    def small(kind: type, most: int, where: NDArray[np.bool_]) -> NDArray[Any]:
        return np.where(where, random.integers(0, most, n), 0).astype(kind)

    def error(scale: float) -> NDArray[np.uint16]:
        return np.where(tracked, packing.half(signed_error * scale), 0).astype(np.uint16)

    members: dict[str, NDArray[Any]] = {
        "packedPt_": packing.half(p["pt"]),
        "packedEta_": packing.linear(p["eta"], 6.0),
        "packedPhi_": packing.linear(p["phi"], 3.2),
        "packedM_": packing.half(p["mass"]),
        "packedDxy_": packing.half(p["dxy"] * 100),
        "packedDz_": packing.half(p["dz"] * 100),
        "packedDPhi_": packing.linear(np.where(tracked, random.normal(0, 1e-3, n), 0), 3.2),
        "packedDEta_": packing.half(np.where(tracked, random.normal(0, 1e-3, n), 0)),
        "packedDTrkPt_": packing.half(np.where(tracked, random.normal(0, 1e-2, n), 0)),
        "packedCovariance_.dxydxy": error(0.1),
        "packedCovariance_.dxydz": error(0.02),
        "packedCovariance_.dzdz": error(0.3),
        "packedCovariance_.dlambdadz": error(0.05),
        "packedCovariance_.dphidxy": error(0.05),
        "packedCovariance_.dptdpt": error(0.01),
        "packedCovariance_.detadeta": error(0.01),
        "packedCovariance_.dphidphi": error(0.01),
        "packedPuppiweight_": packing.puppi(p["puppi"]),
        "packedPuppiweightNoLepDiff_": np.zeros(n, np.int8),
        "rawCaloFraction_": small(np.uint8, 120, ~charged),
        "hcalFraction_": small(np.int8, 100, np.abs(p["pdg_id"]) == 130),
        "packedTime_": np.zeros(n, np.int16),
        "packedTimeError_": np.zeros(n, np.uint8),
        "isIsolatedChargedHadron_": np.zeros(n, np.bool_),
        "pdgId_": p["pdg_id"].astype(np.int32),
        "qualityFlags_": np.where(charged, 0x1F, 0).astype(np.uint16),
        "pvRefKey_": p["vertex"].astype(np.uint32),
        "packedHits_": small(np.uint8, 160, tracked),
        "packedLayers_": small(np.uint8, 120, tracked),
        "normalizedChi2_": small(np.uint8, 30, tracked),
        "covarianceVersion_": np.where(tracked, 1, 0).astype(np.uint16),
        "covarianceSchema_": np.where(tracked, 520, 0).astype(np.uint16),
        "firstHit_": small(np.uint16, 40, tracked),
    }
    return ak.unflatten(ak.zip(members), particles.counts)


def _gen_particles(random: np.random.Generator, particles: Particles) -> ak.Array:
    """The particles of the collision of interest as they were before the detector."""
    p = particles.columns
    chosen = p["vertex"] == 0
    event = np.repeat(np.arange(len(particles.counts)), particles.counts)[chosen]
    pt, eta, mass = (p[name][chosen] for name in ("pt", "eta", "mass"))
    pt = pt * random.normal(1, 0.02, len(pt)).clip(0.5)
    rapidity = np.arcsinh(pt * np.sinh(eta) / np.hypot(pt, mass))
    members = {
        "packedPt_": packing.half(pt),
        "packedY_": packing.linear(rapidity, 6.0),
        "packedPhi_": packing.linear(p["phi"][chosen], 3.2),
        "packedM_": packing.half(mass),
        "pdgId_": p["pdg_id"][chosen].astype(np.int32),
        "charge_": p["charge"][chosen].astype(np.int8),
    }
    counts = np.bincount(event, minlength=len(particles.counts))
    return ak.unflatten(ak.zip(members), counts)


def _slimmed_jets(random: np.random.Generator, jets: ak.Array) -> ak.Array:
    polar = "m_state.p4Polar_.fCoordinates"
    members = {
        f"{polar}.{m}": jets[f] for m, f in (("fPt", "pt"), ("fEta", "eta"), ("fPhi", "phi"))
    }
    members[f"{polar}.fM"] = jets.mass
    members["mJetArea"] = _noise(random, jets.pt, 0.01) + np.float32(0.5)
    members["jetCharge_"] = _noise(random, jets.pt, 0.3)
    return ak.zip({name: ak.values_astype(array, np.float32) for name, array in members.items()})


def parent_block(
    sample: Sample, block: int, keys: Keys, events: Core, particles: Particles
) -> dict[str, Any]:
    """All events of one block, in the order in which they are made, as a parent tree's branches."""
    random = sample.random(_CODES, block)
    n = len(events)
    return {
        "EventAuxiliary": ak.from_regular(ak.Array(packing.event_auxiliary(keys))),
        CANDIDATES: _candidates(random, particles),
        GEN_PARTICLES: _gen_particles(random, particles),
        JETS: _slimmed_jets(random, events.jets),
        RHO: events.rho,
        RHO_NEUTRAL: events.rho * random.normal(0.3, 0.01, n),
        WEIGHTS: ak.unflatten(events.weight, np.ones(n, np.int64)),
        REST: rest(random, n, _PARENT_REST_BYTES_HL_LHC if sample.hl_lhc else _PARENT_REST_BYTES),
    }


def other_trees(run: int, lumis: NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """Further trees of a parent file: ``LuminosityBlocks``, which tells the file's lumi blocks."""
    runs = np.full(len(lumis), run, np.uint32)
    raw = packing.lumi_auxiliary(runs, lumis.astype(np.uint32))
    auxiliary = ak.from_regular(ak.Array(raw))
    return {"LuminosityBlocks": {"LuminosityBlockAuxiliary": auxiliary}}
