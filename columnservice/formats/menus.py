"""The names of trigger paths, from the parameter sets that an EDM file carries.

``edm::TriggerResults`` hold states by number and the hash of the parameter set that lists the
paths. The file's ``ParameterSets`` tree has that set, and the top-level set of each process, which
names the process and the hash. So the menus of every process of a file are known without reading an
event, of merged files (several menus of one process) too.

The text is CMSSW's ``ParameterSet::toString``: vectors of strings as ``+s({hex,hex})``, in newer
files as ``+z({NUL text NUL,…})``; single strings as ``+S(hex)`` or ``+Z(text NUL)``; the hash of
another set as ``+Q(hex)`` (FWCore/ParameterSet/src/types.cc). Untracked ones have ``-``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from columnservice.formats.format import tree_named

if TYPE_CHECKING:
    from uproot import TTree

BRANCH = "IdToParameterSetsBlobs"
# Of each process, by the hash of its parameter set (32 hexadecimal digits): the paths in order.
Menus = Mapping[str, Mapping[str, tuple[str, ...]]]

_PATHS = re.compile(rb"<@trigger_paths=[+-]([sz])\(\{(.*?)\}\)[;>]", re.DOTALL)
_PROCESS = re.compile(rb"[<;]@process_name=[+-](?:S\(([0-9A-Fa-f]*)\)|Z\(([^\0]*)\0\))")
_MENU = re.compile(rb"[<;]@trigger_paths=[+-]Q\(([0-9a-f]{32})\)")


def path_names(kind: bytes, listed: bytes) -> tuple[str, ...]:
    """The strings of a vector as a parameter set writes it.

    Args:
        kind: ``s`` for hexadecimal strings, ``z`` for text between NULs.
        listed: what stands between the braces.
    """
    if kind == b"z":
        return tuple(text.decode("ascii") for text in re.findall(rb"\0([^\0]*)\0", listed))
    codes = listed.decode("ascii").split(",") if listed else []
    return tuple(bytes.fromhex(code).decode("ascii") for code in codes)


def _hash_before(data: bytes, begin: int, text: int) -> str | None:
    """The hash of the entry that begins at a position and holds a text: 16 bytes behind a 16."""
    header = data[begin:text]
    found = re.match(
        rb"@\0\0[\x19\x1d](?:\0[^\0]|\0\0....)@\0\0\x13\0.\x10(.{16})", header, re.DOTALL
    )
    return None if found is None else found[1].hex()


def menus_in(data: bytes, entry_starts: list[int]) -> dict[str, dict[str, tuple[str, ...]]]:
    """The menus of every process; one that lists a path twice is not understood and left out.

    Args:
        data: the entries of the parameter sets' branch, one behind the other.
        entry_starts: where each begins, ascending.
    """
    starts = np.asarray(entry_starts)
    listed: dict[str, tuple[str, ...]] = {}
    for match in _PATHS.finditer(data):
        begin = int(starts[np.searchsorted(starts, match.start(), side="right") - 1])
        name = _hash_before(data, begin, match.start())
        paths = path_names(match[1], match[2])
        # A name that a menu lists twice would say of one path what holds of another.
        if name is not None and len(set(paths)) == len(paths):
            listed[name] = paths
    stops = np.append(starts[1:], len(data))
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for match in _PROCESS.finditer(data):
        stop = int(stops[np.searchsorted(starts, match.start(), side="right") - 1])
        menu = _MENU.search(data, match.end(), stop)
        hashed = "" if menu is None else menu[1].decode("ascii")
        if hashed in listed:
            coded = bytes.fromhex(match[1].decode("ascii")) if match[1] else match[2] or b""
            found.setdefault(coded.decode("ascii"), {})[hashed] = listed[hashed]
    return {process: dict(sorted(menus.items())) for process, menus in sorted(found.items())}


def menus_of(tree: TTree) -> dict[str, dict[str, tuple[str, ...]]]:
    """The menus that the file of an event tree carries; none where it has no parameter sets."""
    from uproot import AsDtype, AsJagged

    sets = tree_named(tree.file.root_directory, "ParameterSets")
    if sets is None or BRANCH not in sets or not sets.num_entries:
        return {}
    layout = sets[BRANCH].array(AsJagged(AsDtype("u1")), library="ak").layout
    compact = layout.to_ListOffsetArray64(True)
    offsets = np.asarray(compact.offsets.data)
    data = np.asarray(compact.content.data)[: int(offsets[-1])].tobytes()
    return menus_in(data, offsets[:-1].tolist())
