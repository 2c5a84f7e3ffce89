"""The computations of derived Columns: values of some Columns in, values of another one out.

Each is a pure function of plain arrays for the rows of one Partition. Knows neither files nor
Pieces; ``model.Derivation`` names one of these and its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from columnservice.alignment.match import Objects, Window, distance, match, take_matched
from columnservice.model import Derivation, Ragged, plain

Parameters: TypeAlias = Mapping[str, Any]
Compute: TypeAlias = Callable[[Sequence[Ragged], Parameters], Ragged]


def compute(derivation: Derivation, inputs: Sequence[Ragged]) -> Ragged:
    """A derived Column's values.

    Args:
        derivation: says which computation, with which parameters.
        inputs: one Ragged per ``derivation.inputs``, in that order, all for the same rows.

    Raises:
        CountsMismatch: inputs that must hold the same objects hold different numbers of them.
    """
    return COMPUTES[derivation.compute](inputs, dict(derivation.parameters))


def _matched(inputs: Sequence[Ragged], parameters: Parameters) -> tuple[Ragged, Ragged]:
    half = len(inputs) // 2
    local, parent = (
        Objects(eta, phi, pt, tuple(labels))
        for eta, phi, pt, *labels in (inputs[:half], inputs[half:])
    )
    return match(local, parent, Window(**parameters))


def _match_index(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """Inputs: eta, phi, pt and labels of the local objects, then those of the parent's."""
    return _matched(inputs, parameters)[0]


def _match_ambiguous(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """The same inputs."""
    return _matched(inputs, parameters)[1]


def _has_match(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Input: a match index."""
    (index,) = inputs
    return plain(index.values >= 0, *index.offsets)


def _match_distance(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Inputs: a match index; eta and phi of the local objects, then of the parent's."""
    index, *directions = inputs
    return distance(index, *directions)


def _take_matched(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Inputs: a match index; the parent objects' values."""
    index, values = inputs
    return take_matched(index, values)


COMPUTES: Mapping[str, Compute] = {
    "match_index": _match_index,
    "match_ambiguous": _match_ambiguous,
    "has_match": _has_match,
    "match_distance": _match_distance,
    "take_matched": _take_matched,
}
