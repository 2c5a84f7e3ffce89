from __future__ import annotations

import numpy as np
import pytest

from columnservice.model import Column, Keys, Member, Ragged, plain

from ..support.wire_server import ServedDataset, Table, wire_server

UUID = "00000000-0000-0000-0000-000000000001"
ROWS = 10


def column(name: str, dtype: str, depth: int = 0, **more) -> Column:
    shape = name.partition("_")[0] if depth else None
    return Column(name, (Member("", dtype),), depth, shape=shape, collection=shape, **more)


def small_dataset(name: str = "nano") -> ServedDataset:
    """Ten events with 0 to 3 objects each, 64-bit event numbers."""
    counts = np.arange(ROWS) % 4
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    total = int(offsets[-1])
    inner = np.arange(total + 1, dtype=np.int64) * 2
    values = {
        "rho": plain(np.linspace(0, 1, ROWS, dtype=np.float64)),
        "nPF": plain(counts.astype(np.int32)),
        "PF_pt": plain(np.arange(total, dtype=np.float32), offsets),
        "PF_good": plain(np.arange(total) % 2 == 0, offsets),
        "PF_hits": plain(np.arange(2 * total, dtype=np.uint8), offsets, inner),
        "Link_to": Ragged(
            (offsets,),
            {"key": np.arange(total, dtype=np.uint32), "index": np.arange(total, dtype=np.uint32)},
        ),
    }
    columns = [
        column("rho", "float64", doc="energy density in GeV"),
        column("nPF", "int32", counts_of="PF"),
        column("PF_pt", "float32", 1, doc="transverse momentum in GeV"),
        column("PF_good", "bool", 1),
        column("PF_hits", "uint8", 2),
        Column("Link_to", (Member("key", "uint32"), Member("index", "uint32")), 1, shape="Link_to"),
        column("bad", "float32", 1, support="unsupported", reason="unsplit"),
        column("run", "uint32", origin="local"),
    ]
    keys = Keys(
        np.ones(ROWS, np.uint32),
        np.arange(ROWS, dtype=np.uint32),
        np.arange(ROWS, dtype=np.uint64) + np.uint64(2**60),
    )
    table = Table(keys, values, np.ones(ROWS, np.bool_), batch_rows=4)
    return ServedDataset(name, "nanoaod", columns, {UUID: table})


@pytest.fixture
def server(monkeypatch):
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "COLUMNSERVICE_URL"):
        monkeypatch.delenv(name, raising=False)
    with wire_server() as double:
        double.add(small_dataset())
        yield double
