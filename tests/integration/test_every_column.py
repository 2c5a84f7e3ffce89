"""Every advertised column of every pair, through the real service, against a direct uproot read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import uproot

from columnservice import wire
from columnservice.model import Column, Keys, Ragged
from tests.support.service import RunningService
from tests.support.truth import Parent, brute_force, expected, truth_of

COLUMNS_PER_REQUEST = 200


@dataclass(frozen=True)
class Pair:
    """A local file, its parents, and the truth of who belongs to whom."""

    local: str
    local_format: str
    local_keys: tuple[str, str, str]
    parents: tuple[str, ...]
    parent_format: str
    truth: Callable[[Path, Sequence[Parent], list[tuple[int, int, int]]], list[tuple[int, int]]]
    missing: int = 0


NANO_KEYS = ("run", "luminosityBlock", "event")
LITE_KEYS = tuple(f"EventInfoAuxDyn.{k}" for k in ("runNumber", "lumiBlock", "eventNumber"))
OLD_KEYS = tuple(f"EventInfoAux.{k}" for k in ("runNumber", "lumiBlock", "eventNumber"))


def from_rows(folder):
    """The truth as a list of parent rows in truth.json."""

    def truth(data, parents, local):
        rows = truth_of(data / folder)["local_row_to_parent_row"]
        return [(0, row) for row in rows]

    return truth


def from_ids(data, parents, local):
    """The truth as the event ids of each synthetic parent, in row order, in truth.json."""
    ids = truth_of(data / "cms_demo_syn")["parent_files"]
    return brute_force(local, [[tuple(key) for key in ids[f"parent_{n}.root"]] for n in range(4)])


def from_keys(data, parents, local):
    """The truth by brute force over the keys."""
    return brute_force(local, [parent.keys() for parent in parents])


PAIRS = {
    "cms_demo_mini": Pair(
        "cms_demo_mini/local_nano_like_8ev.root",
        "nanoaod",
        NANO_KEYS,
        ("cms/miniaodsim_phys14_10ev.root",),
        "miniaod",
        from_rows("cms_demo_mini"),
    ),
    "cms_demo_syn": Pair(
        "cms_demo_syn/local_NanoAODv5_1000ev.root",
        "nanoaod",
        NANO_KEYS,
        tuple(f"cms_demo_syn/parent_{n}.root" for n in range(4)),
        "miniaod",
        from_ids,
        missing=25,
    ),
    "atlas_demo_pair": Pair(
        "atlas_demo_pair/local_physlite_21.2.108_40ev.root",
        "physlite",
        LITE_KEYS,
        ("atlas_demo_pair/parent_physlite_100ev.root",),
        "physlite",
        from_keys,
    ),
    "atlas_demo_derived": Pair(
        "atlas_demo_derived/local_60ev.root",
        "physlite",
        LITE_KEYS,
        ("atlas/PHYSLITE_example.root",),
        "daod",
        from_rows("atlas_demo_derived"),
    ),
}


def local_keys(path: Path, names: Sequence[str]) -> Keys:
    """A local file's keys by plain uproot, in whichever spelling the file has them."""
    tree = uproot.open(path)
    tree = tree["Events"] if "Events" in tree else tree["CollectionTree"]
    found = [n if n in tree else n.replace("AuxDyn", "Aux") for n in names]
    arrays = [tree[n].array(library="np") for n in found]
    return Keys(arrays[0].astype("u4"), arrays[1].astype("u4"), arrays[2].astype("u8"))


@pytest.fixture(scope="module", params=list(PAIRS))
def pair(request, service: RunningService, data_dir: Path):
    """A registered pair with everything that judges it."""
    name, told = request.param, PAIRS[request.param]
    parent_paths = [data_dir / p for p in told.parents]
    service.register(f"{name}_parent", told.parent_format, parent_paths)
    summary = service.register(
        name, told.local_format, [data_dir / told.local], parent=f"{name}_parent"
    )
    parents = [Parent(path, told.parent_format) for path in parent_paths]
    keys = local_keys(data_dir / told.local, told.local_keys)
    triples = list(zip(keys.run.tolist(), keys.lumi.tolist(), keys.event.tolist(), strict=True))
    take = told.truth(data_dir, parents, triples)
    return name, told, summary, parents, keys, take


def decoded(service, name, columns: Sequence[Column], start: int, stop: int):
    """Whole columns of rows ``start`` to ``stop``, with ``hasParent`` and the proofs."""
    data = service.data(name, service.uuids(name)[0], start, stop, [c.name for c in columns])
    assert data[-8:] == wire.END_OF_STREAM
    reader = pa.ipc.open_stream(pa.py_buffer(data))
    batches = []
    while True:
        try:
            batches.append(reader.read_next_batch_with_custom_metadata())
        except StopIteration:
            return batches


def same(got: Ragged, want: Ragged) -> bool:
    """Equal bit by bit, dtypes included."""
    return (
        all(np.array_equal(a, b) for a, b in zip(got.offsets, want.offsets, strict=True))
        and set(got.content) == set(want.content)
        and all(
            got.content[k].dtype == want.content[k].dtype
            and got.content[k].tobytes() == want.content[k].tobytes()
            for k in want.content
        )
    )


def offered(service, name) -> list[Column]:
    documents = service.columns(name)
    columns = [wire.column_from_json(d) for d in documents]
    return [c for c in columns if c.origin == "parent" and c.support == "ok"]


def test_registering_finds_exactly_the_events_that_have_a_parent(pair):
    _name, told, summary, _, keys, _ = pair
    assert summary["files"]["ok"] == 1, summary
    assert summary["coverage"] == {"events": len(keys), "with_parent": len(keys) - told.missing}
    assert summary["duplicates"] == 0


def test_every_advertised_column_equals_a_direct_read_in_true_order(pair, service):
    name, _, _, parents, keys, take = pair
    columns = offered(service, name)
    assert len(columns) > 50
    present = np.array([p >= 0 for p, _ in take])
    wrong = []
    for first in range(0, len(columns), COLUMNS_PER_REQUEST):
        chunk = columns[first : first + COLUMNS_PER_REQUEST]
        [(batch, _)] = decoded(service, name, chunk, 0, len(keys))
        assert batch.column("hasParent").to_pylist() == present.tolist()
        for column in chunk:
            got = wire.decode_column(column, batch)
            if not same(got, expected(parents, column.name, take)):
                wrong.append(column.name)
    assert wrong == []


def test_every_advertised_column_exists_in_the_parent_and_the_others_have_a_reason(pair, service):
    name, _, _, parents, _, _ = pair
    documents = [d for d in service.columns(name) if d["origin"] == "parent"]
    for document in documents:
        if document["support"] == "ok":
            assert document["name"] in parents[0].columns
        else:
            assert document["reason"], document["name"]


def test_columns_are_filtered_by_the_service_and_tell_their_cost(pair, service):
    name = pair[0]
    everything = {d["name"]: d for d in service.columns(name)}
    path = f"/v1/datasets/{name}/columns?origin=parent&support=ok&sort=cost"
    status, document = service.ask("GET", path)
    assert status == 200
    assert document["columns"][0]["cost_bytes"] == max(d["cost_bytes"] for d in document["columns"])
    wanted = {n for n, d in everything.items() if (d["origin"], d["support"]) == ("parent", "ok")}
    assert {d["name"] for d in document["columns"]} == wanted
    assert all(d["cost_bytes"] > 0 for d in document["columns"])
    assert service.ask("GET", f"/v1/datasets/{name}/columns?origin=moon")[0] == 400


def test_absent_events_are_null_on_the_wire_and_never_shifted(pair, service):
    name, told, _, _, keys, take = pair
    column = next(c for c in offered(service, name) if c.depth == 1)
    [(batch, metadata)] = decoded(service, name, [column], 0, len(keys))
    absent = [p < 0 for p, _ in take]
    assert batch.column(column.shape).is_null().to_pylist() == absent
    assert int(metadata[b"missing"]) == sum(absent) == told.missing


def test_the_proof_is_the_hash_of_the_local_keys(pair, service):
    name, _, _, _, keys, _ = pair
    column = next(c for c in offered(service, name) if c.depth == 1)
    for start, stop in [(0, len(keys)), (1, len(keys) - 2), (3, 4)]:
        [(batch, metadata)] = decoded(service, name, [column], start, stop)
        present = batch.column("hasParent").to_numpy(zero_copy_only=False)
        hashes = wire.row_hashes(keys[start:stop], present, start)
        assert metadata[b"proof"].decode() == wire.checksum(hashes)


def test_any_range_is_the_same_part_of_the_whole(pair, service):
    name, _, _, parents, keys, take = pair
    columns = [c for c in offered(service, name) if c.depth <= 2][:40]
    for start, stop in [(0, 1), (2, 7), (len(keys) - 3, len(keys))]:
        [(batch, _)] = decoded(service, name, columns, start, stop)
        for column in columns:
            want = expected(parents, column.name, take[start:stop])
            assert same(wire.decode_column(column, batch), want), column.name
