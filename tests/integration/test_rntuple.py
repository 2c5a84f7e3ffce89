"""RNTuples as local and as parent files, through the real service, against plain uproot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from columnservice import wire
from columnservice.model import Column
from tests.integration.test_every_column import same
from tests.support.ntuples import as_ntuple
from tests.support.pairs import answer_of
from tests.support.truth import Parent, expected, truth_of

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
    parent = as_ntuple(
        original,
        "physlite",
        folder / "physlite.root",
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
