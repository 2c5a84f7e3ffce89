"""EDM products: which branches of a CMS event tree belong together, and what to call them.

A product's branch is named ``<friendly class>_<label>_<instance>_<process>.``; below it stand its
members, split as far as CMSSW split them. Files written by uproot have no nested branches: there
each member is a branch of the tree, under the same full name, beside counters ``n<name>``.

Knows branch names and C++ types; nothing of Columns.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from columnservice.formats.auxiliary import EVENTS
from columnservice.formats.classes import ClassMember
from columnservice.formats.discovery import Readable, Refused, discover

if TYPE_CHECKING:
    from uproot import TTree

_PRODUCT = re.compile(r"([^_.]+)_([^_.]*)_([^_.]*)_([^_.]+)(?:\.(.*))?")
_SPLIT_VECTORS = (3, 4)  # TBranchElement::fType of a split TClonesArray or STL collection
_OBJECTS = re.compile(r"std::vector<([\w:]+(?:<.*>)?)>(\[\])?")
_BASE_CLASSES = ("edm::EDProduct", "edm::WrapperBase")


@dataclass(frozen=True)
class ProductName:
    """The four parts of an EDM product's branch name."""

    friendly_class: str
    label: str
    instance: str
    process: str


@dataclass(frozen=True)
class Leaf:
    """One branch that holds data.

    Attributes:
        path: full path in the tree.
        member: where it stands in its product: ``obj.packedPt_``; empty for the product itself.
        vector: the member that is the split vector it is part of (``obj``); None outside of one.
        found: what it holds.
        typename: its C++ type, as uproot spells it.
        taken: how it is taken out of objects that the branch holds whole; None where the branch
            holds nothing else.
        outer: path of a branch with one item per object, where those are vectors within objects.
        undescribed: whether it holds nothing, of a class that the file does not describe.
    """

    path: str
    member: str
    vector: str | None
    found: Readable | Refused
    typename: str = ""
    taken: ClassMember | None = None
    outer: str | None = None
    undescribed: bool = False


@dataclass(frozen=True)
class Product:
    """A product, or a branch that is none (``name`` None), with its leaves."""

    branch: str
    name: ProductName | None
    leaves: tuple[Leaf, ...]

    @property
    def is_useful(self) -> bool:
        """Whether its types are such that anything of it but its presence can be read.

        What a file can tell of objects that are stored whole does not count: names would depend on
        whether it holds some.
        """
        return any(
            (isinstance(le.found, Readable) and le.taken is None and le.member != "present")
            or (le.vector is None and class_of(le.typename) is not None)
            for le in self.leaves
        )


def class_of(typename: str) -> str | None:
    """The class of the objects in a vector of objects; None if a C++ type is another."""
    match = _OBJECTS.fullmatch(typename)
    if match is None or match[1].startswith(("std::", "vector<", "pair<", "edm::")):
        return None
    return match[1]


def parse_product(branch: str) -> tuple[ProductName, str] | None:
    """A product's name and the member behind it, from a branch name; None if it is no product's."""
    match = _PRODUCT.fullmatch(branch)
    if match is None:
        return None
    return ProductName(*match.group(1, 2, 3, 4)), match[5] or ""


def _member_of(branch: str, product: str) -> str:
    """A sub-branch's member path: its name without that of its product."""
    return branch.removeprefix(product.rstrip(".") + ".")


def own_parts(member: str) -> list[str]:
    """A member path's parts behind the wrapper's ``obj`` (and a SortedCollection's ``obj.obj``)."""
    parts = member.split(".") if member else []
    while parts and parts[0] == "obj":
        parts = parts[1:]
    return parts


def _leaves(branch: Any, product: str, path: str, vector: str | None) -> Iterator[Leaf]:
    """All leaves below a branch, in tree order."""
    for child in branch.branches:
        member, below = _member_of(child.name, product), f"{path}/{child.name}"
        if child.branches:
            split = child.member("fType", none_if_missing=True) in _SPLIT_VECTORS
            yield from _leaves(child, product, below, member if split else vector)
        elif not member.endswith(_BASE_CLASSES):
            found = discover(child)
            if vector is not None and isinstance(found, Readable) and found.depth == 0:
                found = Refused("one number per event inside a vector of objects")
            yield Leaf(below, member, vector, found, child.typename)


def _flat_vectors(product: Product) -> Product:
    """A product of a flat file, its members marked as parts of one vector where they are.

    Such a file names no C++ class, but a vector's friendly class name is a plural.
    """
    parts = [leaf for leaf in product.leaves if leaf.member.startswith("obj.")]
    jagged = all(isinstance(leaf.found, Readable) and leaf.found.depth for leaf in parts)
    if product.name is None or not product.name.friendly_class.endswith("s") or not jagged:
        return product
    leaves = tuple(replace(le, vector="obj") if le in parts else le for le in product.leaves)
    return replace(product, leaves=leaves)


def products(tree: TTree) -> tuple[Product, ...]:
    """Every product of an EDM event tree with its leaves, in tree order; counters are left out."""
    found: dict[str, Product] = {}
    counters = {b.count_branch.name for b in tree.branches if b.count_branch is not None}
    flat: dict[str, list[Leaf]] = {}
    for top in tree.branches:
        if top.branches:
            parsed = parse_product(top.name)
            leaves = tuple(_leaves(top, top.name, top.name, None))
            found[top.name] = Product(top.name, parsed[0] if parsed else None, leaves)
        elif top.name != EVENTS and not (top.name.startswith("n") and top.name in counters):
            parsed = parse_product(top.name)
            name, member = parsed or (None, "")
            branch = top.name.removesuffix(member).rstrip(".")
            flat.setdefault(branch, []).append(
                Leaf(top.name, member, None, discover(top), top.typename)
            )
            found[branch] = Product(branch, name, ())
    for branch, leaf_list in flat.items():
        found[branch] = _flat_vectors(replace(found[branch], leaves=tuple(leaf_list)))
    return tuple(found.values())


def reading_cost(leaf: Leaf) -> tuple[bool, int, int]:
    """What reading a readable branch costs, roughly: by nesting, then by the size of an item.

    What is taken out of whole objects costs most.
    """
    assert isinstance(leaf.found, Readable)
    return leaf.taken is not None, leaf.found.depth, leaf.found.item_bytes


def clean(part: str) -> str:
    """One part of a member path as part of a Column name: no array bounds, no trailing ``_``."""
    return re.sub(r"\W+", "_", re.sub(r"\[\d*\]", "", part)).strip("_")


def camel(*parts: str) -> str:
    """Parts joined without underscores: ``reducedEgamma``, ``reducedEBRecHits`` → one word."""
    words = [word for part in parts for word in clean(part).split("_") if word]
    return "".join(word if i == 0 else word[0].upper() + word[1:] for i, word in enumerate(words))


def _words(name: ProductName) -> tuple[str, ...]:
    """Words that a product could be called by, the preferred first."""
    return (
        camel(name.label, name.instance),
        camel(name.label, name.instance, name.process),
        camel(name.friendly_class, name.instance),
        camel(name.friendly_class, name.label, name.instance),
        camel(name.friendly_class, name.label, name.instance, name.process),
    )


def base_names(found: Iterable[Product]) -> dict[ProductName, str]:
    """For each product the first of its words that no other product could be called by.

    Products without anything useful step back: what they could be called by does not count
    against the others.
    """
    words = {p.name: _words(p.name) for p in found if p.name is not None}
    useful = {p.name for p in found if p.name is not None and p.is_useful}
    chosen: dict[ProductName, str] = {}
    for group in (useful, words.keys()):
        owners = Counter(word for name in group for word in set(words[name]))
        taken = set(chosen.values())
        for name in words.keys() & group - chosen.keys():
            free = (w for w in words[name] if owners[w] == 1 and w not in taken)
            chosen[name] = next(free, words[name][-1])
    return chosen
