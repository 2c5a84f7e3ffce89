# ruff: noqa: E501 (a table is read along its lines)
"""The matching table: which local collection keeps a selection of which parent collection.

NanoAOD keeps objects of MiniAOD with fewer bits, some of them with other calibrations, some in
another order. Each line names a local collection, the parent collections that it may stem from,
and how close an object must be to the one that it was made from. Sources: CMSSW's
PhysicsTools/NanoAOD/python (``muons_cff``, ``electrons_cff``, ``jetsAK4_CHS_cff``,
``jetsAK4_Puppi_cff``, ``jetsAK8_cff``, ``taus_cff``, ``photons_cff``, ``genparticles_cff``,
``jetMC_cff``, ``vertices_cff``, ``isotracks_cff``), where each table's ``src`` is a selection of
the collection named here, and ``Var(…, precision=…)`` how many bits of the mantissa are kept: 10
bits of η and φ at 2.5 are steps of 0.002, 12 bits (the usual) of 0.0005.

PHYSLITE keeps calibrated copies of the containers of a full derivation; where both files hold the
same container in the same order, no match is needed and none is listed here.

Knows names and numbers; nothing of how objects are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from columnservice.formats.decode import LINK_MEMBERS
from columnservice.model import Column, FormatName

_LINK_MEMBERS = {m.name for m in LINK_MEMBERS}


@dataclass(frozen=True)
class Match:
    """How the objects of a local collection are found in the parent.

    Attributes:
        local: the local collection.
        parents: the parent collections that it may stem from, the preferred first.
        max_dr: how far they may be apart in (η, φ).
        pt_low, pt_high: the smallest and largest pt of the parent / pt of the local object.
        resolution: distance within which stored directions cannot tell objects apart.
        labels: fields that are equal for the same object, where both sides have them.
        why: what makes them differ, and hence the window.
    """

    local: str
    parents: tuple[str, ...]
    max_dr: float
    pt_low: float
    pt_high: float
    resolution: float
    labels: tuple[str, ...]
    why: str


def _match(
    local: str,
    parents: str,
    max_dr: float,
    pt: tuple[float, float],
    resolution: float,
    labels: str,
    why: str,
) -> Match:
    return Match(local, tuple(parents.split()), max_dr, *pt, resolution, tuple(labels.split()), why)


_SAME = (0.99, 1.01)  # the very same number with fewer bits
_JEC = (0.5, 2.0)  # jets are calibrated anew

# fmt: off
MINIAOD_MATCHES: tuple[Match, ...] = (
    #      local          parents                                   max_dr  pt            resolution  labels          why
    _match("Muon",        "slimmedMuons",                           0.01,   (0.8, 1.25),  0.001,      "charge pdgId", "direction kept to 12 bits, pt may be that of the tuneP or corrected track"),
    _match("Electron",    "slimmedElectrons",                       0.01,   (0.7, 1.43),  0.001,      "",             "direction kept, energy calibrated anew; the charge may be another estimate"),
    _match("LowPtElectron", "slimmedLowPtElectrons",                0.01,   (0.7, 1.43),  0.001,      "",             "direction kept, energy regressed anew"),
    _match("Photon",      "slimmedPhotons",                         0.01,   (0.7, 1.43),  0.001,      "",             "direction kept, energy calibrated anew"),
    _match("Tau",         "slimmedTaus",                            0.01,   (0.9, 1.11),  0.001,      "charge",       "direction and pt kept to 10 to 12 bits"),
    _match("boostedTau",  "slimmedTausBoosted",                     0.01,   (0.9, 1.11),  0.001,      "charge",       "direction and pt kept to 10 to 12 bits"),
    _match("Jet",         "slimmedJets slimmedJetsPuppi",           0.02,   _JEC,         0.005,      "",             "direction kept, energy calibrated anew; AK4 jets are never this close to each other"),
    _match("FatJet",      "slimmedJetsAK8",                         0.02,   _JEC,         0.005,      "",             "direction kept, energy calibrated anew"),
    _match("SubJet",      "slimmedJetsAK8PFPuppiSoftDropPacked",    0.02,   _JEC,         0.005,      "",             "direction kept, energy calibrated anew"),
    _match("GenJet",      "slimmedGenJets",                         0.01,   _SAME,        0.001,      "",             "the same numbers, direction to 10 to 12 bits"),
    _match("GenJetAK8",   "slimmedGenJetsAK8",                      0.01,   _SAME,        0.001,      "",             "the same numbers, direction to 10 to 12 bits"),
    _match("GenPart",     "prunedGenParticles",                     0.01,   _SAME,        0.001,      "pdgId status", "the same numbers, direction to 8 to 12 bits; copies in a decay chain differ in status"),
    _match("SV",          "slimmedSecondaryVertices",               0.01,   (0.95, 1.05), 0.001,      "",             "momentum of the vertex' tracks, to 10 to 12 bits"),
    _match("IsoTrack",    "isolatedTracks",                         0.01,   (0.95, 1.05), 0.001,      "charge pdgId", "the same numbers, to 10 to 12 bits"),
    _match("PFCands",     "PFCands",                                0.005,  (0.95, 1.05), 0.001,      "pdgId charge", "the same numbers, to 10 bits"),
    _match("PFCand",      "PFCands",                                0.005,  (0.95, 1.05), 0.001,      "pdgId charge", "the same numbers, to 10 bits"),
)
# fmt: on

# Which of two parent collections, where the local file says so: the text that NanoAOD writes with
# a collection's counts begins with the name of its source. Files without such texts are known by a
# field that only one of them has: ``puId`` is computed for CHS jets only (jetsAK4_CHS_cff), these
# taggers are run on PUPPI jets only (jetsAK4_Puppi_cff, NanoAOD v11 and later).
MARKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Jet": {
        "slimmedJets": ("puId", "qgl", "bRegCorr"),
        "slimmedJetsPuppi": ("btagPNetB", "btagRobustParTAK4B", "btagUParTAK4B"),
    },
}

LINK = ("originalObjectLink.m_persKey", "originalObjectLink.m_persIndex")
"""The fields of a local ATLAS container that say which object each was copied from
(``xAOD::setOriginalObjectLink``, Event/xAOD/xAODBase/Root/IParticleHelpers.cxx)."""

_CALIBRATED = (0.5, 2.0)  # calibrations, smearing and other working points of pt

# PHYSLITE keeps calibrated and re-sorted copies of containers of the full derivation, in MeV.
# Source: Athena PhysicsAnalysis/DerivationFramework/DerivationFrameworkPhys/python/PHYSLITE.py and
# PhysicsAnalysis/Algorithms (``outputContainers`` of the CP algorithms).
# fmt: off
DAOD_MATCHES: tuple[Match, ...] = (
    #      local                 parents                                                                                           max_dr  pt            resolution  labels             why
    _match("AnalysisElectrons",  "Electrons",                                                                                      0.02,   _CALIBRATED,  0.001,      "author",          "direction of the track kept, energy calibrated"),
    _match("AnalysisPhotons",    "Photons",                                                                                        0.05,   _CALIBRATED,  0.001,      "author",          "direction corrected for the vertex, energy calibrated"),
    _match("AnalysisMuons",      "Muons",                                                                                          0.02,   _CALIBRATED,  0.001,      "author muonType", "direction of the track kept, pt calibrated"),
    _match("AnalysisTauJets",    "TauJets",                                                                                        0.05,   _CALIBRATED,  0.001,      "",                "direction and energy calibrated"),
    _match("AnalysisJets",       "AntiKt4EMPFlowJets AntiKt4EMTopoJets",                                                           0.1,    _CALIBRATED,  0.005,      "",                "origin-corrected direction, energy calibrated; AK4 jets are never this close to each other"),
    _match("AnalysisLargeRJets", "AntiKt10UFOCSSKSoftDropBeta100Zcut10Jets AntiKt10LCTopoTrimmedPtFrac5SmallR20Jets",              0.1,    _CALIBRATED,  0.005,      "",                "energy and mass calibrated"),
)
# fmt: on

MATCHES: Mapping[tuple[FormatName, FormatName], tuple[Match, ...]] = {
    ("nanoaod", "miniaod"): MINIAOD_MATCHES,
    ("physlite", "daod"): DAOD_MATCHES,
}
"""(local Format, parent Format) → the table's lines."""


def is_link(column: Column) -> bool:
    """Whether a Column points into containers: what the parent's number means is another there."""
    return "Link" in (column.field or "") or {m.name for m in column.members} >= _LINK_MEMBERS


def parent_of(
    line: Match, counts_doc: str, fields: Collection[str], is_offered: Callable[[str], bool]
) -> str | None:
    """The parent collection that a local one stems from; None where the parent has none of them.

    Args:
        line: names the candidates.
        counts_doc: what the local file says of the collection.
        fields: of the local collection.
        is_offered: whether the parent has a collection with directions and momenta.
    """
    words = counts_doc.replace(",", " ").split()
    named = [parent for parent in line.parents if parent in words]
    if named:
        return named[0] if is_offered(named[0]) else None
    for parent, marks in MARKS.get(line.local, {}).items():
        if any(mark in fields for mark in marks):
            return parent if is_offered(parent) else None
    return next((parent for parent in line.parents if is_offered(parent)), None)


def shared(labels: Sequence[str], mine: Collection[str], theirs: Collection[str]) -> list[str]:
    """The labels that both sides have."""
    return [label for label in labels if label in mine and label in theirs]
