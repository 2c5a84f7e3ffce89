"""How many events of a Dataset have a parent, as numbers and as a picture.

Knows what the service says of a Dataset; matplotlib only when a plot is asked for.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from columnservice.errors import RequestError, SetupError


@dataclass(frozen=True)
class Coverage:
    """The result of registering a Dataset with its parent.

    Attributes:
        dataset, parent: names.
        events: events of the files that were joined.
        with_parent: how many of them stand in a parent file.
        duplicates: events that stand more than once in the parent, or in a local file.
        witnesses: (name, events compared, events that agreed).
    """

    dataset: str
    parent: str
    events: int
    with_parent: int
    duplicates: int
    witnesses: tuple[tuple[str, int, int], ...]

    @property
    def fraction(self) -> float:
        """Of the events that have a parent; 1 for no events."""
        return self.with_parent / self.events if self.events else 1.0

    def __repr__(self) -> str:
        told = f"{self.with_parent} of {self.events} events of {self.dataset}"
        lines = [f"{told} have a parent in {self.parent} ({self.fraction:.2%})"]
        lines += [f"  {name}: {ok} of {n} compared agree" for name, n, ok in self.witnesses]
        if not self.witnesses:
            lines.append("  no Witness: nothing shows that both are the same sample")
        if self.duplicates:
            lines.append(f"  {self.duplicates} events stand more than once")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        bar = f'<progress max="1" value="{self.fraction:.6f}"></progress>'
        return f"{bar}<pre>{html.escape(repr(self))}</pre>"

    def plot(self, ax: Any = None) -> Any:
        """Draw the share of events with a parent, and of agreeing Witnesses; gives the axes.

        Args:
            ax: matplotlib axes to draw into; None makes new ones.

        Raises:
            SetupError: matplotlib is not installed.
        """
        if ax is None:
            if find_spec("matplotlib") is None:
                raise SetupError("There is no matplotlib here.", "pip install matplotlib.")
            from matplotlib import pyplot

            rows = 1 + len(self.witnesses)
            _, ax = pyplot.subplots(figsize=(6, 0.8 + 0.35 * rows), layout="constrained")
        names = [f"events ({self.events})", *(f"{n} ({c})" for n, c, _ in self.witnesses)]
        shares = [self.fraction, *(ok / c if c else 0.0 for _, c, ok in self.witnesses)]
        ax.barh(names, [1.0] * len(names), color="0.9")
        ax.barh(names, shares, color=["C0"] + ["C2"] * len(self.witnesses))
        ax.invert_yaxis()
        ax.set(xlim=(0, 1), xlabel="share with a parent, share agreeing")
        ax.set_title(f"{self.dataset} in {self.parent}")
        return ax


def coverage_of(info: Mapping[str, Any]) -> Coverage:
    """What a Dataset's document says of its coverage.

    Raises:
        RequestError: the Dataset has no parent, or nothing was joined yet.
    """
    if info.get("parent") is None:
        raise RequestError(
            f"Dataset {info['name']!r} has no parent, so it has no coverage.",
            "Ask for the dataset of the local files.",
        )
    counted = info.get("coverage")
    if counted is None:
        raise RequestError(
            f"No file of {info['name']!r} has been joined with its parent yet.",
            "Wait for the registration, or run `columnservice dataset check`.",
        )
    witnesses = tuple((w["name"], w["compared"], w["agreed"]) for w in info.get("witnesses") or ())
    return Coverage(
        info["name"],
        info["parent"],
        counted["events"],
        counted["with_parent"],
        info.get("duplicates") or 0,
        witnesses,
    )
