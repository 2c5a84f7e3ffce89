"""Local files made of real parents: objects selected, shuffled, kept with half of their bits.

The truth of which object is which is known here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from tests.support.truth import Parent, as_awkward

ROUNDED = ("pt", "eta", "phi", "mass")
KEPT = (*ROUNDED, "pdgId", "status")


@dataclass(frozen=True)
class Selected:
    """A local file and which parent object each of its objects is.

    Attributes:
        path: of the file.
        take: (parent, row) of each row; (-1, -1) where the event has no parent.
        index: local collection → for each row, the parent's object numbers in local order.
    """

    path: Path
    take: list[tuple[int, int]]
    index: Mapping[str, list[list[int]]]


def write_selected(
    path: Path,
    parent: Parent,
    rows: Sequence[int],
    collections: Mapping[str, str],
    keep: float = 0.7,
    smear: Mapping[str, float] | None = None,
    seed: int = 1,
    shuffled: bool = True,
) -> Selected:
    """Write a NanoAOD-like file from rows of a MiniAOD.

    Args:
        path: of the file.
        parent: the MiniAOD.
        rows: its rows in local order; -1 for an event that it lacks.
        collections: local collection → parent collection.
        keep: which part of the objects is kept.
        smear: local collection → relative spread of a new energy calibration.
        seed: of what is kept and in which order.
        shuffled: whether objects stand in another order than the parent's.
    """
    rng = np.random.default_rng(seed)
    keys = parent.keys()
    data: dict[str, object] = {
        name: np.array([keys[r][i] if r >= 0 else 10**6 for r in rows], kind)
        for i, (name, kind) in enumerate(
            [("run", "u4"), ("luminosityBlock", "u4"), ("event", "u8")]
        )
    }
    index: dict[str, list[list[int]]] = {}
    for local, source in collections.items():
        fields = [f for f in KEPT if f"{source}_{f}" in parent.columns]
        values = {f: as_awkward(parent.ragged(f"{source}_{f}")) for f in fields}
        counts = ak.num(values["pt"]).to_list()
        # An event that the parent lacks has objects all the same: those of another row.
        events = [r if r >= 0 else 0 for r in rows]
        ordered = rng.permutation if shuffled else np.asarray
        index[local] = [
            ordered(np.flatnonzero(rng.random(counts[r]) < keep)).tolist() for r in events
        ]
        picked = list(zip(events, index[local], strict=True))
        chosen = {f: ak.Array([v[r].to_numpy()[i] for r, i in picked]) for f, v in values.items()}
        for field in chosen.keys() & ROUNDED:
            chosen[field] = ak.values_astype(ak.values_astype(chosen[field], "f2"), "f4")
        if smear and local in smear:
            flat = rng.normal(1, smear[local], int(ak.count(chosen["pt"]))).astype("f4")
            chosen["pt"] = chosen["pt"] * ak.unflatten(flat, ak.num(chosen["pt"]))
        data[local] = ak.zip(chosen)
    kinds = {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in data.items()}
    with uproot.recreate(path) as file:
        file.mktree("Events", kinds)
        file["Events"].extend(data)
    return Selected(path, [(0, r) if r >= 0 else (-1, -1) for r in rows], index)


def write_selected_physlite(
    path: Path,
    parent: Parent,
    rows: Sequence[int],
    containers: Mapping[str, str],
    keep: float = 0.7,
    seed: int = 1,
    thinned: int | None = None,
    link_keys: Mapping[str, int] | None = None,
) -> Selected:
    """Write a PHYSLITE-like file from rows of a derivation: objects calibrated and re-ordered.

    Args:
        path: of the file.
        parent: the derivation.
        rows: its rows in local order.
        containers: local container → the parent's, with its store: ``MuonsAuxDyn``.
        keep: which part of the objects is kept.
        seed: of what is kept and in which order.
        thinned: write links to the original objects, counted from this number on instead of 0, as
            where they were counted before some were taken away; None for no links.
        link_keys: local container → the key that its links hold.
    """
    rng = np.random.default_rng(seed)
    keys = parent.keys()
    data: dict[str, object] = {
        f"EventInfoAuxDyn.{name}": np.array([keys[r][i] for r in rows], kind)
        for i, (name, kind) in enumerate(
            [("runNumber", "u4"), ("lumiBlock", "u4"), ("eventNumber", "u8")]
        )
    }
    index: dict[str, list[list[int]]] = {}
    for local, source in containers.items():
        values = {
            f: as_awkward(parent.ragged(f"{source}.{f}"))
            for f in ("pt", "eta", "phi", "charge")
            if f"{source}.{f}" in parent.columns
        }
        counts = ak.num(values["pt"]).to_list()
        index[local] = [
            rng.permutation(np.flatnonzero(rng.random(counts[r]) < keep)).tolist() for r in rows
        ]
        picked = list(zip(rows, index[local], strict=True))
        chosen = {f: ak.Array([v[r].to_numpy()[i] for r, i in picked]) for f, v in values.items()}
        flat = rng.normal(1, 0.05, int(ak.count(chosen["pt"]))).astype("f4")
        chosen["pt"] = chosen["pt"] * ak.unflatten(flat, ak.num(chosen["pt"]))
        if thinned is not None:
            places = ak.values_astype(ak.Array(index[local]), "u4") + np.uint32(thinned)
            chosen["originalObjectLink.m_persIndex"] = ak.values_astype(places, "u4")
            key = (link_keys or {})[local]
            chosen["originalObjectLink.m_persKey"] = ak.full_like(places, key, dtype="u4")
        data[f"{local}AuxDyn"] = ak.zip(chosen)
    kinds = {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in data.items()}
    with uproot.recreate(path) as file:
        file.mktree("CollectionTree", kinds, field_name=lambda outer, inner: f"{outer}.{inner}")
        file["CollectionTree"].extend(data)
    return Selected(path, [(0, r) for r in rows], index)
