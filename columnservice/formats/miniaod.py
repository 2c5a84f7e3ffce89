"""The MiniAOD and AOD Formats of CMS: EDM files and the Columns that they share with NanoAOD."""

from __future__ import annotations

from columnservice.formats import auxiliary, byname, edm
from columnservice.formats.format import Format, Witness

_WITNESSES = (
    Witness("fixedGridRhoFastjetAll", "fixedGridRhoFastjetAll"),
    # GenEventInfoProduct::weight() is weights_[0]; NanoAOD keeps it as genWeight
    Witness("genWeight", "generatorWeights", first=True),
    Witness("LHEWeight_originalXWGTUP", "externalLHEProducer_originalXWGTUP"),
    Witness("LHEWeight_originalXWGTUP", "source_originalXWGTUP"),
    # the mean of the Poisson distribution is the same for every bunch crossing of an event
    Witness("Pileup_nTrueInt", "slimmedAddPileupInfo_TrueNumInteractions", first=True),
    Witness("Pileup_nTrueInt", "addPileupInfo_TrueNumInteractions", first=True),
)

MINIAOD = Format(
    name="miniaod",
    trees=("Events",),
    offer=edm.offer,
    key_reads=auxiliary.key_reads,
    keys=auxiliary.keys,
    witnesses=(*_WITNESSES, Witness("PV_npvs", "nofflineSlimmedPrimaryVertices")),
    lumi_ranges=auxiliary.lumi_ranges,
    data_names=byname.data_names,
)

AOD = Format(
    name="aod",
    trees=("Events",),
    offer=edm.offer,
    key_reads=auxiliary.key_reads,
    keys=auxiliary.keys,
    witnesses=(*_WITNESSES, Witness("PV_npvs", "nofflinePrimaryVertices")),
    lumi_ranges=auxiliary.lumi_ranges,
    data_names=byname.data_names,
)
