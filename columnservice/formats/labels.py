"""Values that EDM objects keep under labels: b-tags, IDs of taus and electrons, user numbers.

The labels are data. Those in the first and the last events of a file become its Columns, so equal
branches do not always offer equal Columns: the labels are part of a layout. An object without the
label has NaN, an integer the smallest number of its type.

Knows the bytes of branches; which labels a file has, ``formats.labelsought`` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.errors import DamagedFile
from columnservice.formats.ragged import native
from columnservice.formats.tables import Parameters, Values
from columnservice.model import Ragged, plain


@dataclass(frozen=True)
class Labelled:
    """One kind of member that keeps values under labels.

    Attributes:
        typename: the C++ type of its branch.
        values: the sibling member that holds the values; None where they stand with the labels.
        decode: name of the decoder.
        size: bytes of a value that stands with its label.
        last: of several equal labels the last counts, else the first.
        doc: what the values are.
        source: where CMSSW looks a label up.
        prefix: begins the names of its Columns' fields.
    """

    typename: str
    values: str | None
    decode: str
    size: int
    last: bool
    doc: str
    source: str
    prefix: str = ""


FACTORS = "std::vector<pat::JetCorrFactors>[]"
_FLOATS, _BOOLS = "std::vector<pair<string,float>>[]", "std::vector<pair<string,bool>>[]"
_TEXTS = "std::vector<std::string>[]"
_PAT = "DataFormats/PatCandidates"
# By the member's name.
MEMBERS: Mapping[str, Labelled] = {
    "pairDiscriVector_": Labelled(
        _FLOATS, None, "pair_float32", 4, True, "b-tag discriminator", f"{_PAT}/src/Jet.cc"
    ),
    "tauIDs_": Labelled(_FLOATS, None, "pair_float32", 4, False, "tau ID", f"{_PAT}/src/Tau.cc"),
    "electronIDs_": Labelled(
        _FLOATS, None, "pair_float32", 4, False, "electron ID", f"{_PAT}/src/Electron.cc"
    ),
    "photonIDs_": Labelled(
        _BOOLS, None, "pair_int8", 1, False, "photon ID, 0 or 1", f"{_PAT}/src/Photon.cc"
    ),
    # cumulative: the uncorrected jet times this is the jet at that level
    "jec_": Labelled(
        FACTORS,
        None,
        "factor_float32",
        4,
        False,
        "factor from the uncorrected jet to level",
        f"{_PAT}/src/JetCorrFactors.cc",
        "jec_",
    ),
    "userFloatLabels_": Labelled(
        _TEXTS, "userFloats_", "label_float32", 0, False, "user float", f"{_PAT}/PATObject.h"
    ),
    "userIntLabels_": Labelled(
        _TEXTS, "userInts_", "label_int32", 0, False, "user int", f"{_PAT}/PATObject.h"
    ),
}


def _places(
    kernel: Callable[..., int], raw: Ragged, objects: Ragged, *arguments: Any
) -> NDArray[np.int64]:
    """Run a kernel over every row; DamagedFile names the first row that it refuses."""
    if raw.depth != 1 or raw.values.dtype != np.uint8 or len(raw) != len(objects):
        raise DamagedFile("bytes of labels do not belong to the same rows.")
    out = np.empty(int(objects.offsets[0][-1]), np.int64)
    row = kernel(raw.offsets[0], raw.values, objects.offsets[0], *arguments, out)
    if row >= 0:
        raise DamagedFile(f"labels of row {row} do not belong to that row's objects.")
    return out


def _label(parameters: Parameters) -> tuple[NDArray[np.uint8], bool]:
    """The label that a Recipe asks for, and whether the last of several counts."""
    ((label, last),) = parameters.items()
    return np.frombuffer(label.encode("ascii"), np.uint8), bool(last)


def _taken(values: Values, places: NDArray[np.int64], absent: float) -> Values:
    """Values at places; ``absent`` where the place is -1."""
    out = np.full(len(places), absent, values.dtype)
    held = places >= 0
    out[held] = values[places[held]]
    return out


def _floats(values: Values, places: NDArray[np.int64]) -> Values:
    """Floats at positions of bytes; NaN where the position is -1."""
    spread = np.maximum(places, 0)[:, None] + np.arange(4)
    every = values[spread].view(">f4")[:, 0] if len(values) else np.empty(0, ">f4")
    return np.where(places >= 0, every, np.nan).astype(np.float32)


def _pair(inputs: Sequence[Ragged], parameters: Parameters, size: int) -> tuple[Ragged, Values]:
    from columnservice.formats.memberwise import pair_places

    raw, objects = inputs
    label, last = _label(parameters)
    return objects, _places(pair_places, raw, objects, label, size, last)


def pair_float32(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """A label's float per object, NaN where the object lacks it.

    The parameter's name is the label, its value whether the last of several equal ones counts.

    Args:
        inputs: bytes of ``vector<pair<string, float>>`` members; any member of the same objects.
    """
    objects, places = _pair(inputs, parameters, 4)
    return plain(_floats(inputs[0].values, places), objects.offsets[0])


def factor_float32(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """A level's correction factor per jet: float32, of the jet's first set of factors.

    NaN where the jet has no factors, lacks the level, or has a factor for each flavour there.

    Args:
        inputs: bytes of ``vector<pat::JetCorrFactors>`` members; any member of the same jets.
        parameters: as for ``pair_float32``; the label is the level.
    """
    from columnservice.formats.memberwise import factor_places

    raw, objects = inputs
    places = _places(factor_places, raw, objects, _label(parameters)[0])
    return plain(_floats(raw.values, places), objects.offsets[0])


def pair_int8(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """A label's bool per object as int8, -128 where the object lacks it; else ``pair_float32``."""
    objects, places = _pair(inputs, parameters, 1)
    values = _taken(inputs[0].values.view(np.int8), places, np.iinfo(np.int8).min)
    return plain(values, objects.offsets[0])


def _labelled(inputs: Sequence[Ragged], parameters: Parameters, absent: float) -> Ragged:
    from columnservice.formats.memberwise import label_places

    raw, values = inputs
    if values.depth != 2:
        raise DamagedFile("values of labels are not lists per object.")
    label, _ = _label(parameters)
    places = _places(label_places, raw, values, values.offsets[1], label)
    return plain(_taken(native(values.values), places, absent), values.offsets[0])


def label_float32(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """A label's float per object, NaN where the object lacks it.

    Args:
        inputs: bytes of ``vector<string>`` members; the values in the same order, two axes deep.
    """
    return _labelled(inputs, parameters, np.nan)


def label_int32(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """The same for integers; -2**31 where the object lacks the label."""
    return _labelled(inputs, parameters, np.iinfo(np.int32).min)
