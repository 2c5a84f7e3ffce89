"""A small invented NanoAOD-like file with 64-bit event numbers, and what the service adds to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from columnservice.model import Column, Keys, Member, Ragged, plain

from ..support.wire_server import ServedDataset, Table, as_reference
from .files import write_tree

ROWS = 24
MUONS = np.arange(ROWS) % 3
PARTS = np.arange(ROWS) % 5


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def local_keys() -> Keys:
    return Keys(
        np.full(ROWS, 3, np.uint32),
        np.arange(ROWS, dtype=np.uint32) // 4,
        np.arange(ROWS, dtype=np.uint64) * np.uint64(7) + np.uint64(2**63 + 2**53),
    )


def write_small(path: Path) -> str:
    """The local file: muons, a scalar and the keys; its UUID."""
    keys = local_keys()
    muons = ak.unflatten(np.linspace(1, 50, MUONS.sum(), dtype=np.float32), MUONS)
    arrays = {
        "run": ak.Array(keys.run),
        "luminosityBlock": ak.Array(keys.lumi),
        "event": ak.Array(keys.event),
        "MET_pt": ak.Array(np.linspace(0, 9, ROWS, dtype=np.float32)),
        "MET_phi": ak.Array(np.zeros(ROWS, np.float32)),
        "Muon": ak.zip(
            {
                "pt": muons,
                "eta": muons * 0,
                "phi": muons * 0,
                "mass": muons * 0,
                "charge": ak.values_astype(muons * 0, np.int32),
            }
        ),
    }
    return write_tree(path, "Events", arrays)


def _column(name: str, dtype: str, depth: int = 0, **more) -> Column:
    shape = name.partition("_")[0] if depth else None
    return Column(name, (Member("", dtype),), depth, shape=shape, collection=shape, **more)


def remote_columns() -> tuple[list[Column], dict[str, Ragged]]:
    """Columns of every kind: scalars, a new collection, more fields for the muons, nested ones."""
    muon, part = _offsets(MUONS), _offsets(PARTS)
    m, p = int(MUONS.sum()), int(PARTS.sum())
    inner = _offsets(np.arange(m) % 4)
    values = {
        "rho": plain(np.arange(ROWS, dtype=np.float64) + 0.5),
        "npu": plain(np.arange(ROWS, dtype=np.int32) + 1),
        "good": plain(np.ones(ROWS, np.bool_)),
        "nPFCands": plain(PARTS.astype(np.int32)),
        "PFCands_pt": plain(np.arange(p, dtype=np.float32) + 1, part),
        "PFCands_eta": plain(np.zeros(p, np.float32), part),
        "PFCands_phi": plain(np.zeros(p, np.float32), part),
        "PFCands_mass": plain(np.zeros(p, np.float32), part),
        "PFCands_charge": plain(np.ones(p, np.int8), part),
        "parent:Muon_pt": plain(np.linspace(1, 50, m, dtype=np.float32), muon),
        "Muon_dxy": plain(np.arange(m, dtype=np.float32) + 1, muon),
        "Muon_hits": plain(np.arange(m, dtype=np.uint8) + 1, muon),
        "Muon_tight": plain(np.ones(m, np.bool_), muon),
        "Muon_times": plain(np.arange(inner[-1], dtype=np.float32), muon, inner),
        "Muon_link": Ragged(
            (muon,),
            {"key": np.arange(m, dtype=np.uint32) + 1, "index": np.arange(m, dtype=np.uint32)},
        ),
    }
    columns = [
        _column("rho", "float64"),
        _column("npu", "int32"),
        _column("good", "bool"),
        _column("nPFCands", "int32", counts_of="PFCands"),
        *(_column(f"PFCands_{f}", "float32", 1) for f in ("pt", "eta", "phi", "mass")),
        _column("PFCands_charge", "int8", 1),
        _column("Muon_dxy", "float32", 1, doc="distance in cm", source="slimmedMuons.obj.dxy_"),
        _column("Muon_hits", "uint8", 1),
        _column("Muon_tight", "bool", 1),
        _column("Muon_times", "float32", 2),
        Column("Muon_link", (Member("key", "uint32"), Member("index", "uint32")), 1, shape="Muon"),
        _column("Muon_lost", "float32", 1, support="unsupported", reason="its product is unsplit"),
        _column("event", "uint64", origin="local"),
        as_reference(_column("Muon_pt", "float32", 1)),
    ]
    return columns, values


@dataclass
class Small:
    """The file and the table that a test may spoil."""

    path: Path
    uuid: str
    served: ServedDataset

    @property
    def table(self) -> Table:
        return self.served.tables[self.uuid]

    def tree(self, options: dict) -> uproot.TTree:
        return uproot.open(self.path, **options["uproot_options"])["Events"]


def serve_small(path: Path, uuid: str, name: str = "small") -> ServedDataset:
    columns, values = remote_columns()
    table = Table(local_keys(), values, np.ones(ROWS, np.bool_), batch_rows=5)
    return ServedDataset(name, "nanoaod", columns, {uuid: table})
