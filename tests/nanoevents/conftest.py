"""Local files without their PF candidates or containers, beside the full files as the truth."""

from __future__ import annotations

import pytest
import uproot

import columnservice
from columnservice.client import catalogue
from columnservice.client.report import LEDGER
from columnservice.nanoevents import columnlist, complaints, offer
from columnservice.nanoevents.ahead import AHEAD
from columnservice.nanoevents.memory import MEMORY
from columnservice.nanoevents.supply import forget_uploads

from ..support.wire_server import wire_server
from .files import (
    ATLAS_KEYS,
    PF,
    serve_nanoaod,
    serve_physlite,
    write_nanoaod,
    write_physlite,
)
from .small import Small, serve_small, write_small

NANO_EXTRA = ("Muon_dxy", "Muon_pfRelIso04_all", "Muon_isGlobal", "Muon_tightCharge", "PV_npvs")
ATLAS_GONE = (
    "AnalysisElectronsAuxDyn",
    "GSFTrackParticlesAuxDyn",
    "InDetTrackParticlesAuxDyn",
    "CombinedMuonTrackParticlesAuxDyn",
    "egammaClustersAuxDyn",
    "TruthMuonsAuxDyn",
)
ATLAS_EXTRA = (
    "AnalysisMuonsAuxDyn.charge",
    "AnalysisMuonsAuxDyn.combinedTrackParticleLink",
    "AnalysisMuonsAuxDyn.muonSegmentLinks",
    "EventInfoAuxDyn.mcEventWeights",
    "EventInfoAuxDyn.mcChannelNumber",
)


def nano_is_remote(name: str) -> bool:
    group = name.partition("_")[0]
    return group in PF or group in {f"n{g}" for g in PF} or name in NANO_EXTRA


def atlas_is_remote(name: str) -> bool:
    return name.partition(".")[0] in ATLAS_GONE or name in ATLAS_EXTRA


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """Each test is a process of its own, as far as memory goes."""
    MEMORY.clear()
    AHEAD.renew()
    LEDGER.renew()
    catalogue.forget()
    columnlist.forget()
    offer.forget()
    complaints.forget()
    forget_uploads()
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "COLUMNSERVICE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    with wire_server() as double:
        yield double


@pytest.fixture
def service(server):
    return columnservice.connect(server.url)


@pytest.fixture(scope="session")
def full_nano(data_dir):
    return data_dir / "cms" / "pfnano.root"


@pytest.fixture(scope="session")
def full_atlas(data_dir):
    return data_dir / "atlas" / "PHYSLITE_example.root"


@pytest.fixture(scope="session")
def nano(full_nano, tmp_path_factory):
    """(path, UUID, names of the branches that it lacks) of a NanoAOD file without PF candidates."""
    path = tmp_path_factory.mktemp("nano") / "local.root"
    uuid = write_nanoaod(full_nano, path, nano_is_remote)
    names = [k for k in uproot.open(full_nano)["Events"].keys() if nano_is_remote(k)]  # noqa: SIM118
    return path, uuid, names


@pytest.fixture(scope="session")
def atlas(full_atlas, tmp_path_factory):
    """(path, UUID, names of the branches that it lacks) of a PHYSLITE file."""
    path = tmp_path_factory.mktemp("atlas") / "local.root"
    uuid = write_physlite(full_atlas, path, lambda name: not atlas_is_remote(name))
    tree = uproot.open(full_atlas)["CollectionTree"]
    unknown = uproot.interpretation.identify.UnknownInterpretation
    names = [
        name
        for name, branch in tree.iteritems()
        if atlas_is_remote(name)
        and "/" not in name
        and name not in ATLAS_KEYS
        and not isinstance(branch.interpretation, unknown)
    ]
    return path, uuid, names


@pytest.fixture
def nano_served(server, nano, full_nano):
    """The dataset ``nano``: the service adds what the local file lacks."""
    return server.add(serve_nanoaod("nano", full_nano, nano[1], nano[2]))


@pytest.fixture
def atlas_served(server, atlas, full_atlas):
    """The dataset ``atlas``: the service adds what the local file lacks."""
    return server.add(serve_physlite("atlas", full_atlas, atlas[1], atlas[2]))


@pytest.fixture(scope="session")
def small_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.root"
    return path, write_small(path)


@pytest.fixture
def small(server, small_file):
    """The dataset ``small`` and its local file, cheap enough for every wrong answer."""
    return Small(*small_file, server.add(serve_small(*small_file)))
