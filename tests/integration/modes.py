"""The analyses of ``test_modes``: importable by other processes, and the same for every mode."""

from __future__ import annotations

import awkward as ak
import hist
from coffea import processor
from coffea.nanoevents import PFNanoAODSchema, PHYSLITESchema

AXES = {
    "dxy": hist.axis.Regular(20, -0.05, 0.05),
    "npvs": hist.axis.Regular(25, 0, 75),
    "mass": hist.axis.Regular(30, 0, 3),
    "constituents": hist.axis.Regular(30, 0, 60),
    "near": hist.axis.Regular(30, 0, 1.5),
    "jets": hist.axis.Regular(30, 0, 400),
    "electrons": hist.axis.Regular(30, 0, 100_000),
    "tracks": hist.axis.Regular(30, 0, 100_000),
    "charge": hist.axis.Regular(3, -1.5, 1.5),
    "weights": hist.axis.Regular(20, 0, 2e6),
    "muons": hist.axis.Regular(30, 0, 100_000),
}


class PFNano(PFNanoAODSchema):
    """A user's own subclass, without coffea's warnings about what the old file lacks."""

    warn_missing_crossrefs = False


def pfnano(events) -> dict:
    """Local and remote collections, cross-references both ways, vectors, nearest and masks."""
    pair = events.PFCands[:, 0] + events.PFCands[:, 1]
    jets = events[ak.num(events.Jet) > 1].Jet[:, :2]
    return {
        "dxy": ak.flatten(events.Muon.dxy),
        "npvs": events.PV.npvs,
        "mass": pair.mass,
        "constituents": ak.flatten(jets.constituents.pf.pt, axis=None),
        "near": ak.flatten(
            ak.min(events.Muon.metric_table(events.PFCands), axis=2, mask_identity=False)
        ),
        "jets": ak.flatten(events.JetPFCands.jet.pt),
    }


def physlite(events) -> dict:
    """Links from remote into remote and from local into remote containers."""
    electrons = events.Electrons
    return {
        "electrons": ak.flatten(electrons.pt),
        "tracks": ak.flatten(electrons.trackParticles.pt, axis=None),
        "charge": ak.flatten(events.Muons.charge),
        "muons": ak.flatten(events.Muons.pt),
    }


ANALYSES = {PFNano: pfnano, PHYSLITESchema: physlite}


def fill(arrays: dict, kind=hist.Hist) -> dict:
    """Histograms, of numbers or of dask's promises of numbers."""
    return {
        name: kind(AXES[name], storage=hist.storage.Int64()).fill(a) for name, a in arrays.items()
    }


class Histograms(processor.ProcessorABC):
    """An analysis as coffea's Runner takes it."""

    def __init__(self, analysis) -> None:
        self.analysis = analysis

    def process(self, events):
        return {events.metadata["dataset"]: fill(self.analysis(events))}

    def postprocess(self, accumulator):
        return accumulator


def muons(events) -> dict:
    """What both CMS samples lack."""
    return {"dxy": ak.flatten(events.Muon.dxy)}
