"""What a reply rests on: the same maps of the same Pieces, which it keeps from nobody."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest

from columnservice.cache import PieceCache
from columnservice.delivery.basis import basis_of
from tests.cache.support import key_of, truth

pytestmark = pytest.mark.fast


@pytest.fixture
def cache(tmp_path):
    opened = PieceCache(tmp_path / "cache", 1_000_000, recheck_seconds=1e9)
    for number in range(3):
        opened.put(key_of(number), truth(number))
        opened.get(key_of(number))
    yield opened
    opened.close()


def planned(*numbers):
    """A Plan of two parts that share a Piece."""
    texts = tuple(key_of(number).text for number in numbers)
    parts = [SimpleNamespace(pieces=lambda: texts), SimpleNamespace(pieces=lambda: texts[:1])]
    return SimpleNamespace(plan=SimpleNamespace(parts=parts))


def test_a_reply_rests_on_its_pieces_as_they_are(cache):
    plan = planned(0, 1)
    basis = basis_of(plan, cache)
    assert basis.planned is plan
    assert basis.keys == (key_of(0), key_of(1), key_of(0))
    assert basis.is_held(cache)
    cache.put(key_of(2), truth(7))  # another Piece is no matter
    assert basis.is_held(cache)


def test_there_is_none_while_a_piece_is_missing(cache):
    assert basis_of(planned(0, 9), cache) is None


def _replaced(cache):
    cache.put(key_of(1), truth(7))


def _dropped(cache):
    cache.drop([key_of(1)])


def _evicted(cache):
    cache.evict()


@pytest.mark.parametrize("change", [_replaced, _dropped, _evicted])
def test_a_piece_that_is_made_again_is_another_basis(cache, change):
    basis = basis_of(planned(0, 1), cache)
    change(cache)
    assert not basis.is_held(cache)
    for number in range(3):
        cache.put(key_of(number), truth(number))
        cache.get(key_of(number))
    assert not basis.is_held(cache)
    assert basis_of(planned(0, 1), cache).is_held(cache)


def test_it_keeps_no_map_open(cache):
    basis = basis_of(planned(0, 1), cache)
    cache.drop([key_of(1)])
    gc.collect()
    assert [opened() is None for opened in basis.maps] == [False, True, False]
