"""Numba kernels of the formats: bytes and packed numbers in, plain arrays out.

Compiled when this module is imported (explicit signatures, cached on disk) and never later: a call
with other types raises instead of compiling. Every input may be read-only (memory-mapped).
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np
from numba import types
from numpy.typing import NDArray

M = np.float32(32767.0)  # the largest int16: the scale of CMSSW's packed angles
NO_VERTEX = np.uint32(0xFFFFFFFF)  # key of an edm::Ref that points nowhere


def _frozen(kind: Any) -> Any:
    """The numba type of a contiguous array that may be read-only."""
    return types.Array(kind, 1, "C", readonly=True)


_U1, _U2, _U4 = _frozen(types.uint8), _frozen(types.uint16), _frozen(types.uint32)
_I4, _I8, _F4 = _frozen(types.int32), _frozen(types.int64), _frozen(types.float32)


@nb.njit(types.int64(_U1, types.int64), cache=True, nogil=True)
def _u4(data, at):  # type: ignore[no-untyped-def]
    """The big-endian 32-bit number at a position."""
    return (
        (np.int64(data[at]) << 24)
        | (np.int64(data[at + 1]) << 16)
        | (np.int64(data[at + 2]) << 8)
        | np.int64(data[at + 3])
    )


@nb.njit(types.int64(_U1, types.int64), cache=True, nogil=True)
def _u2(data, at):  # type: ignore[no-untyped-def]
    """The big-endian 16-bit number at a position."""
    return (np.int64(data[at]) << 8) | np.int64(data[at + 1])


@nb.njit(types.int64(_U1, types.int64, types.int64), cache=True, nogil=True)
def _after(data, at, stop):  # type: ignore[no-untyped-def]
    """Where the object at a position ends, by its byte count; -1 if that is absent or too large."""
    if at < 0 or at + 4 > stop:
        return np.int64(-1)
    count = _u4(data, at)
    if count & 0x40000000 == 0:
        return np.int64(-1)
    end = at + 4 + (count & 0x3FFFFFFF)
    return end if end <= stop else np.int64(-1)


@nb.njit(types.int64(_U1, types.int64), cache=True, nogil=True)
def _payload(data, at):  # type: ignore[no-untyped-def]
    """Where an object's members begin: after byte count, version and (version 0) checksum."""
    return at + 6 + (4 if _u2(data, at + 4) == 0 else 0)


@nb.njit(
    types.int64(_I8, _U1, types.uint32[::1], types.uint32[::1], types.uint64[::1]),
    cache=True,
    nogil=True,
)
def event_ids(offsets, data, run, lumi, event):  # type: ignore[no-untyped-def]
    """Run, lumi and event of ``edm::EventAuxiliary``; row i is ``data[offsets[i]:offsets[i + 1]]``.

    ProcessHistoryID comes first, then EventID, whose payload tells its version: 16 bytes are run
    u4, lumi u4, event u8; 12 bytes run, lumi, event u4; 8 bytes (before CMSSW 3) run and event,
    and the lumi stands behind the GUID and the time that follow.

    Returns:
        the first row that cannot be decoded, or -1.
    """
    for i in range(len(offsets) - 1):
        stop = offsets[i + 1]
        at = _after(data, offsets[i], stop)
        end = _after(data, at, stop)
        if end < at + 6 or end < _payload(data, at):
            return np.int64(i)
        p = _payload(data, at)
        run[i] = _u4(data, p)
        if end - p == 16:
            lumi[i] = _u4(data, p + 4)
            event[i] = (np.uint64(_u4(data, p + 8)) << np.uint64(32)) | np.uint64(_u4(data, p + 12))
        elif end - p == 12:
            lumi[i] = _u4(data, p + 4)
            event[i] = _u4(data, p + 8)
        elif end - p == 8:
            after_time = _after(data, _after(data, end, stop), stop)
            if after_time < 0 or after_time + 4 > stop:
                return np.int64(i)
            lumi[i] = _u4(data, after_time)
            event[i] = _u4(data, p + 4)
        else:
            return np.int64(i)
    return np.int64(-1)


@nb.njit(types.int64(_I8, _U1, types.uint32[::1], types.uint32[::1]), cache=True, nogil=True)
def lumi_ids(offsets, data, run, lumi):  # type: ignore[no-untyped-def]
    """Run and lumi of ``edm::LuminosityBlockAuxiliary``: ProcessHistoryID, then run u4, lumi u4.

    Returns:
        the first row that cannot be decoded, or -1.
    """
    for i in range(len(offsets) - 1):
        stop = offsets[i + 1]
        at = _after(data, offsets[i], stop)
        end = _after(data, at, stop)
        if end < at + 6 or end - _payload(data, at) != 8:
            return np.int64(i)
        run[i] = _u4(data, _payload(data, at))
        lumi[i] = _u4(data, _payload(data, at) + 4)
    return np.int64(-1)


@nb.njit(
    types.int64(_I8, _U1, _I8, types.int64, types.int64, types.uint32[:, ::1]),
    cache=True,
    nogil=True,
)
def records(byte_offsets, data, offsets, size, skip, out):  # type: ignore[no-untyped-def]
    """The big-endian u4 words behind ``skip`` bytes of records of ``size`` bytes each.

    Row i holds ``offsets[i + 1] - offsets[i]`` records in ``data[byte_offsets[i]:…]``; ``out`` has
    one line per record, one column per word.

    Returns:
        the first row whose bytes are not that many records, or -1.
    """
    for i in range(len(offsets) - 1):
        at = byte_offsets[i]
        if byte_offsets[i + 1] - at != (offsets[i + 1] - offsets[i]) * size:
            return np.int64(i)
        for j in range(offsets[i], offsets[i + 1]):
            for word in range(out.shape[1]):
                out[j, word] = np.uint32(_u4(data, at + skip + 4 * word))
            at += size
    return np.int64(-1)


def _look_up(table, codes, out):  # type: ignore[no-untyped-def]
    for i in range(len(codes)):
        out[i] = table[codes[i]]


_WORDS = (types.uint8, types.uint16, types.uint32, types.uint64)
_look_up_words = nb.njit(
    [types.void(_frozen(w), codes, types.Array(w, 1, "C")) for w in _WORDS for codes in (_U1, _U2)],
    cache=True,
    nogil=True,
)(_look_up)


def look_up(table: NDArray[Any], codes: NDArray[Any]) -> NDArray[Any]:
    """The entry of each code.

    Args:
        table: 256 or 65536 entries of 1, 2, 4 or 8 bytes: one for each number that a code can be.
        codes: flat, uint8 or uint16.

    Returns:
        as many entries as codes, in the table's dtype.
    """
    out = np.empty(len(codes), table.dtype)
    word = np.dtype(f"u{table.dtype.itemsize}")
    _look_up_words(table.view(word), codes, out.view(word))
    return out


@nb.njit(types.float32[::1](_U2, _U2, _F4), cache=True, nogil=True)
def shifted_phi(codes, pt_codes, halves):  # type: ignore[no-untyped-def]
    """phi in rad: int16 · 3.2 / 32767, moved by less than its last bit to break degeneracies.

    The shift is s · 3.2 / 32767 with s = 0.1 pt (pt < 1) or 0.1 / pt, positive where int(10 pt) is
    even. Source: ``pat::PackedCandidate::unpack``, CMSSW DataFormats/PatCandidates.
    """
    out = np.empty(len(codes), np.float32)
    for i in range(len(codes)):
        pt = np.float64(halves[pt_codes[i]])
        shift = 0.1 * pt if pt < 1.0 else 0.1 / pt
        ten = np.float32(halves[pt_codes[i]]) * np.float32(10.0)
        odd = math.isfinite(ten) and np.int64(ten) % 2 != 0
        base = np.float32(np.int16(codes[i])) * np.float32(3.2) / M
        out[i] = np.float32(np.float64(base) + (-shift if odd else shift) * 3.2 / 32767.0)
    return out


@nb.njit(types.float32[::1](_U2, _U2, _U2, _F4), cache=True, nogil=True)
def eta_of_rapidity(y_codes, pt_codes, mass_codes, halves):  # type: ignore[no-untyped-def]
    """Pseudorapidity from packed rapidity: pz = mT sinh y, eta = asinh(pz / pt), 0 for pt = 0.

    Source: ``pat::PackedGenParticle::unpack``, which writes sinh y as tanh y / sqrt(1 - tanh² y).
    """
    out = np.empty(len(y_codes), np.float32)
    for i in range(len(y_codes)):
        pt = np.float64(halves[pt_codes[i]])
        mass = np.float64(halves[mass_codes[i]])
        y = np.float64(np.float32(np.int16(y_codes[i])) * np.float32(6.0) / M)
        pz = math.sinh(y) * math.sqrt(mass * mass + pt * pt)
        out[i] = np.float32(math.asinh(pz / pt)) if pt != 0.0 else np.float32(0.0)
    return out


@nb.njit(types.float32[::1](_U2, _U4, _F4), cache=True, nogil=True)
def dz_to_vertex(codes, keys, halves):  # type: ignore[no-untyped-def]
    """dz in cm: half / 100 where a vertex is referred to, else int16 · 40 / 32767.

    Source: ``pat::PackedCandidate::unpackVtx``.
    """
    out = np.empty(len(codes), np.float32)
    for i in range(len(codes)):
        if keys[i] != NO_VERTEX:
            out[i] = np.float32(np.float64(halves[codes[i]]) / 100.0)
        else:
            out[i] = np.float32(np.int16(codes[i])) * np.float32(40.0) / M
    return out


@nb.njit(types.int32[::1](_I4), cache=True, nogil=True)
def charge_of_pdg_id(ids):  # type: ignore[no-untyped-def]
    """Electric charge of a PF candidate by its PDG id. Source: ``pat::PackedCandidate::charge``."""
    out = np.zeros(len(ids), np.int32)
    for i in range(len(ids)):
        kind = abs(np.int64(ids[i]))
        sign = 1 if ids[i] > 0 else -1
        if kind in (11, 13, 15):
            out[i] = -sign
        elif kind in (24, 211):
            out[i] = sign
    return out
