from __future__ import annotations

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice import wire
from columnservice.model import Column, Keys, Member, Ragged
from tests.support.ragged import keys_of, lists_of, nested, ragged_of, triples

pytestmark = pytest.mark.fast


def plain_column(name, dtype, depth, shape=None):
    return Column(name, (Member("", dtype),), depth, shape, name, shape)


PT = plain_column("PFCands_pt", "float32", 1, "PFCands")
HITS = plain_column("PFCands_hits", "uint8", 2, "PFCands")
WEIGHTS = plain_column("LHEPdfWeight", "float64", 1, "LHEPdfWeight")
RHO = plain_column("rho", "float64", 0)
FLAG = plain_column("flag", "bool", 0)
LINK = Column(
    "A.link", (Member("key", "uint32"), Member("index", "uint32")), 2, "A", "link", "A.link"
)


def travel(columns, values, present):
    """Through an Arrow stream and back."""
    batch = wire.encode_batch(columns, values, np.array(present))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch, custom_metadata=wire.batch_metadata(0, 1, 2, "p"))
    return pa.ipc.open_stream(sink.getvalue()).read_next_batch_with_custom_metadata()


@given(data=st.data(), rows=st.integers(1, 6))
def test_every_kind_of_column_comes_out_as_it_went_in(data, rows):
    present = data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows))

    def drawn(depth):
        lists = data.draw(nested(depth, rows))
        empty = [] if depth else 0
        return [x if here else empty for x, here in zip(lists, present, strict=True)]

    pt, weights, rho = drawn(1), drawn(1), drawn(0)
    hits = [[data.draw(nested(0, 2)) for _ in event] for event in pt]
    links = ragged_of(drawn(2), 2, "uint32")
    values = {
        "PFCands_pt": ragged_of(pt, 1, "float32"),
        "PFCands_hits": ragged_of(hits, 2, "uint8"),
        "LHEPdfWeight": ragged_of(weights, 1, "float64"),
        "rho": ragged_of(rho, 0, "float64"),
        "flag": ragged_of([bool(r % 2) for r in rho], 0, "bool"),
        "A.link": Ragged(links.offsets, {"key": links.values, "index": links.values + 1}),
    }
    columns = [PT, HITS, WEIGHTS, RHO, FLAG, LINK]
    batch, metadata = travel(columns, values, present)
    assert batch.column("hasParent").to_pylist() == present
    assert metadata[b"proof"] == b"p"
    for column in columns:
        for first, last in [(0, rows), (rows // 2, rows)]:
            got = wire.decode_column(column, batch.slice(first, last - first))
            want = values[column.name]
            for name, array in want.content.items():
                one = Ragged(want.offsets, {"": array})
                two = Ragged(got.offsets, {"": got.content[name]})
                assert lists_of(two) == lists_of(one)[first:last]
                assert got.content[name].dtype == array.dtype


def test_absent_events_are_null_and_never_shifted():
    values = {
        "PFCands_pt": ragged_of([[1, 2], [], [3]], 1),
        "rho": ragged_of([5, 0, 7], 0, "float64"),
    }
    batch, _ = travel([PT, RHO], values, [True, False, True])
    assert batch.column("PFCands").is_null().to_pylist() == [False, True, False]
    assert batch.column("rho").to_pylist() == [5.0, None, 7.0]
    assert batch.column("PFCands")[2].as_py() == [{"PFCands_pt": 3.0}]


def test_columns_of_one_shape_share_one_list_whose_items_are_never_null():
    values = {"PFCands_pt": ragged_of([[1]], 1), "PFCands_hits": ragged_of([[[1, 2]]], 2, "uint8")}
    batch, _ = travel([PT, HITS], values, [True])
    kind = batch.schema.field("PFCands").type
    assert pa.types.is_large_list(kind)
    assert not kind.value_field.nullable
    assert [f.name for f in kind.value_type] == ["PFCands_pt", "PFCands_hits"]


def test_decoding_does_not_copy_numbers():
    values = {"PFCands_pt": ragged_of([[1, 2], [3]], 1)}
    batch, _ = travel([PT], values, [True, True])
    got = wire.decode_column(PT, batch)
    start = batch.column("PFCands").values.field("PFCands_pt").buffers()[1].address
    assert got.values.ctypes.data == start


@given(st.lists(triples, max_size=10), st.integers(0, 2**32))
def test_row_hashes_of_a_range_are_those_of_the_file(triples, first):
    keys, present = keys_of(triples), np.ones(len(triples), bool)
    whole = wire.row_hashes(keys, present, first)
    cut = len(triples) // 2
    assert np.array_equal(wire.row_hashes(keys[cut:], present[cut:], first + cut), whole[cut:])


def test_row_hashes_are_the_published_ones():
    """Client and service of different versions must agree, so the function may never change."""
    keys = Keys(np.array([1], "u4"), np.array([2], "u4"), np.array([3], "u8"))
    here = wire.checksum(wire.row_hashes(keys, np.array([True]), 4))
    absent = wire.checksum(wire.row_hashes(keys, np.array([False]), 4))
    mask = 2**64 - 1

    def mix(x):
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
        return x ^ (x >> 31)

    row = mix(5 * 0x9E3779B97F4A7C15 & mask)
    assert here == f"{mix(mix(row ^ (1 << 32 | 2)) ^ 3):016x}"
    assert absent == f"{mix(row ^ 0xA5A55A5ADEADBEA7):016x}"


def test_column_survives_json_and_ignores_what_newer_servers_add():
    document = {**wire.column_to_json(LINK), "novelty": 1}
    assert wire.column_from_json(document) == LINK
    assert document["type"] == "var * var * {key: uint32, index: uint32}"


@pytest.mark.parametrize("cost", [None, 0.0, 2.5])
def test_the_document_of_a_column_holds_all_that_the_column_does(cost):
    full = Column(
        "Muon_pt", (Member("", "float32"),), 1, "Muon", "pt", "Muon", None, "in GeV", "derived",
        "Muon_pt * 2", "unsupported", "no.", cost,
    )  # fmt: skip
    for column in (full, dataclasses.replace(LINK, cost_bytes=cost)):
        right = dataclasses.asdict(column) | {"type": column.type}
        if cost is None:
            del right["cost_bytes"]
        document = wire.column_to_json(column)
        assert json.dumps(document) == json.dumps(right)
        assert wire.column_from_json(json.loads(json.dumps(document))) == column


@pytest.mark.parametrize("lost", ["name", "members", "depth"])
def test_a_document_that_lacks_what_every_column_has_is_refused(lost):
    document = wire.column_to_json(LINK)
    del document[lost]
    with pytest.raises((KeyError, TypeError), match=lost):
        wire.column_from_json(document)
