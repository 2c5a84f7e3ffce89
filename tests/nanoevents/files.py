"""Local files made by leaving branches out of experiment files, and what the service would add."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from columnservice.model import Column, Keys, Member, Ragged

from ..support.wire_server import ServedDataset, Table, as_reference

PF = ("PFCands", "JetPFCands", "FatJetPFCands")
# Half of all branches, which no test looks at: the time that uproot takes to write a tree goes with
# the square of their number, and all tests open the files again and again.
TRIGGERS = ("HLT_", "L1_", "AnalysisTrigMatch")


def ragged_of(array: ak.Array) -> Ragged:
    """An awkward array's values as plain arrays, copied; the independent way back."""
    layout = ak.to_packed(array).layout
    offsets = []
    while isinstance(layout, ak.contents.ListOffsetArray):
        offsets.append(np.array(layout.to_ListOffsetArray64(True).offsets.data))
        layout = layout.content
    if isinstance(layout, ak.contents.RecordArray):
        fields = zip(layout.fields, layout.contents, strict=True)
        return Ragged(tuple(offsets), {f: np.array(c.data) for f, c in fields})
    return Ragged(tuple(offsets), {"": np.array(ak.to_numpy(layout))})


def members_of(ragged: Ragged) -> tuple[Member, ...]:
    return tuple(
        Member(name, values.dtype.newbyteorder("=").name) for name, values in ragged.content.items()
    )


def same(a: ak.Array, b: ak.Array) -> bool:
    """Whether values and nesting are equal, NaN equal to NaN, whatever documentation says."""
    return ak.array_equal(
        ak.materialize(a), ak.materialize(b), equal_nan=True, check_parameters=False
    )


def native(ragged: Ragged) -> Ragged:
    content = {m: v.astype(v.dtype.newbyteorder("=")) for m, v in ragged.content.items()}
    return Ragged(ragged.offsets, content)


def write_nanoaod(source: Path, target: Path, drop: Callable[[str], bool]) -> str:
    """A NanoAOD file without triggers and some other branches; its UUID."""
    tree = uproot.open(source)["Events"]
    simple = (uproot.AsDtype, uproot.AsJagged)
    names = [
        k
        for k, b in tree.iteritems()
        if not k.startswith(TRIGGERS) and isinstance(b.interpretation, simple)
    ]
    groups = {k.split("_")[0] for k in names}
    arrays: dict[str, ak.Array] = {}
    lists: dict[str, dict[str, ak.Array]] = {}
    for name in names:
        if drop(name) or (name.startswith("n") and name[1:] in groups):
            continue
        array, group = tree[name].array(), name.split("_")[0]
        if array.ndim == 2 and name != group:
            lists.setdefault(group, {})[name[len(group) + 1 :]] = array
        else:
            arrays[name] = array
    arrays.update({group: ak.zip(fields) for group, fields in lists.items()})
    return write_tree(target, "Events", arrays)


def write_tree(target: Path, name: str, arrays: dict[str, ak.Array]) -> str:
    with uproot.recreate(target) as file:
        file.mktree(name, {k: v.type.content for k, v in arrays.items()})
        file[name].extend(arrays)
    with uproot.open(target) as file:
        return str(file.file.uuid)


def nanoaod_keys(path: Path) -> Keys:
    tree = uproot.open(path)["Events"]
    run, lumi, event = (tree[k].array(library="np") for k in ("run", "luminosityBlock", "event"))
    return Keys(run.astype(np.uint32), lumi.astype(np.uint32), event.astype(np.uint64))


def nanoaod_columns(path: Path, names: Iterable[str]) -> tuple[list[Column], dict[str, Ragged]]:
    """Columns of a NanoAOD file as a service would list and deliver them, from a direct read."""
    tree = uproot.open(path)["Events"]
    columns, values = [], {}
    for name in names:
        array = tree[name].array()
        ragged = native(ragged_of(array))
        group, _, field = name.partition("_")
        counts = name[1:] if name.startswith("n") and not ragged.depth else None
        columns.append(
            Column(
                name,
                members_of(ragged),
                ragged.depth,
                collection=group if ragged.depth else None,
                field=field or None,
                shape=group if ragged.depth else None,
                counts_of=counts,
                doc=tree[name].title,
                source=name,
            )
        )
        values[name] = ragged
    return columns, values


def shared_with(tree: uproot.TTree, names: Iterable[str], mark: str) -> list[str]:
    """Directions and momenta that stay in the local file, of collections that get more fields."""
    gone = set(names)
    groups = {name.partition(mark)[0] for name in gone}
    shared = {f"{g}{mark}{f}" for g in groups for f in ("pt", "eta", "phi")} - gone
    return [n for n in tree.keys() if n in shared and tree[n].typename != "float"]  # noqa: SIM118


def referring(
    columns: list[Column], values: dict[str, Ragged]
) -> tuple[list[Column], dict[str, Ragged]]:
    """The same, as the parent's version of local Columns."""
    return [as_reference(c) for c in columns], {f"parent:{n}": v for n, v in values.items()}


@cache
def _offered(
    columns_of: Callable[[Path, Iterable[str]], tuple[list[Column], dict[str, Ragged]]],
    keys_of: Callable[[Path], Keys],
    tree: str,
    mark: str,
    full: Path,
    names: tuple[str, ...],
) -> tuple[list[Column], dict[str, Ragged], Keys]:
    """What a Dataset of the full file would add, and its keys; each file is read once."""
    columns, values = columns_of(full, names)
    shared = shared_with(uproot.open(full)[tree], names, mark)
    more, theirs = referring(*columns_of(full, shared))
    return columns + more, {**values, **theirs}, keys_of(full)


def serve_nanoaod(
    name: str, full: Path, uuid: str, names: Iterable[str], present: np.ndarray | None = None
) -> ServedDataset:
    """A Dataset that adds columns of the full file to one local file."""
    columns, values, keys = _offered(
        nanoaod_columns, nanoaod_keys, "Events", "_", full, tuple(names)
    )
    here = np.ones(len(keys), np.bool_) if present is None else present
    return ServedDataset(name, "nanoaod", [*columns], {uuid: Table(keys, {**values}, here)})


ATLAS_KEYS = tuple(f"EventInfoAuxDyn.{n}" for n in ("runNumber", "lumiBlock", "eventNumber"))


def write_physlite(source: Path, target: Path, keep: Callable[[str], bool]) -> str:
    """A PHYSLITE file with some simple branches only; its UUID."""
    tree = uproot.open(source)["CollectionTree"]
    simple = (uproot.AsDtype, uproot.AsJagged)
    arrays = {
        name: branch.array()
        for name, branch in tree.iteritems()
        if "/" not in name
        and not name.startswith(TRIGGERS)
        and isinstance(branch.interpretation, simple)
        and not isinstance(branch.interpretation, uproot.AsStridedObjects)
        and (name in ATLAS_KEYS or keep(name))
    }
    return write_tree(target, "CollectionTree", arrays)


def physlite_keys(path: Path) -> Keys:
    tree = uproot.open(path)["CollectionTree"]
    run, lumi, event = (tree[k].array(library="np") for k in ATLAS_KEYS)
    return Keys(run.astype(np.uint32), lumi.astype(np.uint32), event.astype(np.uint64))


def physlite_columns(path: Path, names: Iterable[str]) -> tuple[list[Column], dict[str, Ragged]]:
    """Columns of a PHYSLITE file, each its own shape, links as records."""
    tree = uproot.open(path)["CollectionTree"]
    columns, values = [], {}
    for name in names:
        array = tree[name].array()
        if any("." in field for field in array.fields):
            array = ak.zip({f.rpartition(".")[2]: array[f] for f in array.fields})
        ragged = native(ragged_of(array))
        depth = ragged.depth
        container, _, field = name.partition(".")
        columns.append(
            Column(
                name,
                members_of(ragged),
                depth,
                collection=container,
                field=field,
                shape=name if depth else None,
                source=name,
            )
        )
        values[name] = ragged
    return columns, values


def serve_physlite(
    name: str, full: Path, uuid: str, names: Iterable[str], present: np.ndarray | None = None
) -> ServedDataset:
    """A Dataset that adds columns of the full file to one local file."""
    columns, values, keys = _offered(
        physlite_columns, physlite_keys, "CollectionTree", ".", full, tuple(names)
    )
    here = np.ones(len(keys), np.bool_) if present is None else present
    return ServedDataset(name, "physlite", [*columns], {uuid: Table(keys, {**values}, here, 30)})
