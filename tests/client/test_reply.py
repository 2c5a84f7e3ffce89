from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from columnservice import errors, wire
from columnservice.client.reply import Reply, concatenate, read_reply
from columnservice.errors import ColumnServiceError, TruncatedReply
from columnservice.model import Column, Member, Ragged, plain

from .conftest import ROWS, column, small_dataset

pytestmark = pytest.mark.fast

DATASET = small_dataset()
(TABLE,) = DATASET.tables.values()
COLUMNS = [c for c in DATASET.columns if c.name in TABLE.values]


def stream(batches, schema=None, end=True) -> bytes:
    sink = pa.BufferOutputStream()
    writer = pa.ipc.new_stream(sink, schema or batches[0][0].schema)
    for data, metadata in batches:
        writer.write_batch(data, custom_metadata=metadata)
    if end:
        writer.close()
    body = sink.getvalue().to_pybytes()
    return body if end else body.removesuffix(wire.END_OF_STREAM)


def batches(start=0, stop=ROWS, columns=COLUMNS):
    return list(TABLE.batches(columns, start, stop))


def equal(a: Ragged, b: Ragged) -> bool:
    return all(map(np.array_equal, a.offsets, b.offsets)) and all(
        np.array_equal(a.content[m], b.content[m]) for m in b.content
    )


@pytest.mark.parametrize(("start", "stop"), [(0, ROWS), (0, 4), (3, 9), (5, 6)])
def test_values_of_any_range_come_back_as_they_are(start, stop):
    from ..support.wire_server import take

    reply = read_reply(stream(batches(start, stop)), start, stop)
    assert len(reply.has_parent) == reply.table.num_rows == stop - start
    for wanted in COLUMNS:
        truth = take(TABLE.values[wanted.name], np.arange(start, stop))
        found = reply.values(wanted)
        assert equal(found, truth), wanted.name
        assert len(found) == stop - start


def test_one_batch_is_not_copied():
    body = stream(batches(0, 4))
    reply = read_reply(body, 0, 4)
    values = reply.values(column("PF_pt", "float32", 1)).values
    whole = np.frombuffer(body, np.uint8)
    assert np.shares_memory(values.view(np.uint8), whole)


def test_a_range_without_rows_has_types():
    reply = read_reply(stream([], schema=batches()[0][0].schema), 3, 3)
    assert len(reply.has_parent) == 0
    for wanted in COLUMNS:
        empty = reply.values(wanted)
        assert len(empty) == 0
        assert {m: v.dtype for m, v in empty.content.items()} == {
            m.name: np.dtype(m.dtype) for m in wanted.members
        }


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 100, 1000])
def test_a_reply_without_its_end_is_truncated(cut):
    with pytest.raises(TruncatedReply):
        read_reply(stream(batches())[:-cut], 0, ROWS)


def test_no_cut_anywhere_gives_values():
    body = stream(batches())
    for length in range(0, len(body), 97):
        with pytest.raises(TruncatedReply):
            read_reply(body[:length], 0, ROWS)


@pytest.mark.parametrize(
    "wrong",
    [
        batches()[:-1],
        batches()[1:],
        batches()[:1] + batches()[2:],
        [batches()[1], batches()[0], batches()[2]],
        batches() + batches()[:1],
    ],
    ids=["last missing", "first missing", "gap", "order", "too many"],
)
def test_rows_that_are_not_the_asked_ones_are_refused(wrong):
    with pytest.raises(TruncatedReply, match=r"row"):
        read_reply(stream(wrong), 0, ROWS)


def test_a_batch_with_fewer_rows_than_it_claims_is_refused():
    data, metadata = batches()[0]
    with pytest.raises(TruncatedReply, match="gap"):
        read_reply(stream([(data.slice(0, 3), metadata)]), 0, 4)


def test_a_batch_without_metadata_or_with_another_count_of_missing_is_refused():
    data, _ = batches()[0]
    for metadata in (None, wire.batch_metadata(0, 4, 1, "00")):
        with pytest.raises(TruncatedReply, match="cannot be read"):
            read_reply(stream([(data, metadata)]), 0, 4)


def test_a_reply_of_another_version_says_what_to_install():
    data, metadata = batches()[0]
    other = pa.KeyValueMetadata({**metadata, b"version": b"2"})
    with pytest.raises(ColumnServiceError, match=r"version '2'.*reads version '1'") as caught:
        read_reply(stream([(data, other)]), 0, 4)
    assert "version of the service" in caught.value.remedy


@pytest.mark.parametrize("body", [b"", b"garbage" * 9, b"garbage" + wire.END_OF_STREAM])
def test_what_is_not_arrow_is_refused(body):
    with pytest.raises(TruncatedReply):
        read_reply(body, 0, 4)


def test_offsets_that_go_backwards_are_refused():
    values = pa.StructArray.from_arrays([pa.array(np.zeros(4, np.float32))], names=["PF_pt"])
    lists = pa.LargeListArray.from_arrays(pa.array([0, 3, 1, 4], pa.int64()), values)
    data = pa.RecordBatch.from_arrays([pa.array([True] * 3), lists], names=[wire.HAS_PARENT, "PF"])
    with pytest.raises(TruncatedReply, match="cannot be read"):
        read_reply(stream([(data, wire.batch_metadata(0, 3, 0, "00"))]), 0, 3)


def test_a_failure_within_a_reply_arrives_as_the_error_that_it_was():
    first = batches()[0]
    document = errors.problem(errors.DuplicateEvents("event 7 stands twice."))
    last = (
        pa.RecordBatch.from_pylist([], schema=first[0].schema),
        pa.KeyValueMetadata({wire.PROBLEM: json.dumps(document)}),
    )
    with pytest.raises(errors.DuplicateEvents, match="twice") as caught:
        read_reply(stream([first, last], end=False), 0, ROWS)
    assert not isinstance(caught.value, OSError)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def read_all(columns, served=COLUMNS) -> Reply:
    return read_reply(stream(batches(columns=served)), 0, ROWS)


@pytest.mark.parametrize(
    "wanted",
    [
        column("nothing", "float32"),
        column("PF_eta", "float32", 1),
        column("rho", "float32"),
        column("PF_pt", "float64", 1),
        column("PF_pt", "float32", 2),
        column("PF_hits", "uint8", 1),
        Column("Link_to", (Member("key", "uint32"), Member("other", "uint32")), 1, shape="Link_to"),
    ],
    ids=lambda c: f"{c.name}: {c.type}",
)
def test_another_column_or_type_than_asked_is_refused_and_no_transport_error(wanted):
    with pytest.raises(ColumnServiceError, match=wanted.name) as caught:
        read_all(COLUMNS).values(wanted)
    assert not isinstance(caught.value, OSError)


def test_nulls_elsewhere_than_in_events_without_a_parent_are_refused():
    data = pa.RecordBatch.from_arrays(
        [pa.array([True, False, True]), pa.array([1.0, 2.0, None])],
        names=[wire.HAS_PARENT, "rho"],
    )
    reply = read_reply(stream([(data, wire.batch_metadata(0, 3, 1, "00"))]), 0, 3)
    with pytest.raises(ColumnServiceError, match="null"):
        reply.values(column("rho", "float64"))


def test_absent_events_are_empty_lists():
    present = np.arange(ROWS) % 3 != 0
    from dataclasses import replace

    absent = replace(TABLE, present=present)
    reply = read_reply(stream(list(absent.batches(COLUMNS, 0, ROWS))), 0, ROWS)
    assert np.array_equal(reply.has_parent, present)
    counts = np.diff(reply.values(column("PF_pt", "float32", 1)).offsets[0])
    assert np.array_equal(counts, np.where(present, np.arange(ROWS) % 4, 0))


def test_concatenation_of_nested_parts_keeps_every_axis():
    nested = column("PF_hits", "uint8", 2)
    part = Ragged((np.array([0, 1, 3]), np.array([0, 2, 2, 5])), {"": np.arange(5, dtype=np.uint8)})
    both = concatenate(nested, [part, part])
    assert both.offsets[0].tolist() == [0, 1, 3, 4, 6]
    assert both.offsets[1].tolist() == [0, 2, 2, 5, 7, 7, 10]
    assert both.values.tolist() == [0, 1, 2, 3, 4] * 2
    flat = concatenate(column("rho", "float64"), [plain(np.ones(2)), plain(np.zeros(1))])
    assert flat.values.tolist() == [1, 1, 0]
