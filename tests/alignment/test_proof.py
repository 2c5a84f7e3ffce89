from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from columnservice import wire
from columnservice.alignment.proof import proof_hashes
from columnservice.alignment.takeindex import join
from tests.support.ragged import keys_of, triples

pytestmark = pytest.mark.fast
distinct = st.lists(triples, min_size=1, max_size=15, unique=True)


def proof_of(parents, file, row, first_row=0):
    return wire.checksum(proof_hashes([keys_of(p) for p in parents], file, row, first_row))


def client_proof(local, present, first_row=0):
    return wire.checksum(wire.row_hashes(keys_of(local), np.array(present, bool), first_row))


@given(local=distinct, parents=st.lists(distinct, max_size=3), first_row=st.integers(0, 2**40))
def test_a_right_join_is_proven_whatever_is_missing(local, parents, first_row):
    file, row, *_ = join(keys_of(local), [keys_of(p) for p in parents])
    proof = proof_of(parents, file, row, first_row)
    assert proof == client_proof(local, file >= 0, first_row)


@given(local=distinct, data=st.data())
def test_a_wrong_take_index_is_never_proven(local, data):
    order = data.draw(st.permutations(range(len(local))))
    assume(list(order) != list(range(len(local))))
    file, row = np.zeros(len(local), np.int32), np.array(order, np.int64)
    assert proof_of([local], file, row) != client_proof(local, [True] * len(local))


@given(local=st.lists(triples, min_size=2, max_size=15, unique=True), shift=st.integers(1, 3))
def test_rows_shifted_by_any_number_are_noticed(local, shift):
    assume(shift % len(local))
    row = np.roll(np.arange(len(local)), shift).astype(np.int64)
    proof = proof_of([local], np.zeros(len(local), np.int32), row)
    assert proof != client_proof(local, [True] * len(local))


@given(local=distinct, data=st.data())
def test_a_presence_that_differs_from_the_data_is_noticed(local, data):
    lie = data.draw(st.integers(0, len(local) - 1))
    file, row, *_ = join(keys_of(local), [keys_of(local)])
    present = file >= 0
    present[lie] = False
    assert proof_of([local], file, row) != client_proof(local, present)


def test_proof_of_no_rows_is_zero():
    none = np.zeros(0, np.int64)
    assert proof_of([], none.astype(np.int32), none) == "0" * 16


def test_the_same_keys_at_other_rows_of_the_file_have_another_proof():
    local = [(1, 1, 1), (1, 1, 2)]
    assert client_proof(local, [True, True], 0) != client_proof(local, [True, True], 2)
