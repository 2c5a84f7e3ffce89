"""Witnesses: Columns that both formats hold, compared to show that two Files are the same sample.

EventKeys alone cannot: simulated samples all count run 1, event 1, 2, 3 … Knows values, not files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.errors import WrongParent

# NanoAOD keeps some floats with a shortened mantissa; eight bits keep 0.2 %.
RELATIVE_TOLERANCE = 5e-3
AGREEMENT = 0.99


@dataclass(frozen=True)
class WitnessResult:
    """How often one Witness agreed on the events compared."""

    name: str
    compared: int
    agreed: int


def count_agreeing(local: NDArray[Any], parent: NDArray[Any]) -> int:
    """How many values are the same: integers exactly, floats within their stored precision.

    Args:
        local, parent: one value per event, of one length; NaN agrees with NaN.
    """
    if local.dtype.kind == "f" or parent.dtype.kind == "f":
        same = np.isclose(
            local.astype(np.float64),
            parent.astype(np.float64),
            rtol=RELATIVE_TOLERANCE,
            atol=0.0,
            equal_nan=True,
        )
    else:
        same = local == parent
    return int(np.count_nonzero(same))


def demand_agreement(results: Sequence[WitnessResult], local: str, parent: str) -> None:
    """Raise where a Witness says that two Files are not the same sample.

    Args:
        results: what was compared; Witnesses without a compared event say nothing.
        local, parent: names for the message.

    Raises:
        WrongParent: fewer than 99 % of the compared events agree.
    """
    for result in results:
        if result.compared and result.agreed < AGREEMENT * result.compared:
            raise WrongParent(
                f"{local} is not the same sample as {parent}: {result.name} agrees on "
                f"{result.agreed} of {result.compared} events with equal keys."
            )
