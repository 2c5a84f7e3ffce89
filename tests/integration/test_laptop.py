"""From outside, over a slow link: replies are compressed, kept on disk, and confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest
import uproot
from coffea.nanoevents import BaseSchema

import columnservice
from columnservice.client.report import LEDGER
from columnservice.demo.relay import Relay
from columnservice.errors import Unreachable
from columnservice.nanoevents.memory import MEMORY

SYN = "cms_demo_syn/local_NanoAODv5_1000ev.root"
NAMES = ["PFCands_pt", "PFCands_pdgId"]


@pytest.fixture(scope="module")
def nano(service, data_dir) -> Path:
    parents = [data_dir / f"cms_demo_syn/parent_{n}.root" for n in range(4)]
    service.register("laptop_mini", "miniaod", parents)
    service.register("laptop_nano", "nanoaod", [data_dir / SYN], parent="laptop_mini")
    return data_dir / SYN


def read(client, path: Path) -> tuple[list, object]:
    """Values and the report of a process of its own, as far as memory goes."""
    MEMORY.clear()
    LEDGER.renew()
    options = client.nanoevents(BaseSchema, dataset="laptop_nano", missing="mask")
    tree = uproot.open(path, **options["uproot_options"])["Events"]
    arrays = tree.arrays(NAMES)
    return arrays.to_list(), client.report()


def test_compressed_replies_are_smaller_and_hold_the_same(service, nano):
    plain = read(columnservice.connect(service.url), nano)
    for compression in ("zstd", "lz4"):
        small = read(columnservice.connect(service.url, compression=compression), nano)
        assert repr(small[0]) == repr(plain[0])
        assert small[1].received_bytes < 0.8 * plain[1].received_bytes


def test_a_reply_on_disk_is_confirmed_without_being_sent_again(service, nano, tmp_path):
    client = columnservice.connect(service.url, compression="zstd", cache_dir=tmp_path)
    first = read(client, nano)
    misses = service.counter("columnservice_piece_misses_total")
    again = read(client, nano)
    assert repr(again[0]) == repr(first[0])
    traffic = again[1].record["traffic"]
    assert (traffic["bytes"], traffic["requests"], traffic["from_disk"]) == (0, 0, 1)
    assert service.counter("columnservice_piece_misses_total") == misses


def test_over_a_slow_link_replies_are_compressed_kept_and_only_confirmed(service, nano, tmp_path):
    """40 ms each way; the relay counts what really passes."""
    plain, report = read(columnservice.connect(service.url), nano)
    port = int(service.url.rpartition(":")[2])
    with Relay(port, delay_seconds=0.04) as link:
        url = f"http://{link.address}"
        far = columnservice.connect(url, compression="zstd", cache_dir=tmp_path)
        values, told = read(far, nano)
        assert repr(values) == repr(plain)
        traffic = told.record["traffic"]
        assert traffic["requests"] == report.requests == 1
        assert traffic["bytes"] < 0.8 * report.received_bytes
        passed = link.counts
        # One connection, and beside the values only the list of columns and headers.
        assert passed.connections == 1
        assert traffic["bytes"] < passed.received_bytes
        listed = passed.received_bytes - traffic["bytes"]
        values, told = read(far, nano)
        assert repr(values) == repr(plain)
        again = told.record["traffic"]
        assert (again["requests"], again["bytes"], again["from_disk"]) == (0, 0, 1)
        # Confirmed: no values passed once more.
        assert (link.counts - passed).received_bytes <= listed
    MEMORY.clear()
    with pytest.raises(Unreachable):
        far.columns("laptop_nano")


def test_the_report_names_parents_and_recipes(service, nano):
    _, report = read(columnservice.connect(service.url), nano)
    dataset = report.record["datasets"]["laptop_nano"]
    assert dataset["parent"] == "laptop_mini"
    assert set(dataset["recipes"]) == set(NAMES)
    assert all(dataset["recipes"].values())
    [file] = dataset["files"].values()
    assert {Path(p["lfn"]).name for p in file["parents"]} == {f"parent_{n}.root" for n in range(4)}
    assert {p["uuid"] for p in file["parents"]} == set(service.uuids("laptop_mini"))
