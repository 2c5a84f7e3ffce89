"""The demo's plot: isolation of prompt and other muons, and what a cut on it does to the Z peak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from columnservice.demo.isolation import CONE, CUT, Result

_PROMPT, _OTHER, _ALL = "#3f90da", "#e76300", "#717581"  # CMS's recommended, safe for all eyes


# Any: matplotlib's stubs know the keys, and accept no plain dict of str
_STYLE: Any = {
    "font.size": 12,
    "axes.labelsize": 13,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "legend.frameon": False,
    "figure.dpi": 130,
}


def save_plot(result: Result, path: Path, what: str) -> None:
    """Save a PNG.

    Args:
        result: of an analysis.
        path: where to.
        what: names sample and columns, for the title.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    values = ak.to_numpy(ak.flatten(result.isolation))
    prompt = ak.to_numpy(ak.flatten(result.prompt))
    worst = ak.to_numpy(ak.fill_none(ak.max(result.isolation, axis=1), np.inf))
    with plt.rc_context(_STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
        bins = np.linspace(0, 2, 41)
        clipped = np.clip(values, 0, bins[-1] - 1e-6)
        for chosen, colour, label in (
            (prompt, _PROMPT, "prompt (Z → μμ)"),
            (~prompt, _OTHER, "from b quarks"),
        ):
            left.hist(clipped[chosen], bins, color=colour, alpha=0.25)
            left.hist(clipped[chosen], bins, color=colour, histtype="step", lw=1.8, label=label)
        left.axvline(CUT, color="black", ls="--", lw=1)
        left.set_yscale("log")
        left.set_xlim(bins[0], bins[-1])
        left.set_xlabel(f"muon isolation within ΔR < {CONE}, from remote columns")
        left.set_ylabel("muons / 0.05")
        left.legend(title="last bin: all above")
        masses = result.mass_gev
        edges = np.linspace(0, 150, 51)
        right.hist(masses[np.isfinite(masses)], edges, color=_ALL, alpha=0.45, label="all pairs")
        right.hist(
            masses[np.isfinite(masses) & (worst < CUT)],
            edges,
            color=_PROMPT,
            histtype="step",
            lw=1.8,
            label=f"both isolated (< {CUT})",
        )
        right.set_xlim(edges[0], edges[-1])
        right.set_xlabel("mass of opposite-charge muon pairs [GeV]")
        right.set_ylabel("events / 3 GeV")
        right.legend()
        figure.suptitle(f"SYNTHETIC — {what}", fontsize=13, fontweight="bold")
        figure.savefig(path)
        plt.close(figure)
