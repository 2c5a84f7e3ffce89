"""CMS's packed codes, decoded by formulas written down independently of ``formats``."""

from __future__ import annotations

import awkward as ak
import numpy as np


def _flat(codes: ak.Array) -> tuple[np.ndarray, ak.Array]:
    return np.asarray(ak.flatten(codes)).astype(np.uint16), ak.num(codes)


def half_of(codes: ak.Array) -> ak.Array:
    flat, counts = _flat(codes)
    return ak.unflatten(flat.view(np.float16).astype(np.float32), counts)


def eta_of(codes: ak.Array) -> ak.Array:
    flat, counts = _flat(codes)
    return ak.unflatten(flat.view(np.int16) * 6.0 / 32767, counts)


def phi_of(codes: ak.Array) -> ak.Array:
    """Without the shift below the last bit, of at most 3.2 / 32767."""
    flat, counts = _flat(codes)
    return ak.unflatten(flat.view(np.int16) * 3.2 / 32767, counts)
