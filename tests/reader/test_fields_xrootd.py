"""RNTuples over a real XRootD server: one vector read for what is wanted, and no more bytes."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from columnservice.model import BranchRead, FileLocation
from columnservice.reader import FilePool, read_rows
from tests.support.ntuples import write_ntuple
from tests.support.truth import as_awkward

pytestmark = pytest.mark.xrootd
EVENTS, CLUSTER = 20_000, 1000
NAMES = ("event", "Jet_pt", "Jet_eta", "links")


def test_clusters_of_wanted_rows_come_in_one_vector_read(origin, tmp_path):
    rng = np.random.default_rng(11)
    counts = rng.poisson(8, EVENTS)
    jets = [ak.unflatten(rng.normal(size=counts.sum()).astype("f4"), counts) for _ in range(2)]
    links = ak.unflatten(
        ak.unflatten(np.arange(2 * counts.sum(), dtype=np.uint32), np.full(counts.sum(), 2)), counts
    )
    arrays = dict(zip(NAMES, (ak.Array(np.arange(EVENTS)), *jets, links), strict=True))
    path = write_ntuple(tmp_path / "jets.root", "Events", arrays, CLUSTER)
    url = origin.put(path, "ntuples/jets.root")
    location, pool = FileLocation("jets", (url,), "Events"), FilePool()
    rows = np.array([10, 11, 999, 7500, 19_999], np.int64)
    with pool.tree(location) as opened:
        assert opened.tree.num_entries == EVENTS
        before = opened.source.num_requests, opened.source.num_requested_bytes
        found = read_rows(pool, location, [BranchRead(name) for name in NAMES], rows)
        assert opened.source.num_requests == before[0] + 1
        read_bytes = opened.source.num_requested_bytes - before[1]
    assert read_bytes == found.source_bytes < path.stat().st_size * 3.3 / 20
    for name, values in zip(NAMES, found.arrays, strict=True):
        array = as_awkward(values) if values.offsets else ak.Array(values.values)
        assert array.to_list() == arrays[name][rows].to_list(), name
