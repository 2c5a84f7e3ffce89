"""CMS's compact number formats, written: the inverse of what ``formats`` decodes.

Sources: CMSSW DataFormats/PatCandidates/src/PackedCandidate.cc, libminifloat.h; the byte layout of
the auxiliaries as seen in files of CMSSW 7 to 15.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.model import Keys

Bytes = NDArray[np.uint8]
Codes = NDArray[np.uint16]

_MOST = 32767
_UNIT = [("length", ">u4"), ("version", ">u2")]
_HASH = [*_UNIT, ("inner", ">u4"), ("inner_version", ">u2"), ("size", "u1"), ("hash", "u1", (16,))]
_TIME = [*_UNIT, ("low", ">u4"), ("high", ">u4")]
_EVENT_AUXILIARY = np.dtype(
    [
        ("history", _HASH),
        ("id", [*_UNIT, ("run", ">u4"), ("lumi", ">u4"), ("event", ">u8")]),
        ("guid", [*_UNIT, ("size", "u1"), ("guid", "u1", (16,))]),
        ("time", _TIME),
        ("lumi", ">u4"),
        ("is_real_data", "u1"),
        ("experiment_type", ">i4"),
        ("bunch_crossing", ">i4"),
        ("orbit", ">i4"),
        ("store", ">i4"),
    ]
)
_LUMI_AUXILIARY = np.dtype(
    [
        ("history", _HASH),
        ("id", [*_UNIT, ("run", ">u4"), ("lumi", ">u4")]),
        ("begin", _TIME),
        ("end", _TIME),
    ]
)
_BYTE_COUNT = 0x40000000


def half(values: NDArray[Any]) -> Codes:
    """IEEE binary16, as its code."""
    codes: Codes = np.asarray(values).astype(np.float16).view(np.uint16)
    return codes


def linear(values: NDArray[Any], largest: float) -> Codes:
    """A signed 16-bit code that is linear up to ±``largest`` (6 for eta and y, 3.2 for phi)."""
    codes: NDArray[Any] = np.rint(np.clip(values, -largest, largest) * (_MOST / largest))
    return codes.astype(np.int16).view(np.uint16)


def puppi(weights: NDArray[Any]) -> Bytes:
    """A weight of 0 … 1 in 255ths, rounded down (2017 and later)."""
    return (np.asarray(weights) * 255).astype(np.uint8)


def _begin(record: NDArray[Any], version: int) -> None:
    """Byte count and class version, which open every object."""
    record["length"] = _BYTE_COUNT | (record.dtype.itemsize - 4)
    record["version"] = version


def _history(record: NDArray[Any]) -> None:
    _begin(record, 11)
    record["inner"] = _BYTE_COUNT | 19
    record["inner_version"] = 9
    record["size"] = 16
    record["hash"] = 0x5A


def _as_bytes(records: NDArray[Any]) -> Bytes:
    return records.view(np.uint8).reshape(len(records), records.dtype.itemsize)


def event_auxiliary(keys: Keys) -> Bytes:
    """``edm::EventAuxiliary`` (CMSSW 8 and later) of every event: uint8 of shape (events, 109)."""
    records = np.zeros(len(keys), _EVENT_AUXILIARY)
    _history(records["history"])
    _begin(records["id"], 12)
    records["id"]["run"], records["id"]["lumi"] = keys.run, keys.lumi
    records["id"]["event"] = keys.event
    _begin(records["guid"], 9)
    records["guid"]["size"] = 16
    records["guid"]["guid"] = 0x3C
    _begin(records["time"], 10)
    records["lumi"] = keys.lumi
    records["bunch_crossing"] = records["orbit"] = -1
    return _as_bytes(records)


def lumi_auxiliary(run: NDArray[np.uint32], lumi: NDArray[np.uint32]) -> Bytes:
    """``edm::LuminosityBlockAuxiliary`` of every block: uint8 of shape (blocks, 71)."""
    records = np.zeros(len(lumi), _LUMI_AUXILIARY)
    _history(records["history"])
    _begin(records["id"], 10)
    records["id"]["run"], records["id"]["lumi"] = run, lumi
    for time in ("begin", "end"):
        _begin(records[time], 10)
    return _as_bytes(records)
