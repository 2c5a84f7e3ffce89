"""Decoders of members that are stored as they are: precision, charges, Cartesian momenta."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from columnservice.errors import DamagedFile
from columnservice.formats.inputs import together
from columnservice.formats.ragged import native
from columnservice.formats.tables import Parameters, Values
from columnservice.model import Ragged, plain

# ROOT::Math::Impl::Eta_FromRhoZ: where rho is 0, eta is z moved by this much away from 0.
ETA_MAX = 22756.0


def single(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Numbers in single precision (float32), as a ``Double32_t`` has them in the file."""
    (read,) = inputs
    return plain(native(read.values).astype(np.float32), *read.offsets)


def charge_of_thirds(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Electric charge (int32) from thirds of it, by C++'s integer division: towards zero.

    Source: ``reco::ParticleState::charge`` (``qx3_ / 3``), CMSSW DataFormats/Candidate.
    """
    (read,) = inputs
    thirds = native(read.values)
    if thirds.dtype.kind != "i":
        raise DamagedFile(f"charges in thirds are {thirds.dtype}, not integers.")
    charges = np.sign(thirds) * (np.abs(thirds) // 3)
    return plain(charges.astype(np.int32), *read.offsets)


def _doubles(inputs: Sequence[Ragged]) -> list[Values]:
    return [native(read.values).astype(np.float64) for read in inputs]


def pt_of_xy(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Transverse momentum in the inputs' unit, from x and y: float32."""
    offsets = together(inputs)
    x, y = _doubles(inputs)
    return plain(np.hypot(x, y).astype(np.float32), *offsets)


def phi_of_xy(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Azimuth in rad, −π to π, from x and y: float32."""
    offsets = together(inputs)
    x, y = _doubles(inputs)
    return plain(np.arctan2(y, x).astype(np.float32), *offsets)


def eta_of_xyz(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Pseudorapidity from x, y and z: float32; beyond ±22756 along the beam.

    Source: ``ROOT::Math::Impl::Eta_FromRhoZ``: asinh(z / rho), and for rho = 0 z ± 22756 (0 for
    z = 0).
    """
    offsets = together(inputs)
    x, y, z = _doubles(inputs)
    rho = np.hypot(x, y)
    along = rho == 0
    eta = np.arcsinh(z / np.where(along, 1.0, rho))
    eta = np.where(along, z + np.sign(z) * ETA_MAX, eta)
    return plain(eta.astype(np.float32), *offsets)
