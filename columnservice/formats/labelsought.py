"""The labels that stand in a file's first and last events.

Knows how CMSSW stores values under labels (``formats.labels``), and the branches; reads only these
events.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from columnservice.errors import DamagedFile
from columnservice.formats.discovery import is_hollow
from columnservice.formats.labels import FACTORS, MEMBERS, Labelled

if TYPE_CHECKING:
    from uproot import TTree

# Labels are looked for in the first events; in more of them only while no object was seen. And in
# the last ones, as far as they stand in one basket: what only some objects have comes late.
FIRST_EVENTS = (100, 1000, 10000)
LAST_EVENTS = 100


def _text(data: bytes, at: int) -> tuple[str, int]:
    """The text at a position and where it ends."""
    length, at = data[at], at + 1
    if length == 255:
        (length,) = struct.unpack_from(">I", data, at)
        at += 4
    if at + length > len(data):
        raise ValueError("a text ends behind its entry")
    return data[at : at + length].decode("ascii"), at + length


def _texts(data: bytes, at: int, count: int) -> tuple[list[str], int]:
    found = []
    for _ in range(count):
        text, at = _text(data, at)
        found.append(text)
    return found, at


def labels_of_entry(data: bytes, member: Labelled) -> set[str]:
    """All labels of one event's bytes.

    Raises:
        ValueError, struct.error, IndexError: the bytes are laid out in another way.
    """
    count, version = struct.unpack_from(">IH", data)
    if count & 0x3FFFFFFF != len(data) - 4 or bool(version & 0x4000) != bool(member.size):
        raise ValueError("neither memberwise pairs nor texts")
    at, found = 6, set[str]()
    if member.size:
        at += 2 if data[6:8] != b"\0\0" else 6
    while at < len(data):
        (labels,) = struct.unpack_from(">I", data, at)
        at += 4
        header = 6 if member.size and labels else 0
        here, at = _texts(data, at + header, labels)
        at += labels * member.size
        found.update(here)
    if at != len(data):
        raise ValueError("an entry ends before its values")
    return found


def first_entries(branch: Any, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of some of a branch's entries."""
    from uproot import AsDtype, AsJagged

    raw = branch.array(AsJagged(AsDtype("u1")), entry_start=start, entry_stop=stop, library="ak")
    for entry in raw:
        yield np.asarray(entry).tobytes()


def levels_of_entry(data: bytes) -> set[str]:
    """All levels of the first sets of one event's ``pat::JetCorrFactors``; else as above."""
    count, version = struct.unpack_from(">IH", data)
    if count & 0x3FFFFFFF != len(data) - 4 or not version & 0x4000:
        raise ValueError("no memberwise vector")
    at, found = 8 if data[6:8] != b"\0\0" else 12, set[str]()
    while at < len(data):
        (sets,) = struct.unpack_from(">I", data, at)
        at += 4
        if not sets:
            continue
        at += 4 + (struct.unpack_from(">I", data, at)[0] & 0x3FFFFFFF)
        (size,) = struct.unpack_from(">I", data, at)
        levels = at + (8 if data[at + 6 : at + 8] != b"\0\0" else 12)
        at += 4 + (size & 0x3FFFFFFF)
        (number,) = struct.unpack_from(">I", data, levels)
        here, _ = _texts(data, levels + 10, number) if number else ([], 0)
        found.update(here)
    if at != len(data):
        raise ValueError("an entry ends before its values")
    return found


Entries = Callable[[Any, int, int], Iterator[bytes]]


def labels_in(branch: Any, member: Labelled, read: Entries | None = None) -> tuple[str, ...] | None:
    """The labels in a branch's first and last events, sorted; None where its bytes are unknown.

    Args:
        branch: that holds the labels, perhaps among other things.
        member: what is known of them.
        read: gives the member's bytes of some entries; None where the branch holds nothing else.
    """

    def seen(start: int, stop: int) -> set[str]:
        entries = tuple((read or first_entries)(branch, start, stop))
        if member.typename == FACTORS:
            return set().union(*(levels_of_entry(entry) for entry in entries))
        return set().union(*(labels_of_entry(entry, member) for entry in entries))

    start, end = 0, int(branch.num_entries)
    found: set[str] = set()
    try:
        for last in FIRST_EVENTS:
            stop = min(last, end)
            found |= seen(start, stop)
            start = stop
            if found or stop == end:
                break
        begin = max(start, end - LAST_EVENTS, *branch.entry_offsets[-2:-1])
        if begin < end:
            found |= seen(begin, end)
    except (ValueError, struct.error, IndexError, DamagedFile):
        return None
    return tuple(sorted(found))


def labels_of(tree: TTree) -> dict[str, tuple[str, ...] | None]:
    """The labels of every branch of a tree that has some, by the branch's path."""
    found = {}
    for path, branch in tree.iteritems(recursive=True, full_paths=True):
        member = MEMBERS.get(branch.name.rpartition(".")[2])
        if member is None or branch.branches or is_hollow(branch):
            continue
        if branch.typename == member.typename:
            found[path] = labels_in(branch, member)
    return found
