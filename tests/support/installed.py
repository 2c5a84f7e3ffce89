"""A tiny installed distribution that computes columns: a folder to put on ``sys.path``."""

from __future__ import annotations

from pathlib import Path

MODULE = '''
"""Functions of columns, as an operator installs them."""

import os
import sys

import awkward as ak
import numpy as np


class Isolation:
    """Sum of pt around each muon."""

    name = "Muon_installedIso"
    inputs = ("Muon_eta", "Muon_phi", "PFCands_pt", "PFCands_eta", "PFCands_phi")
    dtype = "float32"
    collection = "Muon"
    version = 2
    doc = "sum of pt within 0.4"
    author = "Ada"
    unit = "GeV"

    def __call__(self, eta, phi, pt, other_eta, other_phi):
        mine, theirs = ak.unzip(ak.cartesian([eta, other_eta], nested=True))
        around, others = ak.unzip(ak.cartesian([phi, other_phi], nested=True))
        turned = (around - others + np.pi) % (2 * np.pi) - np.pi
        near = np.hypot(mine - theirs, turned) < 0.4
        _, candidates = ak.unzip(ak.cartesian([eta, pt], nested=True))
        return ak.sum(ak.where(near, candidates, 0), axis=-1)


isolation = Isolation()


class Declared:
    """Any function of muon momenta."""

    def __init__(self, name, call, collection="Muon", dtype="float32", inputs=("Muon_pt",)):
        self.name, self.call, self.collection, self.dtype = name, call, collection, dtype
        self.inputs, self.version, self.doc, self.author = inputs, 1, "", "Bob"

    def __call__(self, *arrays):
        return self.call(*arrays)


def _raise(_):
    raise OSError("no model file\\nat all")


def _exit(_):
    sys.exit(3)


def _die(_):
    os._exit(7)


failing = Declared("Muon_failing", _raise)
leaving = Declared("Muon_leaving", _exit)
dying = Declared("Muon_dying", _die)
shorter = Declared("Muon_shorter", lambda pt: pt[:, :0])
per_event = Declared("Muon_perEvent", lambda pt: ak.num(pt))
text = Declared("Muon_text", lambda pt: ["x"] * len(pt))
optional = Declared("Muon_optional", lambda pt: ak.mask(pt, pt > 5))
whole = Declared("Muon_whole", lambda pt: pt, dtype="int32")
largest = Declared("largestPt", lambda pt: ak.fill_none(ak.max(pt, axis=-1), -1), None)
silent = object()
_kept = np.zeros(5000)


def _overwrite(pt):
    np.asarray(ak.flatten(pt))[:] = 0
    return pt


def _reorder(pt):
    pt.layout.offsets.data[1:] = 0
    return pt


def _reuse(pt):
    _kept[: len(pt)] = np.asarray(ak.fill_none(ak.firsts(pt), -1))
    return _kept[: len(pt)]


overwriting = Declared("Muon_overwriting", _overwrite)
reordering = Declared("Muon_reordering", _reorder)
reusing = Declared("firstPt", _reuse, None)
times_100 = Declared("Muon_times100", lambda pt: ak.values_astype(pt * 100, "int64"), dtype="int8")
to_38 = Declared("Muon_to38", lambda pt: ak.values_astype(pt, "float64") * 1e38)
'''

ENTRY_POINTS = (
    "isolation", "failing", "leaving", "dying", "shorter", "per_event", "text", "optional",
    "whole", "largest", "overwriting", "reordering", "reusing", "times_100", "to_38",
)  # fmt: skip
BROKEN = ("silent", "nowhere")


def install(folder: Path, version: str = "1.2", name: str = "pfiso") -> Path:
    """Write the distribution ``name`` below a folder; returns the folder."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(MODULE)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{entry} = {name}:{entry}" for entry in (*ENTRY_POINTS, *BROKEN)]
    (info / "entry_points.txt").write_text("\n".join(["[columnservice.columns]", *lines, ""]))
    return folder
