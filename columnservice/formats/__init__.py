"""Experiment formats: which tree, which EventKeys, and how branches become Columns.

``FORMATS`` names them all; ``apply`` makes a Column's values from what the reader read. Knows file
layouts; reads no data but luminosity trees and names (of triggers, of b-tags), opens nothing, and
knows no dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from columnservice.errors import NoTree, RequestError, nearest
from columnservice.formats.decode import apply, compile_kernels
from columnservice.formats.discovery import is_hollow
from columnservice.formats.format import Format, Witness, event_tree
from columnservice.formats.miniaod import AOD, MINIAOD
from columnservice.formats.nanoaod import NANOAOD
from columnservice.formats.ntuple import CLASS_NAME, NTuple
from columnservice.formats.ragged import ragged_from_layout
from columnservice.formats.xaod import DAOD, PHYSLITE
from columnservice.model import FormatName, digest_of

if TYPE_CHECKING:
    from uproot import ReadOnlyDirectory

    from columnservice.formats.format import Tree

__all__ = [
    "FORMATS",
    "Format",
    "Witness",
    "apply",
    "compile_kernels",
    "find_tree",
    "format_named",
    "layout_digest",
    "ragged_from_layout",
]

FORMATS: Mapping[FormatName, Format] = {
    fmt.name: fmt for fmt in (NANOAOD, MINIAOD, AOD, PHYSLITE, DAOD)
}

# Counted up when the same layout would offer other Columns or Recipes.
OFFER_VERSION = 13


def format_named(name: str) -> Format:
    """The Format of that name; RequestError with the names there are."""
    for fmt in FORMATS.values():
        if fmt.name == name:
            return fmt
    raise RequestError(
        f"no format {name!r}; {nearest(name, FORMATS)}".strip("; "),
        f"Formats are {', '.join(FORMATS)}.",
    )


def find_tree(directory: ReadOnlyDirectory, fmt: Format) -> Tree:
    """The event tree of a Format in an open file; NoTree names the trees that the file has."""
    for name in fmt.trees:
        tree = event_tree(directory, name)
        if tree is not None and (fmt.ntuples or not isinstance(tree, NTuple)):
            return tree
    kinds = directory.classnames(recursive=False, cycle=False)
    trees = [name for name, kind in kinds.items() if kind == "TTree"]
    tuples = [name for name, kind in kinds.items() if kind == CLASS_NAME]
    held = f"it has {', '.join(trees)}" if trees else "it has no TTree"
    if tuples and fmt.ntuples:
        held += f"; it has the RNTuple {', '.join(tuples)}"
    elif tuples:
        held += f"; {', '.join(tuples)} is an RNTuple, which is not read as {fmt.name}"
    raise NoTree(
        f"{directory.file.file_path}: no tree {' or '.join(fmt.trees)} ({fmt.name}); {held}.",
        "Name the format that the file has, or another file.",
    )


def _described(tree: Tree) -> Iterator[tuple[Any, ...]]:
    """All that decides how each branch is offered, without interpreting it."""
    if isinstance(tree, NTuple):
        yield from tree.described()
        return
    for path, branch in tree.iteritems(recursive=True, full_paths=True):
        stored = [
            branch.member(name, none_if_missing=True)
            for name in ("fClassName", "fClassVersion", "fCheckSum", "fType", "fStreamerType")
        ]
        leaves = [
            (leaf.classname, leaf.member("fTitle"), leaf.member("fIsUnsigned"))
            for leaf in branch.member("fLeaves")
        ]
        counter = branch.count_branch
        counts = counter.name if counter is not None else ""
        yield path, branch.title, stored, is_hollow(branch), leaves, counts


def layout_digest(tree: Tree, fmt: Format) -> str:
    """A hash of a tree's layout: equal layouts offer equal Columns by equal Recipes."""
    return digest_of(OFFER_VERSION, fmt.name, list(_described(tree)), fmt.data_names(tree))
