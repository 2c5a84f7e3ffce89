"""Links of ATLAS containers: which Columns are links, and into which containers they lead.

A link holds an object's place in a container of the file that it was written for. Followed into a
container of another file it is right only if both hold the same objects in the same order. Knows
names; neither files nor arrays.
"""

from __future__ import annotations

from collections.abc import Mapping

from columnservice.model import Column

REASON = "the parent's links count objects of the parent's containers, which may be others here"

_MEMBERS = {"m_persKey", "m_persIndex"}

_TRUTH = (
    "TruthPhotons", "TruthMuons", "TruthNeutrinos", "TruthTaus", "TruthElectrons", "TruthBoson",
    "TruthBottom", "TruthTop",
)  # fmt: skip
_TRUTH_LINKS = ("childLinks", "parentLinks")

_GOALS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("Muons", "combinedTrackParticleLink"): ("CombinedMuonTrackParticles",),
    ("Muons", "inDetTrackParticleLink"): ("InDetTrackParticles",),
    ("Muons", "extrapolatedMuonSpectrometerTrackParticleLink"): ("ExtrapolatedMuonTrackParticles",),
    ("Muons", "muonSegmentLinks"): ("MuonSegments",),
    ("Electrons", "trackParticleLinks"): ("GSFTrackParticles",),
    ("Electrons", "caloClusterLinks"): ("egammaClusters",),
    **{(group, field): _TRUTH for group in _TRUTH for field in _TRUTH_LINKS},
}
"""(group, field) → groups that its links lead into, under coffea's names.

Sources: coffea/nanoevents/methods/physlite.py (2026.9), which follows all of these but the
segments; Athena MuonSpectrometer/MuonReconstruction, where muons link to ``MuonSegments``.
"""


def is_link(column: Column) -> bool:
    """Whether a Column points into containers."""
    _, _, field = column.name.partition(".")
    return "Link" in field or {m.name for m in column.members} >= _MEMBERS


def goals_of(group: str, name: str) -> tuple[str, ...] | None:
    """The groups that a link leads into; None where that is not known.

    Args:
        group: of the container that holds the link.
        name: of its Column, or of one of its parts: ``…Link.m_persIndex``.
    """
    _, _, field = name.partition(".")
    return _GOALS.get((group, field.partition(".")[0]))
