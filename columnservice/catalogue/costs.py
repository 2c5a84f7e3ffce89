"""What Columns of a Dataset cost: the mean over its layouts, and the sum of what one is made from.

Knows the costs that were kept with the layouts (``reader.costs``); opens no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from columnservice.model import OfferedColumn

DIGITS = 2


def mean_cost(versions: Sequence[tuple[OfferedColumn, int]]) -> float | None:
    """The mean cost of a Column's versions, each with its number of Files; None if none is known.

    Args:
        versions: the Column as each layout offers it.
    """
    known = [(o.column.cost_bytes, n) for o, n in versions if o.column.cost_bytes is not None]
    files = sum(n for _, n in known)
    return round(sum(cost * n for cost, n in known) / files, DIGITS) if files else None


def with_costs(offered: Sequence[OfferedColumn]) -> tuple[OfferedColumn, ...]:
    """All Columns of a Dataset, the computed ones with the costs of all that they are made from.

    An input that is needed at several places counts once; one without a known cost leaves the
    result unknown, and so does a Column that is computed from itself.
    """
    known = {o.column.name: o for o in offered}
    sources: dict[str, frozenset[str]] = {}

    def read_for(name: str) -> frozenset[str]:
        """The Columns that are read for one; names that are not there stay as they are."""
        path = [name]  # not a recursion: definitions may use definitions a thousand times over
        while path:
            last = path[-1]
            one = known.get(last)
            if one is None or one.derivation is None:
                sources[last] = frozenset((last,))
                path.pop()
                continue
            inputs = one.derivation.inputs
            missing = next((i for i in inputs if i not in sources and i not in path), None)
            if missing is not None:
                path.append(missing)
                continue
            circular = frozenset(i for i in inputs if i not in sources)
            sources[last] = circular.union(*(sources.get(i, ()) for i in inputs))
            path.pop()
        return sources[name]

    def cost(one: OfferedColumn) -> OfferedColumn:
        if one.derivation is None:
            return one
        parts = [
            known[name].column.cost_bytes
            if name in known and known[name].derivation is None
            else None
            for name in read_for(one.column.name)
        ]
        told = [part for part in parts if part is not None]
        whole = round(sum(told), DIGITS) if len(told) == len(parts) else None
        return replace(one, column=replace(one.column, cost_bytes=whole))

    return tuple(cost(one) for one in offered)
