"""Baskets decompressed here are those of uproot, whatever they are compressed with."""

from __future__ import annotations

from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
import uproot

from columnservice.reader.unpacked import unpacked

KINDS = {
    "zstd": uproot.ZSTD(5),
    "zlib": uproot.ZLIB(1),
    "lz4": uproot.LZ4(1),
    "lzma": uproot.LZMA(1),
    "none": None,
}
MOST_BLOCK_BYTES = 0xFFFFFF
"""A block's size is told in three bytes."""


def written(path, compression, values):
    with uproot.recreate(path, compression=compression) as file:
        tree = file.mktree("Events", {"x": values.dtype, "l": f"var * {values.dtype}"})
        lists = ak.unflatten(values, np.full(len(values) // 3, 3))
        tree.extend({"x": values[: len(lists)], "l": lists})
    return path


def demand_same(branch, number):
    found, expected = unpacked(branch, number), branch.basket(number)
    assert found.num_entries == expected.num_entries > 0
    assert found.data.tobytes() == expected.data.tobytes()
    assert (found.byte_offsets is None) == (expected.byte_offsets is None)
    if found.byte_offsets is not None:
        np.testing.assert_array_equal(found.byte_offsets, expected.byte_offsets)


@pytest.mark.fast
@pytest.mark.parametrize("kind", KINDS)
def test_a_basket_is_the_same_as_for_uproot(tmp_path, kind):
    values = np.arange(3000, dtype=np.int32) // 7
    with uproot.open(written(tmp_path / "x.root", KINDS[kind], values)) as file:
        x, lists = file["Events/x"], file["Events/l"]
        assert x.compressed_bytes < x.uncompressed_bytes or kind == "none"
        for branch in (x, lists):
            demand_same(branch, 0)
        np.testing.assert_array_equal(unpacked(x, 0).data.view(">i4"), values[:1000])
        assert unpacked(lists, 0).byte_offsets is not None


@pytest.mark.fast
def test_zstd_is_left_to_uproot_nowhere(tmp_path, monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("uproot decompressed")

    values = np.arange(3000, dtype=np.int32) // 7
    with uproot.open(written(tmp_path / "x.root", uproot.ZSTD(5), values)) as file:
        branch = file["Events/x"]
        monkeypatch.setattr(uproot.compression, "decompress", never)
        np.testing.assert_array_equal(unpacked(branch, 0).data.view(">i4"), values[:1000])


def test_a_basket_of_several_blocks_is_put_together(tmp_path):
    values = np.arange(2 * MOST_BLOCK_BYTES // 8 + 1000, dtype=np.int64) // 1000
    with uproot.recreate(tmp_path / "x.root", compression=uproot.ZSTD(1)) as file:
        file.mktree("Events", {"x": "int64"}).extend({"x": values})
    with uproot.open(tmp_path / "x.root") as file:
        branch = file["Events/x"]
        assert len(branch.basket(0).block_compression_info) == 3
        demand_same(branch, 0)


@pytest.fixture
def basket_bytes(tmp_path, monkeypatch):
    """The bytes of a basket, a way to give its branch others, and the size of its key."""
    values = np.arange(3000, dtype=np.int32) // 7
    with uproot.open(written(tmp_path / "x.root", uproot.ZSTD(5), values)) as file:
        branch = file["Events/l"]
        chunk, cursor = branch.basket_chunk_cursor(0)
        good = np.array(chunk.get(chunk.start, chunk.stop, cursor.copy(), {}))
        key_bytes = branch.basket(0).member("fKeylen")

        def with_bytes(changed):
            wrong = uproot.source.chunk.Chunk.wrap(chunk.source, changed, chunk.start)
            monkeypatch.setattr(branch, "basket_chunk_cursor", lambda _: (wrong, cursor.copy()))
            return branch

        yield good, with_bytes, key_bytes


@pytest.mark.fast
def test_the_same_bytes_give_the_same_basket(basket_bytes):
    good, with_bytes, _ = basket_bytes
    assert unpacked(with_bytes(good), 0).num_entries == 1000


@pytest.mark.fast
@pytest.mark.parametrize(
    ("at", "changed", "reason"),
    [
        (3, 255, "damaged"),  # compressed size of the block: low byte
        (6, 255, "damaged"),  # uncompressed size: low byte
        (9, 0, "damaged"),  # the block's own magic
    ],
)
def test_a_damaged_block_is_no_fault_of_a_storage(basket_bytes, at, changed, reason):
    """An OSError would mean that the server should be asked again."""
    good, with_bytes, key_bytes = basket_bytes
    bad = good.copy()
    assert bad[key_bytes + at] != changed
    bad[key_bytes + at] = changed
    with pytest.raises(ValueError, match=reason):
        unpacked(with_bytes(bad), 0)


@pytest.mark.fast
def test_blocks_that_make_less_than_the_header_says_are_damage(basket_bytes):
    good, with_bytes, _ = basket_bytes
    bad = good.copy()
    total = int(bad[6:10].view(">i4")[0])  # fObjlen
    bad[6:10] = np.array([total + 1], ">i4").view(np.uint8)
    with pytest.raises(ValueError, match=f"{total} bytes instead of {total + 1}"):
        unpacked(with_bytes(bad), 0)


@pytest.mark.fast
def test_surplus_bytes_behind_the_last_block_are_damage(basket_bytes):
    good, with_bytes, key_bytes = basket_bytes
    bad = np.concatenate((good, good[key_bytes:]))
    size_bytes = len(bad)
    bad[0:4] = np.array([size_bytes], ">i4").view(np.uint8)  # fNbytes
    with pytest.raises(ValueError, match="bytes instead of"):
        unpacked(with_bytes(bad), 0)


@pytest.mark.fast
def test_a_basket_within_the_tree_is_taken_as_uproot_has_it():
    basket = SimpleNamespace(data=np.arange(4, dtype=np.uint8), byte_offsets=None, num_entries=4)

    def no_chunk(number: int) -> None:
        raise IndexError(number)

    branch = SimpleNamespace(basket_chunk_cursor=no_chunk, basket=lambda _: basket)
    found = unpacked(branch, 0)
    assert found.data is basket.data
    assert found.num_entries == 4
