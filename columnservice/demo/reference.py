"""The same result without the service: plain uproot, a dictionary of EventKeys, and a loop.

Written down independently of formats, reader and alignment, so that it can judge them: the keys are
cut out of the parents' bytes, the codes are decoded by formulas of their own, and every parent
event is looked up in a dictionary of the local ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from columnservice.demo import atlas, cms
from columnservice.demo.generate import Pair
from columnservice.demo.isolation import Result, around, concatenate, pair_mass
from columnservice.errors import MissingParent

Events = dict[str, ak.Array]

_CHUNK_EVENTS = 500
_CMS_KEYS = ("run", "luminosityBlock", "event")
_CMS_MEMBERS = ("packedPt_", "packedEta_", "packedPhi_", "packedPuppiweight_", "pdgId_")
_CMS_FIELDS = ("pt", "eta", "phi", "pdgId", "puppiWeight")
_ATLAS_KEYS = tuple(f"{atlas.EVENT}.{name}" for name in ("runNumber", "lumiBlock", "eventNumber"))
_ATLAS_TRACK = ("phi", "theta", "qOverP", "z0")
_ATLAS_BALANCE = f"{atlas.MUONS}.momentumBalanceSignificance"


def _local_cms(path: Path) -> tuple[list[Any], Events]:
    with uproot.open(path) as file:
        tree = file[cms.LOCAL_TREE]
        keys = [tree[name].array() for name in _CMS_KEYS]
        names = ("pt", "eta", "phi", "charge", "genPartFlav")
        muons = ak.zip({name: tree[f"Muon_{name}"].array() for name in names})
    muons = ak.with_field(muons, muons.genPartFlav == 1, "prompt")
    return list(zip(*(k.to_list() for k in keys), strict=True)), {"muons": muons}


def _local_atlas(path: Path) -> tuple[list[Any], Events]:
    with uproot.open(path) as file:
        tree = file[atlas.LOCAL_TREE]
        keys = [tree[name].array() for name in _ATLAS_KEYS]
        names = ("pt", "eta", "phi", "charge", "truthType")
        muons = ak.zip({name: tree[f"{atlas.MUONS}.{name}"].array() for name in names})
    muons = ak.with_field(muons, muons.truthType == 6, "prompt")
    return list(zip(*(k.to_list() for k in keys), strict=True)), {"muons": muons}


def _parent_keys_cms(chunk: Any) -> list[Any]:
    raw: NDArray[np.uint8] = np.asarray(ak.to_regular(chunk["EventAuxiliary"]))
    words = [
        np.ascontiguousarray(raw[:, begin:end]).view(kind).ravel().tolist()
        for begin, end, kind in ((35, 39, ">u4"), (39, 43, ">u4"), (43, 51, ">u8"))
    ]
    return list(zip(*words, strict=True))


def _parent_keys_atlas(chunk: Any) -> list[Any]:
    return list(zip(*(chunk[name].to_list() for name in _ATLAS_KEYS), strict=True))


def _decode_cms(chunk: Any) -> Events:
    """PF candidates; formulas of CMSSW's PackedCandidate::unpack, in float64."""
    codes = {member: chunk[cms.parent_branch(cms.CANDIDATES, member)] for member in _CMS_MEMBERS}
    counts = ak.num(codes["pdgId_"])
    flat = {name: np.asarray(ak.flatten(array)) for name, array in codes.items()}
    pt = flat["packedPt_"].astype(np.uint16).view(np.float16).astype(np.float64)
    below = np.where((pt * 10).astype(np.int64) % 2 == 0, 1.0, -1.0)
    below *= np.where(pt < 1, 0.1 * pt, 0.1 / np.maximum(pt, 1e-9))
    phi = (flat["packedPhi_"].astype(np.uint16).view(np.int16) + below) * 3.2 / 32767
    columns = {
        "pt": pt,
        "eta": flat["packedEta_"].astype(np.uint16).view(np.int16) * 6.0 / 32767,
        "phi": phi,
        "pdgId": flat["pdgId_"].astype(np.int64),
        "puppiWeight": flat["packedPuppiweight_"] / 255,
    }
    candidates = ak.unflatten(ak.zip(columns), counts)
    weight = ak.where(abs(candidates.pdgId) == 13, 0.0, candidates.pt * candidates.puppiWeight)
    return {"particles": ak.with_field(candidates, weight, "weight")}


def _decode_atlas(chunk: Any) -> Events:
    branches = {name: chunk[f"{atlas.TRACKS}.{name}"] for name in _ATLAS_TRACK}
    tracks = {name: ak.values_astype(array, np.float64) for name, array in branches.items()}
    weight = np.sin(tracks["theta"]) / abs(tracks["qOverP"])
    tracks["weight"] = ak.where(abs(tracks["z0"]) < 2.0, weight, 0.0)
    tracks["eta"] = -np.log(np.tan(tracks["theta"] / 2))
    return {"particles": ak.zip(tracks), "balance": chunk[_ATLAS_BALANCE]}


def _sum(values: ak.Array) -> NDArray[np.float64]:
    return np.asarray(ak.sum(ak.values_astype(values, np.float64), axis=1))


def _result_cms(local: Events, parent: Events) -> Result:
    muons, candidates = local["muons"], parent["particles"]
    return Result(
        around(muons, candidates),
        muons.prompt,
        pair_mass(muons, 1.0),
        {f"PFCands_{n}": _sum(candidates[n]) for n in _CMS_FIELDS},
    )


def _result_atlas(local: Events, parent: Events) -> Result:
    muons, tracks, balance = local["muons"], parent["particles"], parent["balance"]
    balanced = abs(balance) < 3
    sums = {f"{atlas.TRACKS}.{name}": _sum(tracks[name]) for name in _ATLAS_TRACK}
    return Result(
        (around(muons, tracks) - 1)[balanced],
        muons.prompt[balanced],
        pair_mass(muons, 1e-3),
        {**sums, _ATLAS_BALANCE: _sum(balance)},
    )


def _parent_chunks(pair: Pair) -> Iterator[Any]:
    names = {
        "cms": ("EventAuxiliary", *(cms.parent_branch(cms.CANDIDATES, m) for m in _CMS_MEMBERS)),
        "atlas": (
            *_ATLAS_KEYS,
            _ATLAS_BALANCE,
            *(atlas.parent_branch(atlas.TRACKS, v) for v in _ATLAS_TRACK),
        ),
    }[pair.experiment]
    for path in pair.parents:
        with uproot.open(path) as file:
            tree = file[pair.parent_tree]
            for start in range(0, tree.num_entries, _CHUNK_EVENTS):
                stop = start + _CHUNK_EVENTS
                yield {n: tree[n].array(entry_start=start, entry_stop=stop) for n in names}


def reference(pair: Pair) -> Result:
    """The analysis by a direct read of the parents, in local order.

    Raises:
        MissingParent: a local event stands in none of the parents.
    """
    is_cms = pair.experiment == "cms"
    keys, local = (_local_cms if is_cms else _local_atlas)(pair.local)
    row_of = {key: row for row, key in enumerate(keys)}
    results, rows = [], []
    for chunk in _parent_chunks(pair):
        found = (_parent_keys_cms if is_cms else _parent_keys_atlas)(chunk)
        wanted = [row for row, key in enumerate(found) if key in row_of]
        if not wanted:
            continue
        here = [row_of[found[row]] for row in wanted]
        parent = (_decode_cms if is_cms else _decode_atlas)(chunk)
        parent = {name: array[wanted] for name, array in parent.items()}
        mine = {name: array[here] for name, array in local.items()}
        results.append((_result_cms if is_cms else _result_atlas)(mine, parent))
        rows.extend(here)
    if sorted(rows) != list(range(len(keys))):
        raise MissingParent(f"the parents hold {len(set(rows))} of {len(keys)} local events.")
    order, whole = np.argsort(rows), concatenate(results)
    return Result(
        whole.isolation[order],
        whole.prompt[order],
        whole.mass_gev[order],
        {name: values[order] for name, values in whole.sums.items()},
    )
