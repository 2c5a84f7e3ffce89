"""Which branches of an EDM file hold whole objects whose members can be told apart.

Vectors that are stored whole (``std::vector<pat::Muon>``), and vectors of at most one object that
objects of a split vector have (``specificPF_``), offer those members that are numbers or lists of
numbers, under the names that the members' own branches have in files that split them. A branch is
offered so only if its first events fit what the file says of the class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from columnservice.formats.classes import (
    MARK,
    ClassMember,
    checksums,
    members_of,
    versions_of,
)
from columnservice.formats.discovery import Readable, Refused, is_hollow
from columnservice.formats.products import Leaf, Product, class_of, reading_cost
from columnservice.formats.stores import labels_of_whole, store_leaves
from columnservice.formats.streamed import fits
from columnservice.formats.undescribed import holds_none
from columnservice.model import Member, digest_of

if TYPE_CHECKING:
    from uproot import TTree

OFFERED = "offered member by member, as far as members are numbers or lists of numbers"
# Members that CMSSW fills with no object or one: PATObject's embedded ones, and what is specific to
# a kind of jet or tau (DataFormats/PatCandidates/interface/{Jet,Tau,Muon,Electron}.h).
AT_MOST_ONE = (
    "specificPF_", "specificCalo_", "pfEssential_", "pfSpecific_", "gsfTrack_", "track_",
    "combinedMuon_", "standAloneMuon_", "genMET_", "pfMET_", "caloMET_",
)  # fmt: skip
# Members with as many objects as there are: shifts of MET by source of uncertainty, in order of
# pat::MET::METUncertainty, and corrections, in order of pat::MET::METCorrectionType.
LISTS = (
    "uncertainties_", "uncertaintiesRaw_", "uncertaintiesType1_", "uncertaintiesType1p2_",
    "corrections_",
)  # fmt: skip
MARKS = "marks a product, by numbers that only the file can tell the meaning of"
# Types that ROOT stores as numbers of 4 bytes: enums.
ENUMS = ("trigger::TriggerObjectType",)


def _class_of(typename: str, name: str) -> str | None:
    """The class whose objects a branch holds whole; None if it holds something else."""
    within = typename.endswith("[]")
    if within and name.rpartition(".")[2] not in (*AT_MOST_ONE, *LISTS):
        return None
    return class_of(typename)


def classes_of(tree: TTree) -> Mapping[str, str]:
    """A hash of what the file says of the classes that a branch holds whole, by its path."""
    found = {}
    for path, branch in tree.iteritems(recursive=True, full_paths=True):
        if branch.branches or is_hollow(branch):
            continue
        classname = _class_of(branch.typename, branch.name)
        if classname is not None:
            found[path] = digest_of(checksums(branch.file.streamers, classname))
    return found


def whole_labels(tree: TTree) -> dict[str, tuple[str, ...] | None]:
    """The labels under which objects that are stored whole keep values (``formats.stores``)."""
    classes = {}
    for path, branch in tree.iteritems(recursive=True, full_paths=True):
        typename = "" if branch.branches else branch.typename
        classname = None if typename.endswith("[]") else _class_of(typename, branch.name)
        if classname is not None:
            classes[path] = classname
    return labels_of_whole(tree, classes)


def with_members(tree: TTree, product: Product) -> Product:
    """A product with leaves for the members of objects that its branches hold whole, at the end.

    Leaves of vectors of numbers that uproot takes for objects become readable; those of objects
    that the file does not describe are marked.
    """
    leaves = tuple(_numbered(tree, product, leaf) for leaf in product.leaves)
    product = replace(product, leaves=leaves)
    leaves = tuple(_undescribed(tree, product, leaf) for leaf in product.leaves)
    product = replace(product, leaves=leaves)
    added = [new for leaf in product.leaves for new in _members(tree, product, leaf)]
    return replace(product, leaves=(*product.leaves, *added)) if added else product


def _numbered(tree: TTree, product: Product, leaf: Leaf) -> Leaf:
    """A leaf whose objects' vectors hold an enum, as numbers."""
    is_enum = class_of(leaf.typename) in ENUMS and leaf.vector is not None
    outer = _counting(product, leaf) if is_enum else None
    one = ClassMember("", Member("", "int32"), 0, "I4")
    if outer is None or not fits(tree[leaf.path], tree[outer], (one,)):
        return leaf
    return replace(leaf, found=Readable((one.item,), 2), taken=one, outer=outer)


def _undescribed(tree: TTree, product: Product, leaf: Leaf) -> Leaf:
    """A leaf of objects of a class that the file does not describe, marked, if it has none."""
    classname = _class_of(leaf.typename, leaf.member)
    if classname is None or not isinstance(leaf.found, Refused) or is_hollow(tree[leaf.path]):
        return leaf
    outer = _counting(product, leaf) if leaf.vector is not None else None
    branch = tree[leaf.path]
    if versions_of(branch.file.streamers, classname) or (leaf.vector is not None and outer is None):
        return leaf
    if not holds_none(branch, None if outer is None else tree[outer]):
        return leaf
    reason = f"no object of class {classname} is there, and the file does not describe the class"
    return replace(leaf, found=Refused(reason), outer=outer, undescribed=True)


def _members(tree: TTree, product: Product, leaf: Leaf) -> Iterator[Leaf]:
    classname = _class_of(leaf.typename, leaf.member)
    if classname is None or not isinstance(leaf.found, Refused) or is_hollow(tree[leaf.path]):
        return
    within = leaf.vector is not None
    outer = _counting(product, leaf) if within else None
    if within and outer is None:
        return
    branch = tree[leaf.path]
    found = members_of(branch.file.streamers, classname)
    lists = within and leaf.member.rpartition(".")[2] in LISTS
    if within:
        found = tuple(one for one in found if not one.depth and one.item.dtype != MARK)
    if not found or not fits(branch, None if outer is None else tree[outer], found):
        return
    if not within:
        yield from store_leaves(branch.file.streamers, classname, leaf)
    for one in found:
        depth = 2 if lists else 1 + one.depth
        yield replace(
            leaf,
            member=f"{leaf.member}.{one.name}",
            vector=leaf.vector if within else leaf.member,
            found=Refused(MARKS) if one.item.dtype == MARK else Readable((one.item,), depth),
            taken=one,
            outer=outer,
        )


def _counting(product: Product, leaf: Leaf) -> str | None:
    """The cheapest branch with one item per object of a leaf's vector."""
    fitting = [
        other
        for other in product.leaves
        if other.vector == leaf.vector
        and isinstance(other.found, Readable)
        and other.found.depth == 1
    ]
    best = min(fitting, key=reading_cost, default=None)
    return None if best is None else best.path
