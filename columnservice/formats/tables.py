"""Decoders of one packed code: a table with the value of every possible code, made from a formula.

The formulas are CMSSW's; what they mean for which Column stands in ``formats.packed``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[Any]
Parameters: TypeAlias = Mapping[str, float]

# Codes as unsigned table positions, and as the signed numbers that they stand for.
_U2 = np.arange(65536, dtype=np.uint16)
_I2 = _U2.view(np.int16).astype(np.float32)
_U1 = np.arange(256, dtype=np.uint8)
_I1 = _U1.view(np.int8).astype(np.float64)


@dataclass(frozen=True)
class Table:
    """A formula over all codes of one size, in ascending order of the code read as unsigned."""

    formula: Callable[[Parameters], Values]
    code: type[np.unsignedinteger[Any]]
    dtype: str

    def values(self, parameters: Parameters) -> Values:
        """The value of every code: 256 or 65536 entries of ``dtype``, read-only, made once."""
        return _values(self, tuple(sorted(parameters.items())))


@cache
def _values(table: Table, parameters: tuple[tuple[str, float], ...]) -> Values:
    with np.errstate(invalid="ignore"):  # some codes stand for NaN, or have no square root
        values = table.formula(dict(parameters)).astype(table.dtype)
    values.flags.writeable = False
    return values


@cache
def half_floats() -> NDArray[np.float32]:
    """The number that each IEEE binary16 code stands for: float32, 65536 entries, read-only."""
    halves = _U2.view(np.float16).astype(np.float32)
    halves.flags.writeable = False
    return halves


def _half(p: Parameters) -> Values:
    """IEEE binary16 divided by ``divisor``."""
    return half_floats().astype(np.float64) / p["divisor"]


def _half_root(p: Parameters) -> Values:
    """Square root of ``_half``; NaN for negative codes."""
    return np.sqrt(_half(p))


def _signed16(p: Parameters) -> Values:
    """int16 · ``range`` / 32767, in float32 arithmetic as CMSSW has it."""
    return _I2 * np.float32(p["range"]) / np.float32(32767)


def _log8(p: Parameters) -> Values:
    """logintpack of an int8: sign · exp(low + |code| / steps · (high − low))."""
    size = np.exp(p["low"] + np.abs(_I1) / p["steps"] * (p["high"] - p["low"]))
    return np.where(_I1 < 0, -size, size)


def _puppi_log8(_: Parameters) -> Values:
    """0.5 + v / 2 with v = sign · exp(−2 + 2 |int8| / 63)."""
    return 0.5 + _log8({"low": -2.0, "high": 0.0, "steps": 63.0}) / 2


def _unsigned8(p: Parameters) -> Values:
    """uint8 / ``divisor``."""
    return _U1 / p["divisor"]


def _signed8(p: Parameters) -> Values:
    """int8 / ``divisor``."""
    return _I1 / p["divisor"]


def _bits(p: Parameters) -> Values:
    """``width`` bits from ``shift`` on of a uint16, plus ``offset``."""
    mask = (1 << int(p["width"])) - 1
    return ((_U2.astype(np.int32) >> int(p["shift"])) & mask) + int(p["offset"])


def _flag(p: Parameters) -> Values:
    """Whether bit ``shift`` of a uint16 is set."""
    return (_U2 >> int(p["shift"])) & 1


def _bits8(p: Parameters) -> Values:
    """``width`` bits from ``shift`` on of a uint8."""
    mask = (1 << int(p["width"])) - 1
    return (_U1.astype(np.int32) >> int(p["shift"])) & mask


TABLES: Mapping[str, Table] = {
    "half": Table(_half, np.uint16, "float32"),
    "half_root": Table(_half_root, np.uint16, "float32"),
    "signed16": Table(_signed16, np.uint16, "float32"),
    "log8": Table(_log8, np.uint8, "float32"),
    "puppi_log8": Table(_puppi_log8, np.uint8, "float32"),
    "signed8": Table(_signed8, np.uint8, "float32"),
    "unsigned8": Table(_unsigned8, np.uint8, "float32"),
    "bits": Table(_bits, np.uint16, "int32"),
    "flag": Table(_flag, np.uint16, "bool"),
    "bits8": Table(_bits8, np.uint8, "int32"),
}
