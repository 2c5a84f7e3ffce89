"""The packed candidates that leptons and photons of MiniAOD are, as places in ``PFCands``.

A muon's ``refToOrig_`` is the candidate that its PFCandidate became; electrons and photons are made
of several, listed beside the product that they stand in; of taus each kind of constituent is such a
list. Sources: CMSSW PhysicsTools/PatAlgos/plugins (``PATMuonSlimmer``, ``PATElectronSlimmer``,
``PATPhotonSlimmer``, ``PATTauSlimmer``, ``linkToPackedPFCandidates``) and
DataFormats/PatCandidates/interface/Electron.h (``associatedPackedPFCandidates``).

How a file and an event number their products is told in ``formats.pointers``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from columnservice.errors import DamagedFile
from columnservice.formats.discovery import Readable
from columnservice.formats.places import Names
from columnservice.formats.pointers import FIELD, LISTS_OF_EVENT, demand_numbering, numbered
from columnservice.formats.products import Leaf, Product, own_parts
from columnservice.formats.streamed import BESIDE, parameters_of
from columnservice.formats.tables import Parameters
from columnservice.model import BranchRead, Member, OfferedColumn, Ragged, Recipe, plain

_ASSOCIATED = ("packedPFCandidates_.product_", "associatedPackedFCandidateIndices_", "")
# Class of the objects → the member that marks the product, that with the places, what comes before
# the field's name.
MEMBERS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "patMuons": (("refToOrig_.core_", "refToOrig_.key_", ""),),
    "patElectrons": (_ASSOCIATED,),
    "patPhotons": (_ASSOCIATED,),
    "patTaus": tuple(
        (f"{kind}CandPtrs_.core_", f"{kind}CandPtrs_.indicies_", f"{kind}_")
        for kind in (
            "signalChargedHadr", "signalNeutralHadr", "signalGamma",
            "isolationChargedHadr", "isolationNeutralHadr", "isolationGamma",
        )
    ),
}  # fmt: skip
_CORE_BYTES = 6  # version, processIndex, productIndex: u2 each
_LARGEST = np.iinfo(np.int32).max


def associated(
    product: Product,
    made: Mapping[str, OfferedColumn],
    places: Mapping[str, Sequence[int]],
    names: Names,
) -> Iterator[OfferedColumn]:
    """Columns of places in the packed candidates, where a product's objects refer to them.

    Args:
        product: of objects in vectors.
        made: the Columns of its members as they are, by member.
        places: of ``pointers.candidates_of``.
        names: that are taken; those of the Columns are added.
    """
    wanted = MEMBERS.get(product.name.friendly_class, ()) if product.name else ()
    if len(places) != 1:
        return
    (numbers,) = places.values()
    leaves = {".".join(own_parts(leaf.member)): leaf for leaf in product.leaves if leaf.vector}
    for mark, key, before in wanted:
        if mark not in leaves or key not in leaves:
            continue
        found, place = leaves[key].found, made[leaves[key].member].column
        if not isinstance(found, Readable) or place.collection is None:
            continue
        field = f"{before}{FIELD}"
        name = names.column(f"{place.collection}_{field}")
        column = replace(
            place,
            name=name,
            members=(Member("", "int32"),),
            field=field,
            shape=place.collection,
            doc=f"{before.rstrip('_') or 'the object'} as place in PFCands, -1 for none there",
        )
        yield OfferedColumn(column, _recipe(name, leaves[mark], leaves[key], numbered(numbers)))


def _recipe(
    name: str, mark: Leaf, key: Leaf, told: tuple[tuple[str, float], ...]
) -> Recipe:  # fmt: skip
    """How places are read from two branches, or from two members of objects stored whole."""
    lists = BranchRead(LISTS_OF_EVENT)
    if mark.taken is None or key.taken is None:
        reads = (BranchRead(mark.path, raw=True), BranchRead(key.path), lists)
        return Recipe(name, reads, "candidate_keys", told)
    reads = (BranchRead(mark.path, raw=True), BranchRead(key.path, raw=True), lists)
    more = (*told, (BESIDE, 0.0))
    return Recipe(
        name, reads, "streamed", parameters_of((mark.taken, key.taken), "candidate_keys", more)
    )


def candidate_keys(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """Places in one product that objects refer to: int32, -1 for references into others, or none.

    Args:
        inputs: what marks the product of each object, as bytes of ``edm::RefCore`` or as uint32
            (processIndex, then productIndex); its place there, or its list of places; the event's
            numbers of lists.
        parameters: as for ``pointers.pointer_keys``.

    Raises:
        DamagedFile: marks and places are not of the same objects, or an event numbers its lists
            otherwise.
    """
    marks, keys, lists = inputs
    demand_numbering(lists, parameters)
    if len(marks) != len(keys) or len(lists) != len(keys):
        raise DamagedFile("references do not belong to the same rows.")
    objects = keys.offsets[0]
    told = _marks(marks, objects) if marks.values.dtype == np.uint8 else marks.values
    if marks.depth != 1 or len(told) != objects[-1]:
        raise DamagedFile("references do not belong to the same objects.")
    wanted = int(parameters["process"]) << 16 | int(parameters["product"])
    here = told == wanted
    if keys.depth > 1:
        here = np.repeat(here, np.diff(keys.offsets[1]))
    here &= keys.values <= _LARGEST
    return plain(np.where(here, keys.values, 0).astype(np.int32) - ~here, *keys.offsets)


def _marks(raw: Ragged, objects: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The numbers in bytes of ``edm::RefCore``, one for each object."""
    if not np.array_equal(raw.offsets[0], objects * _CORE_BYTES):
        raise DamagedFile("references are not stored as they are understood.")
    words = raw.values.reshape(-1, _CORE_BYTES)[:, 2:]
    marks: NDArray[np.uint32] = np.ascontiguousarray(words).view(">u4")[:, 0].astype(np.uint32)
    return marks
