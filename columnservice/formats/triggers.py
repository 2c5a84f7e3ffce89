"""Trigger results of EDM files: a Column per path where the file names them, and all by number.

Knows the bytes of ``edm::TriggerResults`` and the menus of the file; neither reads any events.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from columnservice.errors import DamagedFile
from columnservice.formats.menus import Menus
from columnservice.formats.places import Names
from columnservice.formats.products import Leaf
from columnservice.formats.tables import Parameters
from columnservice.model import BranchRead, Column, Member, OfferedColumn, Ragged, Recipe, plain

TYPE = "edm::TriggerResults"
# edm::hlt::HLTState in the low two bits: 0 ready, 1 pass, 2 fail, 3 exception. Source: CMSSW
# DataFormats/Common/interface/HLTenums.h and HLTPathStatus.h.
STATE_MASK, PASS = 3, 1
# Paths that are the trigger's, and not steps of the production that ran it in one process.
HLT_PATHS = ("HLT", "DST_", "AlCa_", "MC_", "L1_", "Dataset_")
# In a Recipe: number of a path that a menu lacks; what follows a menu's hash where its number of
# paths is told.
NOT_THERE, PATHS = -1.0, ".paths"
_VERSION = re.compile(r"_v\d+$")
# How a path's Column says which it is (``paths`` writes it, ``path_of`` reads it).
_DOC = "whether {} of process {} accepted the event"
_TOLD = re.compile(_DOC.format("([^ ,]+)(?:, [^ ,]+)*", "([^ ]+)"))
_EITHER = (
    "a trigger menu lists several of {}, and the name without a version could mean any of them; "
    "those with a version are offered by name, all by number"
)


@dataclass(frozen=True)
class _Results:
    """Where the states of each row stand in its bytes, and the hash of each row's menu."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    strides: NDArray[np.int64]
    counts: NDArray[np.int64]
    menus: NDArray[np.uint8]

    def passed(self, rows: NDArray[np.int64], paths: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether paths by number were accepted in those rows."""
        low = self.starts[rows] + paths * self.strides[rows] + 1
        found: NDArray[np.bool_] = (self.data[low] & STATE_MASK) == PASS
        return found


def _results(inputs: Sequence[Ragged]) -> _Results:
    from columnservice.formats.memberwise import path_places

    (raw,) = inputs
    rows = len(raw)
    if raw.depth != 1 or raw.values.dtype != np.uint8:
        raise DamagedFile("trigger results hold something else than bytes.")
    starts, strides, counts = (np.zeros(rows, np.int64) for _ in range(3))
    menus = np.zeros((rows, 16), np.uint8)
    row = path_places(raw.offsets[0], raw.values, starts, strides, counts, menus)
    if row >= 0:
        raise DamagedFile(f"trigger results of row {row} are not one of the known layouts.")
    return _Results(raw.values, starts, strides, counts, menus)


def trigger_counts(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """The number of paths of every event: int32."""
    return plain(_results(inputs).counts.astype(np.int32))


def trigger_bits(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Whether each path accepted the event, in order of the event's menu: lists of bool."""
    found = _results(inputs)
    offsets = np.concatenate(([0], np.cumsum(found.counts))).astype(np.int64)
    rows = np.repeat(np.arange(len(found.counts)), found.counts)
    return plain(found.passed(rows, np.arange(offsets[-1]) - offsets[rows]), offsets)


def trigger_path(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """Whether one path accepted each event: bool, False where the event's menu lacks the path.

    Args:
        inputs: bytes of TriggerResults.
        parameters: for each menu of the file, by its hash, the path's number in it or -1, and
            under ``<hash>.paths`` the number of paths.

    Raises:
        DamagedFile: an event has another menu, or another number of paths than its menu.
    """
    found = _results(inputs)
    known = np.zeros(len(found.counts), bool)
    passed = np.zeros(len(found.counts), bool)
    for menu, path in parameters.items():
        if menu.endswith(PATHS):
            continue
        here = (found.menus == np.frombuffer(bytes.fromhex(menu), np.uint8)).all(axis=1)
        if (found.counts[here] != int(parameters[f"{menu}{PATHS}"])).any():
            raise DamagedFile("trigger results hold another number of paths than their menu.")
        known |= here
        rows = np.flatnonzero(here)
        if path >= 0:
            passed[rows] = found.passed(rows, np.full(len(rows), int(path)))
    if not known.all():
        row = int(np.flatnonzero(~known)[0])
        raise DamagedFile(
            f"the trigger menu of row {row} is none of those that the file lists.",
            "Ask for the paths by number, and for their names in the production's configuration.",
        )
    return plain(passed)


def _bare(path: str) -> str:
    """A path's name without its version; a name that would still end in one stays as it is.

    So a name that ends in a version is that very path's wherever it stands.
    """
    bare = _VERSION.sub("", path)
    return path if _VERSION.search(bare) else bare


def _public(menus: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Path → its name without the version (``HLT_IsoMu24_v4`` → ``HLT_IsoMu24``), as in NanoAOD.

    Paths that differ in their version only keep it in all menus, if one menu has several of them:
    without it, a name would leave out those that another menu has under other names.
    """
    several = _several(menus)
    listed = (path for paths in menus.values() for path in paths)
    return {path: path if _bare(path) in several else _bare(path) for path in listed}


def _several(menus: Mapping[str, tuple[str, ...]]) -> Mapping[str, str]:
    """Names without a version that several paths of one menu have → the paths, as a text."""
    crowded = {
        name
        for paths in menus.values()
        for name, count in Counter(map(_bare, paths)).items()
        if count > 1
    }
    found: dict[str, dict[str, None]] = {name: {} for name in crowded}
    for path in (path for paths in menus.values() for path in paths):
        if _bare(path) in found:
            found[_bare(path)][path] = None
    return {name: ", ".join(paths) for name, paths in found.items()}


def path_of(column: Column) -> tuple[str, str] | None:
    """(path without its version, process) that a Column tells of; None if it is no path's."""
    told = _TOLD.fullmatch(column.doc)
    return None if told is None else (_bare(told[1]), told[2])


def is_trigger_results(leaf: Leaf) -> bool:
    """Whether a branch holds TriggerResults as a whole."""
    return leaf.typename == TYPE


def bits(leaf: Leaf, base: str, names: Names) -> tuple[OfferedColumn, OfferedColumn]:
    """All paths by number, as ``<base>Bits``, and their counts."""
    name, reads = names.collection(f"{base}Bits", leaf.path), (BranchRead(leaf.path, raw=True),)
    counts = Column(
        names.column(f"n{name}"), (Member("", "int32"),), 0, counts_of=name,
        doc=f"number of {name}", source=leaf.path,
    )  # fmt: skip
    column = Column(
        names.column(name), (Member("", "bool"),), 1, name, None, name,
        doc="whether each path accepted the event, in order of the event's trigger menu",
        source=leaf.path,
    )  # fmt: skip
    return (
        OfferedColumn(counts, Recipe(counts.name, reads, "trigger_counts")),
        OfferedColumn(column, Recipe(name, reads, "trigger_bits")),
    )


def _name(path: str, process: str, base: str, names: Names) -> str:
    """A path's Column name: its own for HLT paths and event flags, else behind its product's.

    A name that another process has is followed by ``_p`` and the process, as NanoAOD does it.
    """
    own = path.startswith("Flag_") or (process == "HLT" and path.startswith(HLT_PATHS))
    wanted = (path, f"{path}_p{process}") if own else ()
    taken = names.columns | names.collections.keys()
    free = (n for n in wanted if n not in taken and n.partition("_")[0] not in taken)
    return names.column(next(free, f"{base}_{path}"))


def paths(
    process: str, leaf: Leaf, base: str, menus: Menus, names: Names
) -> Iterator[OfferedColumn]:
    """One Column per path of all menus that the file has of a process.

    A path without a version beside versions of it (``HLT_X`` and ``HLT_X_v5`` in one menu) is
    refused: where a menu has only the latter, the same name stands for that.

    Args:
        process: whose TriggerResults they are.
        leaf: the branch of TriggerResults.
        base: the product's name.
        menus: of all processes of the file.
        names: that are taken; the paths' are added.
    """
    of_process = menus.get(process, {})
    public, several = _public(of_process), _several(of_process)
    for name in dict.fromkeys(public.values()):
        numbers: list[tuple[str, float]] = []
        for menu, listed in of_process.items():
            number = next((i for i, path in enumerate(listed) if public[path] == name), NOT_THERE)
            numbers += [(menu, float(number)), (f"{menu}{PATHS}", float(len(listed)))]
        chosen = _name(re.sub(r"\W", "_", name), process, base, names)
        collection, _, field = chosen.partition("_")
        listed_as = ", ".join(path for path in public if public[path] == name)
        column = Column(
            chosen, (Member("", "bool"),), 0, collection if field else None, field or None,
            doc=_DOC.format(listed_as, process), source=leaf.path,
        )  # fmt: skip
        if name in several:
            reason = _EITHER.format(several[name])
            yield OfferedColumn(replace(column, support="unsupported", reason=reason), None)
            continue
        reads = (BranchRead(leaf.path, raw=True),)
        yield OfferedColumn(column, Recipe(chosen, reads, "trigger_path", tuple(numbers)))
