"""RNTuples as local and as parent files, through the real service, against plain uproot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea import processor
from coffea.nanoevents import NanoEventsFactory, PHYSLITESchema

import columnservice
from columnservice import wire
from columnservice.model import Column
from tests.integration.test_every_column import same
from tests.support.ntuples import as_ntuple, write_ntuple
from tests.support.pairs import answer_of
from tests.support.truth import Parent, as_awkward, expected, truth_of

NANO_KEYS = {"run", "luminosityBlock", "event"}
COLUMNS_PER_REQUEST = 300
WRITTEN = ("EventInfo", "AnalysisElectrons", "AnalysisJets", "AnalysisMuons", "GSFTrackParticles")


@dataclass(frozen=True)
class Case:
    """A registered local dataset, and what its parent columns are.

    Attributes:
        name: of the dataset.
        truth: TTree files with the parents' events.
        take: (truth file, row) of each local event.
    """

    name: str
    truth: tuple[Parent, ...]
    take: tuple[tuple[int, int], ...]


def rows_of_truth(folder: Path) -> tuple[tuple[int, int], ...]:
    return tuple((0, row) for row in truth_of(folder)["local_row_to_parent_row"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rntuple")


def cms_mini(service, data_dir, folder):
    """A local RNTuple of records, a parent MiniAOD."""
    parent = data_dir / "cms/miniaodsim_phys14_10ev.root"
    service.register("rn_mini_parent", "miniaod", [parent])
    local = data_dir / "cms_demo_mini/local_nano_like_8ev_rntuple.root"
    service.register("rn_mini", "nanoaod", [local], parent="rn_mini_parent")
    take = rows_of_truth(data_dir / "cms_demo_mini")
    return Case("rn_mini", (Parent(parent, "miniaod"),), take)


def atlas(service, data_dir, folder):
    """A local RNTuple, a parent TTree."""
    parent = data_dir / "atlas/PHYSLITE_example.root"
    service.register("rn_atlas_parent", "daod", [parent])
    local = data_dir / "atlas_demo_derived/local_60ev_rntuple.root"
    service.register("rn_atlas", "physlite", [local], parent="rn_atlas_parent")
    take = rows_of_truth(data_dir / "atlas_demo_derived")
    return Case("rn_atlas", (Parent(parent, "daod"),), take)


def atlas_both(service, data_dir, folder):
    """A local RNTuple, a parent RNTuple of many clusters."""
    original = data_dir / "atlas/PHYSLITE_example.root"
    parent = folder / "physlite.root"
    if not parent.exists():
        as_ntuple(
            original,
            "physlite",
            parent,
            cluster_rows=9,
            keep=lambda c: c.collection in WRITTEN,
        )
        service.register("rn_both_parent", "physlite", [parent])
        local = data_dir / "atlas_demo_derived/local_60ev_rntuple.root"
        service.register("rn_both", "physlite", [local], parent="rn_both_parent")
    take = rows_of_truth(data_dir / "atlas_demo_derived")
    return Case("rn_both", (Parent(original, "physlite"),), take)


def importer(service, data_dir, folder):
    """A local RNTuple of lists, a parent that ROOT's importer wrote."""
    original = data_dir / "cms/pfnano.root"
    service.register("rn_import_parent", "nanoaod", [data_dir / "rntuple/pfnano_rntuple.root"])
    order = [7, 2, 9, 0, 4]
    local = as_ntuple(
        original,
        "nanoaod",
        folder / "skim.root",
        rows=order,
        keep=lambda c: c.name in NANO_KEYS | {"fixedGridRhoFastjetAll", "genWeight"},
    )
    service.register("rn_import", "nanoaod", [local], parent="rn_import_parent")
    return Case("rn_import", (Parent(original, "nanoaod"),), tuple((0, r) for r in order))


CASES = {case.__name__: case for case in (cms_mini, atlas, atlas_both, importer)}


@pytest.fixture(scope="module", params=CASES)
def case(request, service, data_dir, folder) -> Case:
    return CASES[request.param](service, data_dir, folder)


def offered(service, name) -> list[Column]:
    columns = [wire.column_from_json(d) for d in service.columns(name)]
    return [c for c in columns if c.origin == "parent" and c.support == "ok"]


def test_every_parent_column_of_an_rntuple_pair_equals_a_direct_read_of_ttrees(case, service):
    uuid, columns = service.uuids(case.name)[0], offered(service, case.name)
    assert len(columns) > 200
    wrong = []
    for first in range(0, len(columns), COLUMNS_PER_REQUEST):
        chunk = columns[first : first + COLUMNS_PER_REQUEST]
        names = [c.name for c in chunk]
        answer = answer_of(service.data(case.name, uuid, 0, len(case.take), names), chunk)
        assert answer.present.all()
        wrong += [
            name
            for name in names
            if not same(answer.columns[name], expected(case.truth, name, case.take))
        ]
    assert wrong == []


@pytest.mark.filterwarnings("ignore:Skipping .* as it is:UserWarning")
@pytest.mark.parametrize("mode", ["virtual", "eager", "dask"])
def test_an_analysis_of_rntuples_is_that_of_the_ttrees(service, data_dir, folder, mode):
    case = atlas_both(service, data_dir, folder)
    client = columnservice.connect(service.url)
    local = data_dir / "atlas_demo_derived/local_60ev_rntuple.root"
    columns = ["GSFTrackParticlesAuxDyn.*", "AnalysisElectronsAuxDyn.*"]
    options = client.nanoevents(PHYSLITESchema, dataset=case.name, columns=columns)
    events = NanoEventsFactory.from_root({str(local): "EventData"}, mode=mode, **options).events()
    parent = {str(data_dir / "atlas/PHYSLITE_example.root"): "CollectionTree"}
    truth = NanoEventsFactory.from_root(parent, schemaclass=PHYSLITESchema).events()
    rows = [row for _, row in case.take]
    look = (
        (events.Electrons.pt, truth.Electrons.pt),
        (events.Electrons.charge, truth.Electrons.charge),
        (events.GSFTrackParticles.z0, truth.GSFTrackParticles.z0),
        (events.GSFTrackParticles.pt, truth.GSFTrackParticles.pt),
    )
    for asked, wanted in look:
        found = asked.compute(scheduler="synchronous") if mode == "dask" else asked
        assert ak.to_list(found) == ak.to_list(wanted[rows])


class Counts(processor.ProcessorABC):
    """Adds up what only the parents hold, and what the local file holds."""

    def process(self, events):
        tracks = events.GSFTrackParticles
        return {
            "events": len(events),
            "tracks": int(ak.sum(ak.num(tracks.z0))),
            "electrons": int(ak.sum(ak.num(events.Electrons))),
        }

    def postprocess(self, accumulator):
        return accumulator


def test_a_runner_goes_through_ttrees_and_rntuples_of_one_dataset(service, data_dir, folder):
    both = atlas_both(service, data_dir, folder)
    tree, ntuple = (data_dir / f"atlas_demo_derived/local_60ev{x}.root" for x in ("", "_rntuple"))
    summary = service.register("rn_mixed", "physlite", [tree, ntuple], parent="rn_both_parent")
    assert summary["files"]["ok"] == 2
    assert summary["coverage"] == {"events": 120, "with_parent": 120}
    columns = {c.name: c for c in map(wire.column_from_json, service.columns("rn_mixed"))}
    assert columns["AnalysisElectronsAuxDyn.pt"].support == "ok"
    client = columnservice.connect(service.url)
    runner = processor.Runner(
        executor=processor.IterativeExecutor(status=False), schema=PHYSLITESchema, chunksize=25
    )
    fileset = {
        "mixed": {
            "files": {str(tree): "CollectionTree", str(ntuple): "EventData"},
            "metadata": {"columnservice": "rn_mixed"},
        }
    }
    found = client.run(runner, fileset, Counts())
    rows = [row for _, row in both.take]
    (parent,) = both.truth
    tracks = np.diff(parent.ragged("GSFTrackParticlesAuxDyn.z0").offsets[0])[rows].sum()
    electrons = np.diff(parent.ragged("AnalysisElectronsAuxDyn.pt").offsets[0])[rows].sum()
    assert found == {"events": 120, "tracks": 2 * tracks, "electrons": 2 * electrons}


def test_a_parent_dataset_may_hold_ttrees_and_rntuples(service, folder):
    rng = np.random.default_rng(2)
    counts = rng.poisson(3, 60)
    muons = ak.unflatten(
        ak.zip({f: rng.normal(size=counts.sum()).astype("f4") for f in ("pt", "dxy")}), counts
    )
    keys = {
        "run": np.ones(60, np.uint32),
        "luminosityBlock": np.repeat(np.arange(6, dtype=np.uint32), 10),
        "event": np.arange(60, dtype=np.uint64),
    }
    rho = rng.normal(size=60).astype("f4")
    everything = {**keys, "fixedGridRhoFastjetAll": rho, "Muon": muons}
    first, second, local = (folder / f"mixed_{n}.root" for n in range(3))
    with uproot.recreate(first) as file:
        kinds = {n: a.dtype for n, a in everything.items() if n != "Muon"}
        file.mktree("Events", {**kinds, "Muon": "var * {pt: float32, dxy: float32}"})
        file["Events"].extend({n: a[:30] for n, a in everything.items()})
    lists = {**keys, "fixedGridRhoFastjetAll": rho, "nMuon": counts.astype("u4")}
    lists |= {f"Muon_{f}": muons[f] for f in muons.fields}
    write_ntuple(second, "Events", {n: a[30:] for n, a in lists.items()}, cluster_rows=7)
    order = rng.permutation(60)
    write_ntuple(
        local, "Events", {n: a[order] for n, a in {**keys, "fixedGridRhoFastjetAll": rho}.items()}
    )
    service.register("rn_half_parent", "nanoaod", [first, second])
    summary = service.register("rn_half", "nanoaod", [local], parent="rn_half_parent")
    assert summary["coverage"] == {"events": 60, "with_parent": 60}
    columns = offered(service, "rn_half")
    assert [c.name for c in columns] == ["nMuon", "Muon_pt", "Muon_dxy"]
    assert columns[0].type == "int64"  # int32 in the TTree, uint32 in the RNTuple
    names = [c.name for c in columns]
    answer = answer_of(service.data("rn_half", service.uuids("rn_half")[0], 5, 55, names), columns)
    wanted = muons[order][5:55]
    assert answer.columns["nMuon"].values.tolist() == ak.num(wanted).tolist()
    for field in ("pt", "dxy"):
        values = answer.columns[f"Muon_{field}"]
        assert as_awkward(values).to_list() == wanted[field].to_list()


def test_a_damaged_rntuple_is_told_when_it_is_registered(service, data_dir, folder):
    data = (data_dir / "rntuple/nano_dy_rntuple.root").read_bytes()
    short, bad = folder / "short.root", folder / "bad.root"
    short.write_bytes(data[: len(data) // 2])
    flipped = bytearray(data)
    flipped[-2000] ^= 255  # in the list of pages or in the footer
    bad.write_bytes(flipped)
    good = data_dir / "rntuple/nano_dy_rntuple.root"
    summary = service.register("rn_bad", "nanoaod", [short, bad, good])
    assert summary["files"]["ok"] == 1
    _, document = service.ask("GET", "/v1/datasets/rn_bad/files")
    failed = {Path(f["url"]).name: f["error"] for f in document["files"] if f["status"] != "ok"}
    assert set(failed) == {"short.root", "bad.root"}
    assert all("damaged" in str(error) for error in failed.values()), failed
