"""Files that the service has never seen: their keys are uploaded, then asked for by digest."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from columnservice import wire
from tests.integration.test_every_column import from_ids, local_keys
from tests.integration.test_provenance import KEYS, write_nano
from tests.support.truth import Parent, expected

NANO = ("run", "luminosityBlock", "event")
SYN = "cms_demo_syn/local_NanoAODv5_1000ev.root"


def stream_of(keys, **others):
    """Keys as an Arrow stream, with more columns beside."""
    batch = pa.record_batch({"run": keys.run, "lumi": keys.lumi, "event": keys.event, **others})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def put(service, name, digest, body):
    reply = service.http.request(
        "PUT", f"{service.url}/v1/datasets/{name}/eventindexes/{digest}", body=body
    )
    return reply.status, reply.json()


@pytest.fixture(scope="module")
def syn(service, data_dir):
    """A dataset, a skim of its file in another order, and the truth of that order."""
    paths = [data_dir / f"cms_demo_syn/parent_{n}.root" for n in range(4)]
    service.register("upload_mini", "miniaod", paths)
    service.register("upload_nano", "nanoaod", [data_dir / SYN], parent="upload_mini")
    rows = np.random.default_rng(5).permutation(1000)[:300]
    keys = local_keys(data_dir / SYN, NANO)[rows]
    triples = list(zip(keys.run.tolist(), keys.lumi.tolist(), keys.event.tolist(), strict=True))
    return "upload_nano", keys, from_ids(data_dir, (), triples)


def test_a_reordered_skim_gets_its_columns_by_the_digest_of_its_keys(service, syn, data_dir):
    name, keys, take = syn
    digest = wire.keys_digest(keys)
    assert service.ask("GET", f"/v1/datasets/{name}/eventindexes/{digest}")[0] == 404
    status, told = put(service, name, digest, stream_of(keys))
    with_parent = sum(p >= 0 for p, _ in take)
    assert (status, told) == (
        201,
        {"digest": digest, "events": 300, "with_parent": with_parent},
    )
    assert service.ask("GET", f"/v1/datasets/{name}/eventindexes/{digest}") == (200, told)
    data = service.data(name, digest, 10, 290, ["PFCands_pt"])
    batch, metadata = pa.ipc.open_stream(data).read_next_batch_with_custom_metadata()
    column = next(c for c in service.columns(name) if c["name"] == "PFCands_pt")
    got = wire.decode_column(wire.column_from_json(column), batch)
    parents = [Parent(data_dir / f"cms_demo_syn/parent_{n}.root", "miniaod") for n in range(4)]
    want = expected(parents, "PFCands_pt", take[10:290])
    assert got.values.tobytes() == want.values.tobytes()
    assert np.array_equal(got.offsets[0], want.offsets[0])
    present = batch.column("hasParent").to_numpy(zero_copy_only=False)
    hashes = wire.row_hashes(keys[10:290], present, 10)
    assert metadata[b"proof"].decode() == wire.checksum(hashes)


def test_uploading_again_changes_nothing(service, syn):
    name, keys, _ = syn
    digest = wire.keys_digest(keys)
    first = put(service, name, digest, stream_of(keys))
    assert put(service, name, digest, stream_of(keys)) == first


@pytest.mark.parametrize(
    "spoil",
    ["nothing", "text", "half", "other"],
)
def test_keys_that_are_not_what_they_claim_are_refused_and_forgotten(service, syn, spoil):
    name, keys, _ = syn
    shorter = keys[:50]
    digest = wire.keys_digest(shorter)
    body = stream_of(shorter)
    bodies = {
        "nothing": b"",
        "text": b"no arrow at all",
        "half": body[: len(body) // 2],
        "other": stream_of(keys[50:100]),
    }
    status, document = put(service, name, digest, bodies[spoil])
    assert (status, document["title"]) == (400, "RequestError")
    assert service.ask("GET", f"/v1/datasets/{name}/eventindexes/{digest}")[0] == 404


def test_a_skim_of_another_sample_is_refused_by_its_witness(service, tmp_path):
    rho = np.linspace(10, 30, 100).astype("f4")
    parent = write_nano(tmp_path / "p.root", KEYS, rho, [[1.0]] * 100)
    local = write_nano(tmp_path / "l.root", KEYS, rho)
    service.register("witness_parent", "nanoaod", [parent])
    service.register("witness_local", "nanoaod", [local], parent="witness_parent")
    told = service.ask("GET", "/v1/datasets/witness_local/columns")[1]
    assert told["witnesses"] == ["fixedGridRhoFastjetAll"]
    keys = local_keys(local, NANO)[::-1]
    right, wrong = ({"fixedGridRhoFastjetAll": r} for r in (rho[::-1].copy(), rho))
    good, bad = (wire.keys_digest(keys, w) for w in (right, wrong))
    assert good != bad
    assert put(service, "witness_local", good, stream_of(keys, **right))[0] == 201
    status, document = put(service, "witness_local", bad, stream_of(keys, **wrong))
    assert (status, document["title"]) == (409, "WrongParent")
    assert service.ask("GET", f"/v1/datasets/witness_local/eventindexes/{bad}")[0] == 404
    assert not list((service.home / "indexes").rglob(f"*{bad}*"))


def test_compressed_replies_hold_the_same(service, syn):
    name, _, _ = syn
    path = f"{service.url}/v1/datasets/{name}/columns/data?file={service.uuids(name)[0]}"
    path += "&start=0&stop=1000&column=PFCands_pdgId"
    bodies = {}
    for compression in ("zstd", "lz4", None):
        headers = {wire.COMPRESSION_HEADER: compression} if compression else {}
        reply = service.http.request("GET", path, headers=headers)
        bodies[compression] = reply.data
    tables = [pa.ipc.open_stream(body).read_all() for body in bodies.values()]
    assert tables[0] == tables[1] == tables[2]
    assert len(bodies["zstd"]) < len(bodies[None]) / 2
    headers = {wire.COMPRESSION_HEADER: "rot13"}
    assert service.http.request("GET", path, headers=headers).status == 400
