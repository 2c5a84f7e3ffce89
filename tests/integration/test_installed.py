"""Functions that an operator installed, in a service of their own: computed, listed, survived."""

from __future__ import annotations

import os

import awkward as ak
import numpy as np
import pyarrow as pa
import pytest

import columnservice
from columnservice.errors import FunctionFailed, Unavailable
from tests.support.installed import install
from tests.support.service import running_service

SYN = "cms_demo_syn/local_NanoAODv5_1000ev.root"


@pytest.fixture(scope="module")
def site(tmp_path_factory, data_dir):
    """A service with the tiny distribution on its path, and the datasets registered."""
    folder = tmp_path_factory.mktemp("installed")
    path = os.pathsep.join(
        filter(None, [str(install(folder / "site")), os.environ.get("PYTHONPATH")])
    )
    with running_service(folder / "home", [data_dir], {"PYTHONPATH": path}) as service:
        files = [data_dir / f"cms_demo_syn/parent_{n}.root" for n in range(4)]
        service.register("mini", "miniaod", files)
        service.register("nano", "nanoaod", [data_dir / SYN], parent="mini")
        yield service


def values_of(site, *names):
    stream = site.data("nano", site.uuids("nano")[0], 0, 1000, names)
    return pa.ipc.open_stream(stream).read_all()


def test_an_installed_function_gives_what_the_expression_gives(site):
    dataset = columnservice.connect(site.url).dataset("nano")
    dataset.define("Muon_sum", "sum(PFCands_pt[dR < 0.4])")
    table = values_of(site, "Muon_sum", "Muon_installedIso")
    muons = ak.from_arrow(table.column("local:Muon"))
    muons = muons[~ak.is_none(muons)]
    assert np.allclose(
        np.asarray(ak.flatten(muons.Muon_installedIso)),
        np.asarray(ak.flatten(muons.Muon_sum)),
        rtol=1e-4,
    )
    assert ak.sum(muons.Muon_sum) > 0


def test_it_is_listed_with_source_and_author_and_definitions_build_on_it(site):
    dataset = columnservice.connect(site.url).dataset("nano")
    column = dataset.columns()["Muon_installedIso"]
    assert (column.origin, column.source) == ("derived", "pfiso 1.2, pfiso:isolation")
    assert column.doc == "sum of pt within 0.4 in GeV (by Ada, version 2)"
    dataset.define("Muon_relativeIso", "Muon_installedIso / Muon_pt")
    table = values_of(site, "Muon_relativeIso", "largestPt")
    assert table.num_rows == 1000
    _, told = site.ask("GET", "/v1/datasets/nano/definitions")
    [one] = [f for f in told["functions"] if f["name"] == "Muon_installedIso"]
    assert (one["author"], one["version"], one["inputs"][2]) == ("Ada", 2, "PFCands_pt")
    assert {b["source"] for b in told["broken"]} == {
        "pfiso 1.2, pfiso:silent", "pfiso 1.2, pfiso:nowhere",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Muon_failing", "OSError: no model file at all"),
        ("Muon_leaving", "SystemExit: 3"),
        ("Muon_shorter", "gave other numbers of Muon"),
    ],
)
def test_a_failing_function_is_one_clear_error_and_the_worker_lives(site, name, said):
    service, uuid = columnservice.connect(site.url), site.uuids("nano")[0]
    ended = site.counter("columnservice_worker_deaths")
    with pytest.raises(FunctionFailed, match=said):
        service.fetch("nano", uuid, 0, 1000, [name])
    assert site.counter("columnservice_worker_deaths") == ended
    assert values_of(site, "Muon_installedIso").num_rows == 1000


def test_a_function_that_kills_its_process_is_an_error_and_the_service_lives(site):
    service, uuid = columnservice.connect(site.url), site.uuids("nano")[0]
    with pytest.raises(Unavailable, match="two worker processes died of it"):
        service.fetch("nano", uuid, 0, 1000, ["Muon_dying"])
    assert values_of(site, "Muon_installedIso").num_rows == 1000
