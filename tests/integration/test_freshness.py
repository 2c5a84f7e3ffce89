"""Never old bytes: a parent that is replaced, cached, or whose origin cannot be asked."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow as pa
import pytest

from columnservice import wire
from tests.integration.test_provenance import KEYS, column, fetch, write_nano
from tests.support.service import running_service
from tests.support.xrootd import storage

RHO = np.linspace(10, 30, 100).astype("f4")
MUONS = [[float(e)] for e in range(100)]


@pytest.fixture(scope="module")
def house(tmp_path_factory, xrootd_installed):
    """A storage of its own, and a service that asks origins at every request."""
    folder = tmp_path_factory.mktemp("freshness")
    with storage() as servers:
        settings = {
            "COLUMNSERVICE_XCACHES": json.dumps(servers.xcaches),
            "COLUMNSERVICE_REVALIDATE_SECONDS": "0.001",
            "COLUMNSERVICE_REVALIDATE_WAIT_SECONDS": "3",
        }
        with running_service(folder / "home", [folder], settings) as service:
            yield servers, service, folder


def register(house, name, muons=MUONS, later=0):
    """A local file, and its parent at the origin; returns the parent's URL."""
    _, service, folder = house
    local = write_nano(folder / f"{name}.root", KEYS, RHO)
    url = put(house, name, muons, later)
    service.register(f"{name}_parent", "nanoaod", [url])
    service.register(name, "nanoaod", [local], parent=f"{name}_parent")
    return url


def put(house, name, muons, later=0):
    """Write the parent at the origin, some seconds later than now."""
    servers, _, folder = house
    path = write_nano(folder / f"{name}_parent.root", KEYS, RHO, muons)
    url = servers.put(path, f"{name}/parent.root")
    placed = servers.origin.store / name / "parent.root"
    os.utime(placed, (placed.stat().st_atime, placed.stat().st_mtime + later))
    return url


def test_a_parent_replaced_at_the_origin_is_never_served_old(house):
    _, service, _ = house
    register(house, "swap")
    assert column(service, "swap", 0, 100, "Muon_pt").values.tolist() == list(range(100))
    put(house, "swap", [[e + 1000.0] for e in range(100)], later=10)
    status, document = fetch(service, "swap", 0, 100, ["Muon_pt"])
    assert (status, document["title"]) == (409, "FileChanged")
    assert "refresh" in document["remedy"]
    service.ask("POST", "/v1/datasets/swap_parent/refresh")
    service.follow("swap_parent")
    values = column(service, "swap", 0, 100, "Muon_pt").values
    assert values.tolist() == [e + 1000 for e in range(100)]


def test_old_blocks_in_the_xcache_are_read_around_after_a_refresh(house):
    _, service, _ = house
    register(house, "blocks")
    column(service, "blocks", 0, 100, "Muon_pt")
    put(house, "blocks", [[e + 7.0] for e in range(100)], later=10)
    service.ask("POST", "/v1/datasets/blocks_parent/refresh")
    service.follow("blocks_parent")
    values = column(service, "blocks", 0, 100, "Muon_pt").values
    assert values.tolist() == [e + 7 for e in range(100)]


def test_an_unreachable_origin_leaves_cached_columns_served_and_marked_unverified(house):
    servers, service, _ = house
    register(house, "away")
    column(service, "away", 0, 100, "Muon_pt")
    servers.origin.freeze()
    try:
        data = service.data("away", service.uuids("away")[0], 0, 100, ["Muon_pt"])
    finally:
        servers.origin.thaw()
    batch, metadata = pa.ipc.open_stream(data).read_next_batch_with_custom_metadata()
    assert metadata[wire.UNVERIFIED.encode()] == b"1"
    told = next(c for c in service.columns("away") if c["name"] == "Muon_pt")
    got = wire.decode_column(wire.column_from_json(told), batch)
    assert got.values.tolist() == list(range(100))
