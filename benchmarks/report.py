"""What a run leaves: ``rows.json``, ``table.md`` and ``ratios.svg``, with machine and commit.

A run of some rows replaces these rows and keeps the others, unless they are of another machine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import commit, machine
from benchmarks.measure import Row

GOOD, BAD, TARGET = "#2a7f62", "#c8553d", "#444444"


def write(directory: Path, rows: Sequence[Row], order: Sequence[str]) -> None:
    """Write all of it.

    Args:
        directory: made where it is absent.
        rows: what was measured now.
        order: names of all rows, in the order in which they shall stand.
    """
    directory.mkdir(parents=True, exist_ok=True)
    here = machine()
    kept = _kept(directory / "rows.json", here)
    now = {"commit": commit(), "date": datetime.now(UTC).date().isoformat()}
    kept |= {row.name: asdict(row) | now for row in rows}
    places = {name: place for place, name in enumerate(order)}
    documents = [kept[name] for name in sorted(kept, key=lambda n: places.get(n, len(places)))]
    (directory / "rows.json").write_text(
        json.dumps({"machine": here, "rows": documents}, indent=1) + "\n"
    )
    (directory / "table.md").write_text(table(here, documents))
    plot(directory / "ratios.svg", documents)


def _kept(path: Path, here: dict[str, object]) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    before = json.loads(path.read_text())
    return {row["name"]: row for row in before["rows"]} if before["machine"] == here else {}


def _size(count: int) -> str:
    return f"{count / 1e6:.3g} MB" if count else ""


def table(here: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """The Markdown page."""
    libraries = ", ".join(f"{name} {version}" for name, version in here["libraries"].items())
    lines = [
        "# Measured",
        "",
        f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB, {here['system']}, "
        f"Python {here['python']}; {libraries}.",
        "",
        "Ratios are medians of pairs measured in turn, with their tenth and ninetieth percentile: "
        "for ≥ the peer's figure over ours, for ≤ ours over the peer's.",
        "",
        "| Row | Ratio | Spread | Target | Met | Ours | Peer | Input | Commit | Note |",
        "| --- | ---: | --- | ---: | :-: | ---: | ---: | ---: | --- | --- |",
    ]
    for r in rows:
        sign = "≥" if r["direction"] == ">=" else "≤"
        lines.append(
            f"| {r['name']} | {r['ratio']:.3g} | {r['low']:.3g} to {r['high']:.3g} "
            f"| {sign} {r['target']:g} | {'yes' if r['met'] else '**no**'} "
            f"| {r['seconds']:.3g} s | {r['peer_seconds']:.3g} s | {_size(r['input_bytes'])} "
            f"| {r['commit']} | {r['note']} |"
        )
    return "\n".join(lines) + "\n\n![Ratios and their targets](ratios.svg)\n"


def plot(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """How far each row is beyond its target: one line per row, better to the right, log axis."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.6 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, r in enumerate(rows):
        margin = [_margin(r, r[key]) for key in ("low", "ratio", "high")]
        colour = GOOD if r["met"] else BAD
        axes.plot(margin[::2], [place, place], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot(margin[1], place, "o", color=colour)
        axes.annotate(
            f"{r['ratio']:.3g}", (margin[1], place), (0, 6), textcoords="offset points",
            ha="center", fontsize=8, color=colour,
        )  # fmt: skip
    axes.axvline(1, color=TARGET, linewidth=1)
    axes.set_xscale("log")
    signs = {">=": "≥", "<=": "≤"}
    labels = [f"{r['name']}  {signs[r['direction']]} {r['target']:g}" for r in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.8)
    axes.set_xlabel("ratio / target (for ≤: target / ratio): right of the line is met")
    axes.grid(axis="x", which="both", alpha=0.2)
    with mpl.rc_context({"svg.hashsalt": "columnservice"}):
        figure.savefig(path, metadata={"Date": None})


def _margin(row: dict[str, Any], ratio: float) -> float:
    shown = ratio / row["target"] if row["direction"] == ">=" else row["target"] / max(ratio, 1e-9)
    return min(max(shown, 1e-2), 1e3)
