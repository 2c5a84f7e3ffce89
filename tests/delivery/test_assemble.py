"""Replies out of Pieces: what fits together is sent, what does not is dropped by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from columnservice import wire
from columnservice.delivery.assemble import BrokenPieces, Standing, assemble_part, empty_batch
from columnservice.delivery.partplan import PartPlan
from columnservice.delivery.pieces import content_batch, offsets_batch, proof_batch
from columnservice.delivery.tasks import ColumnWork, MaterialiseTask
from columnservice.errors import DuplicateEvents
from columnservice.model import Column, FileIdentity, Member, Partition, plain

pytestmark = pytest.mark.fast
X = Column("X_pt", (Member("", "float32"),), 1, "X", "pt", "X")
RHO = Column("rho", (Member("", "float32"),), 0)
OFFSETS = np.array([0, 2, 2, 5], np.int64)
VALUES = np.arange(5, dtype=np.float32)
GOOD = Standing(verified=True, unusable_parents=0)
TASK = MaterialiseTask(
    local=FileIdentity("l", 1),
    lfn="/l.root",
    partition=Partition(10, 13),
    parents=(),
    parent_format="miniaod",
    take="a" * 32,
    columns=(ColumnWork(X, (), "b" * 32), ColumnWork(RHO, (), "c" * 32)),
    offsets=(("X", "d" * 32),),
    proof="e" * 32,
)


def part(start: int = 10, stop: int = 13) -> PartPlan:
    return PartPlan(start, stop, TASK)


def held(repeated: tuple[int, ...] = (), present: tuple[int, ...] = (0, 2)) -> dict:
    hashes = np.arange(7, 10, dtype=np.uint64)
    row = np.arange(3)
    return {
        "b" * 32: content_batch(X, plain(VALUES, OFFSETS)),
        "c" * 32: content_batch(RHO, plain(np.array([1, 0, 3], np.float32))),
        "d" * 32: offsets_batch(OFFSETS),
        "e" * 32: proof_batch(hashes, np.isin(row, present), np.isin(row, repeated)),
    }


@pytest.mark.parametrize(("start", "stop"), [(10, 13), (11, 13), (12, 12), (10, 11)])
def test_any_rows_of_a_partition_are_cut_out_with_their_proof(start, stop):
    batch, metadata = assemble_part(part(start, stop), held(), GOOD)
    low, high = start - 10, stop - 10
    rows = [VALUES[OFFSETS[i] : OFFSETS[i + 1]].tolist() for i in range(3)]
    items = [None if r is None else [i["X_pt"] for i in r] for r in batch.column("X").to_pylist()]
    assert items == [None if i == 1 else rows[i] for i in range(low, high)]
    assert metadata[b"proof"].decode() == wire.checksum(
        np.arange(7 + low, 7 + high, dtype=np.uint64)
    )


def test_contents_made_with_other_offsets_are_not_sent():
    moved = np.array([0, 1, 2, 5], np.int64)  # as many items, other events
    pieces = held() | {"d" * 32: offsets_batch(moved)}
    with pytest.raises(BrokenPieces) as broken:
        assemble_part(part(), pieces, GOOD)
    assert set(broken.value.keys) == {"b" * 32, "d" * 32}


@pytest.mark.parametrize("rows", [2, 4])
def test_offsets_and_scalars_of_another_number_of_events_are_not_sent(rows):
    offsets = np.arange(rows + 1, dtype=np.int64)
    with pytest.raises(BrokenPieces):
        assemble_part(part(), held() | {"d" * 32: offsets_batch(offsets)}, GOOD)
    scalars = content_batch(RHO, plain(np.zeros(rows, np.float32)))
    with pytest.raises(BrokenPieces) as broken:
        assemble_part(part(), held() | {"c" * 32: scalars}, GOOD)
    assert broken.value.keys == ("c" * 32,)


def test_contents_shorter_than_their_offsets_say_are_not_sent():
    full = content_batch(X, plain(VALUES, OFFSETS))
    short = full.slice(0, 4).replace_schema_metadata(full.schema.metadata)
    with pytest.raises(BrokenPieces) as broken:
        assemble_part(part(), held() | {"b" * 32: short}, GOOD)
    assert broken.value.keys == ("b" * 32,)


def test_a_proof_of_another_number_of_events_is_not_sent():
    flags = np.zeros(2, np.bool_)
    proof = proof_batch(np.zeros(2, np.uint64), flags, flags)
    with pytest.raises(BrokenPieces):
        assemble_part(part(), held() | {"e" * 32: proof}, GOOD)


def test_an_event_that_stands_twice_in_the_parents_is_refused_only_when_it_is_asked_for():
    with pytest.raises(DuplicateEvents, match="1 of the events 11 to 13"):
        assemble_part(part(11, 13), held(repeated=(2,)), GOOD)
    batch, _ = assemble_part(part(10, 12), held(repeated=(2,)), GOOD)
    assert isinstance(batch, pa.RecordBatch)
    assert batch.num_rows == 2


def test_what_is_known_of_the_parents_travels_along():
    told = replace(GOOD, verified=False, unusable_parents=3)
    good = assemble_part(part(), held(), GOOD)[1]
    assert assemble_part(part(), held(), told)[1] != good


def test_a_reply_without_rows_has_the_types_of_any_other():
    some, _ = assemble_part(part(), held(), GOOD)
    none = empty_batch([X, RHO])
    assert none.num_rows == 0
    assert none.schema.equals(some.schema)
