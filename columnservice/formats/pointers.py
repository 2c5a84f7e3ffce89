"""The packed candidates that a jet is made of: EDM pointers as indices into ``PFCands``.

A jet of MiniAOD keeps its constituents as ``vector<edm::Ptr<reco::Candidate>>``. A pointer holds
the number of a product and a place in it; which branch the number means is told by the file
(``BranchIDLists`` in its ``MetaData`` tree) and by the event (``BranchListIndexes``): list
``BranchListIndexes[processIndex − 1]`` holds at place ``productIndex − 1`` the CRC-32 of the
branch's name. Sources: CMSSW DataFormats/Provenance (``ProductID.h``, ``BranchID.cc``) and
FWCore/Framework/src/ProductIDConverter (``branchIDToProductID``).

Knows branches and their bytes; of the file only its metadata.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from columnservice.errors import DamagedFile
from columnservice.formats.discovery import Readable
from columnservice.formats.format import tree_named
from columnservice.formats.places import Names
from columnservice.formats.products import Product, parse_product, reading_cost
from columnservice.formats.tables import Parameters
from columnservice.model import (
    BranchRead,
    Column,
    Member,
    OfferedColumn,
    Ragged,
    Recipe,
    plain,
)

if TYPE_CHECKING:
    from uproot import TTree

LISTS, LISTS_OF_EVENT = "BranchIDLists", "BranchListIndexes"
CANDIDATES = ("patPackedCandidates", "packedPFCandidates")
CONSTITUENTS = ("dau", "std::vector<edm::Ptr<reco::Candidate>>[]")
FIELD = "pfCandIdx"
# What is made of packed candidates; the constituents of gen jets are other particles.
COMPOSITES = ("patJets", "recoVertexCompositePtrCandidates")

Place = tuple[int, int, int]
"""processIndex and productIndex of a product, and the list that names it."""


def candidates_of(tree: TTree) -> dict[str, Place]:
    """How pointers to packed candidates are marked in a file; empty where it does not tell.

    Returns:
        Branch of the candidates → its numbers.
    """
    meta = tree_named(tree.file.root_directory, "MetaData")
    if meta is None or LISTS not in meta or not meta.num_entries or LISTS_OF_EVENT not in tree:
        return {}
    marks = {}
    for branch in tree.branches:
        parsed = parse_product(branch.name)
        if parsed and not parsed[1] and (parsed[0].friendly_class, parsed[0].label) == CANDIDATES:
            marks[zlib.crc32(branch.name.encode("ascii"))] = branch.name
    found: dict[str, Place] = {}
    if marks:
        for number, listed in enumerate(meta[LISTS].array(library="ak")[0].to_list()):
            for place, mark in enumerate(listed):
                if mark in marks:
                    found[marks[mark]] = (number + 1, place + 1, number)
    return found


def pointed(
    product: Product,
    made: Mapping[str, OfferedColumn],
    places: Mapping[str, Sequence[int]],
    names: Names,
) -> Iterator[OfferedColumn]:
    """The Column of indices into the packed candidates, where a product's objects point there.

    Args:
        product: of objects in vectors.
        made: the Columns of its members as they are, by member.
        places: of ``candidates_of``.
        names: that are taken; that of the Column is added.
    """
    if len(places) != 1 or product.name is None or product.name.friendly_class not in COMPOSITES:
        return
    (numbers,) = places.values()
    for leaf in product.leaves:
        member = leaf.member.rpartition(".")[2]
        store = made[leaf.member].column
        if (member, leaf.typename) != CONSTITUENTS or leaf.vector is None or not store.collection:
            continue
        siblings = [
            other
            for other in product.leaves
            if other.vector == leaf.vector
            and isinstance(other.found, Readable)
            and other.found.depth == 1
        ]
        if not siblings:
            continue
        name = names.column(f"{store.collection}_{FIELD}")
        column = replace(
            store,
            name=name,
            members=(Member("", "int32"),),
            depth=2,
            field=FIELD,
            shape=store.collection,
            support="ok",
            reason="",
            doc="constituents as places in PFCands, -1 for what is in another collection",
        )
        sibling = min(siblings, key=reading_cost)
        reads = (
            BranchRead(leaf.path, raw=True),
            BranchRead(sibling.path),
            BranchRead(LISTS_OF_EVENT),
        )
        yield OfferedColumn(column, Recipe(name, reads, "pointer_keys", numbered(numbers)))


def holds_places(column: Column) -> bool:
    """Whether a Column holds places among packed candidates, one or a list for each object."""
    return (column.field or "").endswith(FIELD)


def numbered(numbers: Sequence[int]) -> tuple[tuple[str, float], ...]:
    """A product's numbers as a Recipe's parameters."""
    return tuple(zip(("process", "product", "list"), map(float, numbers), strict=True))


def demand_numbering(lists: Ragged, parameters: Parameters) -> None:
    """Refuse events that number the lists of products otherwise than the file's product is marked.

    Args:
        lists: the event's numbers of lists.
        parameters: ``process``, ``product`` and ``list`` of the product.
    """
    told = lists.offsets[0][:-1] + int(parameters["process"]) - 1
    if np.any(told >= lists.offsets[0][1:]) or np.any(lists.values[told] != parameters["list"]):
        raise DamagedFile("events do not number their products as the file does.")


def pointer_keys(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """Places in one product that objects point to, -1 for pointers into others.

    Args:
        inputs: bytes of ``vector<edm::Ptr<T>>`` members; any member of the same objects; the
            event's numbers of lists.
        parameters: ``process``, ``product`` and ``list`` of the product.

    Raises:
        DamagedFile: the bytes are not understood, or an event numbers its lists otherwise.
    """
    from columnservice.formats.pointerwalk import walk

    raw, objects, lists = inputs
    process, product = (int(parameters[n]) for n in ("process", "product"))
    demand_numbering(lists, parameters)
    if len(raw) != len(objects) or raw.values.dtype != np.uint8:
        raise DamagedFile("bytes of pointers do not belong to the same rows.")
    offsets = objects.offsets[0]
    inner = np.zeros(int(offsets[-1]) + 1, np.int64)
    keys = np.empty(len(raw.values) // 14 + 1, np.int32)
    row = walk(raw.offsets[0], raw.values, offsets, process, product, inner, keys)
    if row >= 0:
        raise DamagedFile(f"pointers of row {row} are not stored as they are understood.")
    return plain(keys[: inner[-1]].copy(), offsets, inner)
