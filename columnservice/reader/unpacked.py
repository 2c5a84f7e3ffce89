"""A basket out of its bytes: what ZSTD compressed by Arrow's decompressor, all else by uproot.

Newer files of both experiments are compressed by ZSTD, older ones by ZLIB or LZMA. Arrow takes a
ZSTD block in one go into memory of its size, in two thirds of the time that uproot's decompressor
takes, which reads it as a stream. What stands in a basket's header stays uproot's. Knows one basket
at a time; neither rows nor what the bytes mean.

The header of each block is ROOT's (``R__zip`` in core/zip/src/RZip.cxx): two letters for the
algorithm, its version, then compressed and uncompressed size in three bytes each, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from uproot.models.TBasket import Model_TBasket

_BLOCK = struct.Struct("<2sB3s3s")
_ZSTD = b"ZS"
_OFFSET = np.dtype(">i4")


@dataclass(frozen=True)
class Basket:
    """A basket's content.

    Attributes:
        data: uint8, of all its entries.
        byte_offsets: int32, of each entry in ``data`` and, last, its end; None where the basket
            does not say.
        num_entries: how many it says that it has.
    """

    data: NDArray[np.uint8]
    byte_offsets: NDArray[np.int32] | None
    num_entries: int


def unpacked(branch: Any, number: int) -> Basket:
    """A basket of a branch of uproot, decompressed.

    Raises:
        ValueError: its blocks cannot be decompressed to what their headers say.
        struct.error, IndexError, whatever uproot raises: the bytes are no basket.
    """
    try:
        chunk, cursor = branch.basket_chunk_cursor(number)
    except IndexError:  # it stands within the tree's own bytes, and never is compressed
        basket = branch.basket(number)
        return Basket(basket.data, basket.byte_offsets, basket.num_entries)
    about = {"basket_num": number, "read_basket": False}
    header = Model_TBasket.read(chunk, cursor, about, branch.file, branch.file, branch)
    key_bytes, size_bytes = header.member("fKeylen"), header.member("fObjlen")
    packed_bytes = header.member("fNbytes") - key_bytes
    if packed_bytes != size_bytes:
        raw = _unzipped(branch.name, cursor.bytes(chunk, packed_bytes, about), size_bytes)
        if raw is not None:
            return _parted(header, raw, key_bytes)
    basket = branch.basket(number)
    return Basket(basket.data, basket.byte_offsets, basket.num_entries)


def _unzipped(name: str, packed: NDArray[np.uint8], size_bytes: int) -> NDArray[np.uint8] | None:
    """Blocks one behind the other, decompressed; None where one is of another algorithm."""
    codec, data = pa.Codec("zstd"), packed.data
    found: list[NDArray[np.uint8]] = []
    at = 0
    while at < len(data):
        algorithm, _, packed_bytes, own_bytes = _BLOCK.unpack_from(data, at)
        if algorithm != _ZSTD:
            return None
        at += _BLOCK.size
        stop = at + int.from_bytes(packed_bytes, "little")
        if stop > len(data):
            raise ValueError(f"{name} has a basket that is damaged: it ends within a block.")
        try:
            # With ``malloc``: a worker process keeps what it frees, for the next block.
            block = codec.decompress(
                data[at:stop],
                int.from_bytes(own_bytes, "little"),
                memory_pool=pa.system_memory_pool(),
            )
        except OSError as error:  # Arrow's word for bytes that are wrong: no storage has failed
            raise ValueError(f"{name} has a basket that is damaged: {error}.") from None
        found.append(np.frombuffer(block, np.uint8))
        at = stop
    raw = found[0] if len(found) == 1 else np.concatenate(found or [np.zeros(0, np.uint8)])
    if len(raw) != size_bytes:
        raise ValueError(f"{name} has a basket of {len(raw)} bytes instead of {size_bytes}.")
    return raw


def _parted(header: Any, raw: NDArray[np.uint8], key_bytes: int) -> Basket:
    """Data and, behind them, offsets: their number, then each as counted from the key's begin."""
    border, entries = header.border, int(header.num_entries)
    if border == len(raw):
        return Basket(raw, None, entries)
    offsets = raw[border:].view(_OFFSET)[1:] - np.int32(key_bytes)
    offsets[-1] = border  # what stands there is not used
    return Basket(raw[:border], offsets, entries)
