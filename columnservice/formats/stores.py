"""Values under labels in objects that are stored whole: b-tags of AK8 jets, IDs of taus.

What stands under labels is one member of the objects; cut out of an entry it is what a branch of
that member alone would hold, and is read by the same decoders (``formats.labels``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from columnservice.formats.classes import ClassMember, stores_of
from columnservice.formats.discovery import Refused, is_hollow
from columnservice.formats.labels import MEMBERS, Labelled
from columnservice.formats.labelsought import labels_in
from columnservice.formats.products import Leaf
from columnservice.formats.streamed import EMPTY, OBJECTS, PAIRS, TEXTS, cut, parameters_of
from columnservice.model import Member

if TYPE_CHECKING:
    from uproot import TTree

STORED = "values under labels, in objects that are stored whole"


def label_stores(streamers: Any, classname: str) -> Iterator[tuple[Labelled, ClassMember]]:
    """Members of a class that keep values under labels, and how each is cut out of its objects."""
    for name, (typename, program) in stores_of(streamers, classname).items():
        kind = MEMBERS.get(name)
        if kind is not None and _plain(kind.typename.removesuffix("[]")) == _plain(typename):
            told = PAIRS if kind.size else TEXTS
            yield kind, ClassMember(name, Member("", told), 0, program)


def _plain(typename: str) -> str:
    return typename.replace("std::", "").replace(" ", "")


def key_of(path: str, member: str) -> str:
    """What the labels of a member of a branch's objects are known by."""
    return f"{path}:{member.rpartition('.')[2]}"


def labels_of_whole(tree: TTree, classes: Mapping[str, str]) -> dict[str, tuple[str, ...] | None]:
    """The labels of the first events' objects, for each member that keeps values under some.

    Args:
        tree: of the events.
        classes: the class of the objects of each branch that is one vector of them, by its path.
    """
    found = {}
    for path, classname in classes.items():
        branch = tree[path]
        read: dict[tuple[int, int], Any] = {}
        if is_hollow(branch):
            continue
        for kind, store in label_stores(branch.file.streamers, classname):
            entries = _Entries(store, read)
            found[key_of(path, store.name)] = labels_in(branch, kind, entries)
    return found


class _Entries:
    """One member's bytes of a branch's entries; what was read once is not read again."""

    def __init__(self, store: ClassMember, read: dict[tuple[int, int], Any]) -> None:
        self._store, self._read = store, read

    def __call__(self, branch: Any, start: int, stop: int) -> Iterator[bytes]:
        from uproot import AsDtype, AsJagged

        from columnservice.formats.ragged import ragged_from_layout

        if (start, stop) not in self._read:
            where: dict[str, Any] = {"entry_start": start, "entry_stop": stop, "library": "ak"}
            array = branch.array(AsJagged(AsDtype("u1")), **where)
            self._read[start, stop] = ragged_from_layout(array.layout)
        raw = self._read[start, stop]
        member, _ = cut(raw, self._store.program, EMPTY[self._store.item.dtype])
        for begin, end in itertools.pairwise(member.offsets[0].tolist()):
            yield member.values[begin:end].tobytes()


def store_leaves(streamers: Any, classname: str, leaf: Leaf) -> Iterator[Leaf]:
    """A leaf for each member of a branch's whole objects that keeps values under labels."""
    for _, store in label_stores(streamers, classname):
        yield replace(
            leaf, member=f"{leaf.member}.{store.name}", vector=leaf.member,
            found=Refused(STORED), taken=store,
        )  # fmt: skip


def store_parameters(
    kind: Labelled, store: ClassMember, values: ClassMember | None,
    label: Sequence[tuple[str, float]],
) -> tuple[tuple[str, float], ...]:  # fmt: skip
    """The parameters of the Recipe of one label, or without one those that all labels share."""
    beside = values or replace(OBJECTS, program=store.program)
    return parameters_of((store, beside), kind.decode, label)
