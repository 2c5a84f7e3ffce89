"""The matching table: its numbers, its names, and which parent collection a local file names."""

from __future__ import annotations

from math import hypot

import pytest
import uproot

from columnservice.formats.matches import (
    DAOD_MATCHES,
    LINK,
    MINIAOD_MATCHES,
    Chosen,
    is_link,
    parent_of,
)
from columnservice.formats.products import base_names, products
from columnservice.formats.storekeys import CLASS_IDS
from columnservice.model import Column, Member

pytestmark = pytest.mark.fast
LINES = {line.local: line for line in (*MINIAOD_MATCHES, *DAOD_MATCHES)}
# Bits of eta and phi that NanoAOD keeps at least, and up to which |eta| there are such objects.
KEPT = {
    "Muon": (12, 2.5), "Electron": (12, 2.5), "LowPtElectron": (12, 2.5), "Photon": (12, 3.0),
    "Tau": (10, 2.7), "boostedTau": (10, 2.7), "Jet": (12, 5.2), "FatJet": (12, 5.2),
    "SubJet": (12, 5.2), "GenJet": (10, 6.0), "GenJetAK8": (10, 6.0), "SubGenJetAK8": (10, 6.0),
    "GenPart": (8, 8.0), "SV": (10, 3.5), "IsoTrack": (10, 3.0), "PFCands": (10, 5.2),
    "PFCand": (10, 5.2),
}  # fmt: skip


def half_step(value: float, bits: int) -> float:
    """How far a number just below ``value`` is from one with so many bits, at most."""
    power = -10
    while 2.0 ** (power + 1) < value:
        power += 1
    return 2.0 ** (power - bits) / 2


@pytest.mark.parametrize("line", MINIAOD_MATCHES, ids=lambda line: line.local)
def test_no_resolution_is_finer_than_the_rounding_of_its_line(line):
    bits, reach = KEPT[line.local]
    error = hypot(half_step(reach, bits), half_step(3.1416, bits))
    assert error <= line.resolution <= line.max_dr
    stated = [int(word) for word in line.why.replace(",", " ").split() if word.isdigit()]
    assert not stated or min(stated) >= bits or "eta" in line.why


# What that file calls otherwise, and why.
ELSEWHERE = {
    "slimmedLowPtElectrons": "made since UL, CMSSW_10_6",
    "isolatedTracks": "patIsolatedTracks, where recoDeDxHitInfos of that label stand beside them",
    "PFCands": "packedPFCandidates, formats.tables.COLLECTIONS",
}


def test_every_parent_in_the_table_is_what_a_file_of_2018_calls_it(data_dir):
    with uproot.open(data_dir / "cms/miniaodsim_2018_schema_0ev.root") as file:
        names = set(base_names(products(file["Events"])).values())
    parents = {parent for line in MINIAOD_MATCHES for parent in line.parents}
    assert parents - names == ELSEWHERE.keys()


def chosen(local, offered, doc="", fields=()):
    return parent_of(LINES[local], doc, fields, lambda parent: parent in offered)


CHS, PUPPI = "slimmedJets", "slimmedJetsPuppi"


def test_the_local_file_says_which_jets_it_holds():
    both = (CHS, PUPPI)
    assert chosen("Jet", both, f"{CHS}, i.e. ak4 PFJets CHS") == Chosen(CHS)
    assert chosen("Jet", both, f"{PUPPI}, i.e. ak4 PFJets Puppi") == Chosen(PUPPI)
    assert chosen("Jet", both, fields=("pt", "puId")) == Chosen(CHS)
    assert chosen("Jet", both, fields=("pt", "btagPNetB")) == Chosen(PUPPI)
    assert chosen("Jet", (CHS,)) == Chosen(CHS)


def test_what_the_parent_lacks_is_not_replaced_and_nothing_is_guessed():
    lacks = chosen("Jet", (CHS,), f"{PUPPI}, i.e.")
    assert (lacks.parent, lacks.reason.split(",")[0]) == (None, f"it stems from {PUPPI}")
    silent = chosen("Jet", (CHS, PUPPI), "nJet/I", ("pt", "eta"))
    assert silent.parent is None
    assert "do not say which" in silent.reason
    assert chosen("Muon", ()).reason == "the parent offers no objects of slimmedMuons"


TOPO, PFLOW = "AntiKt4EMTopoJets", "AntiKt4EMPFlowJets"


def test_jets_of_another_algorithm_are_taken_only_by_their_links():
    assert chosen("AnalysisJets", (TOPO, PFLOW)) == Chosen(PFLOW)
    assert chosen("AnalysisJets", (TOPO, PFLOW), fields=LINK) == Chosen(PFLOW, by_link=True)
    assert chosen("AnalysisJets", (TOPO,), fields=LINK) == Chosen(TOPO, by_link=True)
    refused = chosen("AnalysisJets", (TOPO,), fields=("pt",))
    assert refused.parent is None
    assert refused.reason.startswith(f"the parent holds {TOPO}, and nothing says")
    assert chosen("AnalysisMuons", ("Muons",), fields=LINK) == Chosen("Muons")


def test_containers_have_a_class_whose_keys_are_known():
    assert all(line.kind in CLASS_IDS for line in DAOD_MATCHES)
    assert not any(line.kind for line in MINIAOD_MATCHES)


def test_links_are_known_by_their_members_whatever_they_are_called():
    def column(field, *members):
        made = tuple(Member(m, "uint32") for m in members or ("",))
        return Column(f"JetsAuxDyn.{field}", made, 1, "Jets", field)

    for field in ("OriginVertex.m_persKey", "Parent.m_persIndex", "clusterLink.m_persIndex"):
        assert is_link(column(field))
    assert is_link(column("GhostTrack", "m_persKey", "m_persIndex"))
    assert not is_link(column("Width"))
