"""The demo's analysis, as a physicist would write it: coffea, and columns that the file lacks.

Runs as a process of its own, ``python -m columnservice.demo.analysis TASK RESULT``, so that the
second run starts with nothing in memory. TASK is JSON (see ``Task``); RESULT gets a NumPy archive
and, beside it, JSON with what was touched and how long it took.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from columnservice.demo.isolation import Result, around, concatenate, pair_mass


@dataclass(frozen=True)
class Task:
    """What to analyse.

    Attributes:
        url: of the service.
        experiment: cms or atlas.
        dataset: name of the local dataset.
        local, tree: path of the local file, name of its tree.
        entries: events in it.
        chunk_events: events per step.
    """

    url: str
    experiment: str
    dataset: str
    local: str
    tree: str
    entries: int
    chunk_events: int


@dataclass(frozen=True)
class Report:
    """What an analysis did.

    Attributes:
        columns: remote columns that were touched, in order.
        seconds: from the first event to the last, without the imports.
    """

    columns: list[str]
    seconds: float


def _sum(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    wide = ak.values_astype(values, np.float64)
    return np.asarray(ak.sum(wide, axis=1) if wide.ndim > 1 else wide)


def analyse_cms(events: Any) -> Result:
    """Isolation with PUPPI weights from the particle-flow candidates (remote) of each event."""
    candidates, muons = events.PFCands, events.Muon
    weight = ak.where(abs(candidates.pdgId) == 13, 0.0, candidates.pt * candidates.puppiWeight)
    distance = muons.metric_table(candidates)
    inside = ak.sum(ak.where(distance < 0.4, weight[:, np.newaxis], 0.0), axis=-1)
    columns = ("pt", "eta", "phi", "pdgId", "puppiWeight")
    return Result(
        inside / muons.pt,
        muons.genPartFlav == 1,
        pair_mass(muons, 1.0),
        {f"PFCands_{name}": _sum(candidates[name]) for name in columns},
    )


def analyse_atlas(events: Any) -> Result:
    """Isolation from the tracks (remote) of the same vertex, of muons of good balance (remote)."""
    tracks, muons = events.InDetTrackParticles, events.Muons
    from_vertex = abs(tracks.z0) < 2.0
    particles = ak.zip(
        {
            "eta": -np.log(np.tan(tracks.theta / 2)),
            "phi": tracks.phi,
            "weight": ak.where(from_vertex, np.sin(tracks.theta) / abs(tracks.qOverP), 0.0),
        }
    )
    inside = around(muons, particles) - 1  # the muon's own track is among them
    balanced = abs(muons.momentumBalanceSignificance) < 3
    balance = "AnalysisMuonsAuxDyn.momentumBalanceSignificance"
    sums = {
        f"InDetTrackParticlesAuxDyn.{name}": _sum(tracks[name])
        for name in ("phi", "theta", "qOverP", "z0")
    }
    return Result(
        inside[balanced],
        (muons.truthType == 6)[balanced],
        pair_mass(muons, 1e-3),
        {**sums, balance: _sum(muons.momentumBalanceSignificance)},
    )


def analyse(task: Task) -> tuple[Result, Report]:
    """The whole local file, chunk by chunk, in coffea's virtual mode."""
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory, PHYSLITESchema

    import columnservice

    cms = task.experiment == "cms"
    service = columnservice.connect(task.url)
    started = time.monotonic()
    options = service.nanoevents(NanoAODSchema if cms else PHYSLITESchema, dataset=task.dataset)
    touched: list[Any] = []
    results = []
    for start in range(0, task.entries, task.chunk_events):
        events = NanoEventsFactory.from_root(
            {task.local: task.tree},
            entry_start=start,
            entry_stop=min(start + task.chunk_events, task.entries),
            access_log=touched,
            **options,
        ).events()
        results.append(analyse_cms(events) if cms else analyse_atlas(events))
    result = concatenate(results)
    seconds = time.monotonic() - started
    parent = {c.name for c in service.columns(task.dataset) if c.origin == "parent"}
    used = [name for name in dict.fromkeys(entry.branch for entry in touched) if name in parent]
    return result, Report(used, seconds)


def main(task: str, result: str) -> None:
    """The process."""
    found, report = analyse(Task(**json.loads(task)))
    found.save(result)
    Path(result).with_suffix(".json").write_text(json.dumps(asdict(report)))


if __name__ == "__main__":
    main(*sys.argv[1:])
