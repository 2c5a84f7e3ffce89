# ruff: noqa: E501 (a table is read along its lines)
"""The matching table: which local collection keeps a selection of which parent collection.

NanoAOD keeps objects of MiniAOD with fewer bits, some of them with other calibrations, some in
another order. Each line names a local collection, the parent collections that it may stem from,
and how close an object must be to the one that it was made from. Sources: CMSSW's
PhysicsTools/NanoAOD/python (``muons_cff``, ``electrons_cff``, ``jetsAK4_CHS_cff``,
``jetsAK4_Puppi_cff``, ``jetsAK8_cff``, ``taus_cff``, ``photons_cff``, ``genparticles_cff``,
``jetMC_cff``, ``vertices_cff``, ``isotracks_cff``), where each table's ``src`` is a selection of
the collection named here, and ``Var(…, precision=…)`` how many bits of the mantissa are kept. 12
bits are the usual. Rounded to n bits, η of 4 to 8 is wrong by up to 2^(1 - n), of 2 to 4 by half of
that, as is φ: with 8 bits together 0.0088, with 10 bits 0.0022 (within |η| < 4: 0.0014), with 12
bits 0.0006. No line's resolution is finer than the rounding that it allows for.

PHYSLITE keeps calibrated copies of the containers of a full derivation; where both files hold the
same container in the same order, no match is needed and none is listed here.

Knows names and numbers; nothing of how objects are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from columnservice.formats.decode import LINK_MEMBERS
from columnservice.model import Column, FormatName

COMPARABLE = 2.0
"""Another candidate this many times as far as the nearest is still comparably close."""

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
        in_order: an event with as many objects as the parent's, each near the one at its place,
            holds them in the parent's order: nothing was left out.
        kind: class of the containers in ATLAS formats, by which links name them; else empty.
    """

    local: str
    parents: tuple[str, ...]
    max_dr: float
    pt_low: float
    pt_high: float
    resolution: float
    labels: tuple[str, ...]
    why: str
    in_order: bool = False
    kind: str = ""


def _match(
    local: str,
    parents: str,
    max_dr: float,
    pt: tuple[float, float],
    resolution: float,
    labels: str,
    why: str,
    in_order: bool = False,
    kind: str = "",
) -> Match:
    return Match(
        local, tuple(parents.split()), max_dr, *pt, resolution, tuple(labels.split()), why,
        in_order, kind,
    )  # fmt: skip


_SAME = (0.99, 1.01)  # the very same number with fewer bits
_SAME_8 = (0.9975, 1.0025)  # with 8 bits, which change a number by 0.2 % at most
_JEC = (0.5, 2.0)  # jets are calibrated anew

# fmt: off
MINIAOD_MATCHES: tuple[Match, ...] = (
    #      local          parents                                     max_dr  pt            resolution  labels          why
    _match("Muon",        "slimmedMuons",                             0.01,   (0.8, 1.25),  0.001,      "charge pdgId", "direction kept to 12 bits, pt may be that of the tuneP or corrected track"),
    _match("Electron",    "slimmedElectrons",                         0.01,   (0.7, 1.43),  0.001,      "",             "direction kept to 12 bits, energy calibrated anew; the charge may be another estimate"),
    _match("LowPtElectron", "slimmedLowPtElectrons",                  0.01,   (0.7, 1.43),  0.001,      "",             "direction kept to 12 bits, energy regressed anew"),
    _match("Photon",      "slimmedPhotons",                           0.01,   (0.7, 1.43),  0.001,      "",             "direction kept to 12 bits, energy calibrated anew"),
    _match("Tau",         "slimmedTaus",                              0.01,   (0.9, 1.11),  0.0015,     "charge",       "direction and pt kept to 10 to 12 bits, within |eta| < 4"),
    _match("boostedTau",  "slimmedTausBoosted",                       0.01,   (0.9, 1.11),  0.0015,     "charge",       "direction and pt kept to 10 to 12 bits, within |eta| < 4"),
    _match("Jet",         "slimmedJets slimmedJetsPuppi",             0.02,   _JEC,         0.005,      "",             "direction kept to 12 bits, energy calibrated anew; AK4 jets are never this close to each other"),
    _match("FatJet",      "slimmedJetsAK8",                           0.02,   _JEC,         0.005,      "",             "direction kept to 12 bits, energy calibrated anew"),
    _match("SubJet",      "slimmedJetsAK8PFPuppiSoftDropPackedSubJets", 0.02, _JEC,         0.005,      "",             "direction kept to 12 bits, energy calibrated anew"),
    _match("GenJet",      "slimmedGenJets",                           0.01,   _SAME,        0.0022,     "",             "the same numbers, direction to 10 to 12 bits"),
    _match("GenJetAK8",   "slimmedGenJetsAK8",                        0.01,   _SAME,        0.0022,     "",             "the same numbers, direction to 10 to 12 bits"),
    _match("SubGenJetAK8", "slimmedGenJetsAK8SoftDropSubJets",        0.01,   _SAME,        0.0022,     "",             "the same numbers, direction to 10 to 12 bits"),
    _match("GenPart",     "prunedGenParticles",                       0.01,   _SAME_8,      0.009,      "pdgId status", "the same numbers, direction to 8 to 12 bits; copies in a decay chain differ in status"),
    _match("SV",          "slimmedSecondaryVertices",                 0.01,   (0.95, 1.05), 0.0015,     "",             "momentum of the vertex' tracks, to 10 to 12 bits, within |eta| < 4"),
    _match("IsoTrack",    "isolatedTracks patIsolatedTracks",         0.01,   (0.95, 1.05), 0.0015,     "charge pdgId", "the same numbers, to 10 to 12 bits, within |eta| < 4; named by class where hits are read too"),
    _match("PFCands",     "PFCands",                                  0.005,  (0.95, 1.05), 0.0022,     "pdgId charge", "the same numbers, to 10 bits", in_order=True),
    _match("PFCand",      "PFCands",                                  0.005,  (0.95, 1.05), 0.0022,     "pdgId charge", "the same numbers, to 10 bits", in_order=True),
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
    _match("AnalysisElectrons",  "Electrons",                                                                                      0.02,   _CALIBRATED,  0.001,      "author",          "direction of the track kept, energy calibrated", kind="xAOD::ElectronContainer"),
    _match("AnalysisPhotons",    "Photons",                                                                                        0.05,   _CALIBRATED,  0.001,      "author",          "direction corrected for the vertex, energy calibrated", kind="xAOD::PhotonContainer"),
    _match("AnalysisMuons",      "Muons",                                                                                          0.02,   _CALIBRATED,  0.001,      "author muonType", "direction of the track kept, pt calibrated", kind="xAOD::MuonContainer"),
    _match("AnalysisTauJets",    "TauJets",                                                                                        0.05,   _CALIBRATED,  0.001,      "",                "direction and energy calibrated", kind="xAOD::TauJetContainer"),
    _match("AnalysisJets",       "AntiKt4EMPFlowJets AntiKt4EMTopoJets",                                                           0.1,    _CALIBRATED,  0.005,      "",                "origin-corrected direction, energy calibrated; AK4 jets are never this close to each other", kind="xAOD::JetContainer"),
    _match("AnalysisLargeRJets", "AntiKt10UFOCSSKSoftDropBeta100Zcut10Jets AntiKt10LCTopoTrimmedPtFrac5SmallR20Jets",              0.1,    _CALIBRATED,  0.005,      "",                "energy and mass calibrated", kind="xAOD::JetContainer"),
)
# fmt: on

MATCHES: Mapping[tuple[FormatName, FormatName], tuple[Match, ...]] = {
    ("nanoaod", "miniaod"): MINIAOD_MATCHES,
    ("physlite", "daod"): DAOD_MATCHES,
}
"""(local Format, parent Format) → the table's lines."""


def is_link(column: Column) -> bool:
    """Whether a Column points into containers: what the parent's number means is another there.

    A link is a record, or the Columns of its two members, whatever it is called.
    """
    field = column.field or ""
    member = field.rpartition(".")[2] in _LINK_MEMBERS
    return member or "Link" in field or {m.name for m in column.members} >= _LINK_MEMBERS


@dataclass(frozen=True)
class Chosen:
    """The parent collection that a local one stems from.

    Attributes:
        parent: None where there is none.
        reason: why there is none.
        by_link: only objects that say so by their link stem from it.
    """

    parent: str | None
    reason: str = ""
    by_link: bool = False


def parent_of(
    line: Match, counts_doc: str, fields: Collection[str], is_offered: Callable[[str], bool]
) -> Chosen:
    """The parent collection that a local one stems from.

    It is the one that the local file speaks of. Where it says nothing, a candidate is taken that is
    the only one; of ATLAS' candidates the first, which is what PHYSLITE is made of, or for objects
    with links the one that these lead to. Other jets lie in the same directions: a match with
    another jet algorithm looks like a good one and is not.

    Args:
        line: names the candidates.
        counts_doc: what the local file says of the collection.
        fields: of the local collection.
        is_offered: whether the parent has a collection with directions and momenta.
    """
    words = counts_doc.replace(",", " ").split()
    told = [parent for parent in line.parents if parent in words]
    marks = MARKS.get(line.local, {})
    told += [parent for parent in marks if any(mark in fields for mark in marks[parent])]
    offered = [parent for parent in line.parents if is_offered(parent)]
    if told:
        if told[0] in offered:
            return Chosen(told[0])
        return Chosen(None, f"it stems from {told[0]}, whose objects the parent does not offer")
    if not offered:
        return Chosen(None, f"the parent offers no objects of {' or '.join(line.parents)}")
    if line.kind:
        return _of_containers(line, all(field in fields for field in LINK), offered[0])
    if len(offered) == 1:
        return Chosen(offered[0])
    which = " and ".join(offered)
    reason = f"the parent holds {which}, and the local files do not say which of them it stems from"
    return Chosen(None, reason)


def _of_containers(line: Match, linked: bool, offered: str) -> Chosen:
    """The container of a derivation that objects of PHYSLITE were copied from.

    Args:
        line: names the candidates.
        linked: whether the objects hold links.
        offered: the first of the candidates that the parent has.
    """
    first = line.parents[0]
    if offered == first or linked:
        return Chosen(offered, by_link=linked and len(line.parents) > 1)
    reason = f"the parent holds {offered}, and nothing says that the objects were copied from there"
    return Chosen(None, f"{reason} and not from {first}")


def shared(labels: Sequence[str], mine: Collection[str], theirs: Collection[str]) -> list[str]:
    """The labels that both sides have."""
    return [label for label in labels if label in mine and label in theirs]
