"""Programs that find members of unsplit objects in their bytes, from the file's own StreamerInfo.

CMSSW stores many vectors whole (``std::vector<pat::Muon>`` in one branch). ROOT writes such a one
memberwise: a header, the version of the class, the number of objects, then one member after the
other, each for all objects; members of base classes stand in place of the base. A member that is an
object has a header of its own for each object, a vector or a text one header for all. A *program*
says, member by member, what is passed over and what is taken; each number below stands behind its
letter, programs are text so that a Recipe can hold them:

    V v:c   the class's version, or the checksum that stands for it
    F n     n bytes for each object            C n   n members with one header for all objects
    E n     n members with a header each       P n   n pointers
    ( v:c   into a member object, of a version or checksum; until )
    T n     take n bytes for each object       L n   take a list of n-byte items for each object

    X 0     take a member with one header for all objects as it is, header and all

or, alone, ``I n``: each vector holds n-byte numbers, not objects (an ``enum`` to ROOT).

Checked on bytes of real files against members that stand in branches of their own, see
tests/formats/test_streamed.py. Knows StreamerInfo; reads no events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.model import Member

# TVirtualStreamerInfo::EReadWrite: numbers and how they are stored (Double32_t without a range as a
# float), kOffsetL for arrays of fixed length, objects by value.
_NUMBERS = {
    1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float32", 6: "int32", 8: "float64",
    9: "float32", 11: "uint8", 12: "uint16", 13: "uint32", 14: "uint64", 16: "int64",
    17: "uint64", 18: "bool",
}  # fmt: skip
_ARRAY, _OBJECTS, _POINTERS, _STL = 20, (61, 62), (64, 69), 500
_BITS = 15
_LIST = re.compile(r"(?:std::)?vector<([\w ]+)>")
_ITEMS = {
    "float": "float32", "double": "float64", "int": "int32", "unsigned int": "uint32",
    "short": "int16", "unsigned short": "uint16", "char": "int8", "unsigned char": "uint8",
    "Long64_t": "int64", "long": "int64", "ULong64_t": "uint64", "unsigned long": "uint64",
    "float32": "float32",
}  # fmt: skip
# Their streamers are their own and write no byte count; as members of a vector's items they are
# not known. Within an object with a byte count, as in ``edm::Ptr``, a RefCore is its version and
# the two numbers of a product (seen in real files: ``edm::Ref`` in the tracks that muons hold).
_OWN_STREAMER = ("edm::RefCore", "edm::RefCoreWithIndex")
_CORE, _CORE_VERSION_BYTES, _CORE_MARK_BYTES = "edm::RefCore", 2, 4
MARK = "mark"
"""Type of a member that marks a product: its processIndex and productIndex."""
_DEEPEST = 8

CODES = {letter: number for number, letter in enumerate("VFCEP()TLIX")}


@dataclass(frozen=True)
class ClassMember:
    """A number, or a list of numbers, that each object of a class holds.

    Attributes:
        name: where it stands: ``m_state.p4Polar_.fCoordinates.fPt``.
        item: the number's type.
        depth: 0 for a number, 1 for a list.
        program: finds it.
    """

    name: str
    item: Member
    depth: int
    program: str


class _Unknown(Exception):
    """A class has a member whose bytes cannot be passed over."""


def members_of(streamers: Any, classname: str) -> tuple[ClassMember, ...]:
    """What can be taken of every object of a class in an unsplit vector; none if it is not known.

    Args:
        streamers: of the file: class → version → uproot's StreamerInfo.
        classname: of the vector's items.
    """
    try:
        info = _info(streamers, classname)
        begin = f"V{info.member('fClassVersion')}:{info.member('fCheckSum')}"
        return tuple(_found(streamers, list(_flat(streamers, info, 0)), begin, "", ""))
    except _Unknown:
        return ()


def stores_of(streamers: Any, classname: str) -> Mapping[str, tuple[str, str]]:
    """Members with one header for all objects: name → C++ type, and program that cuts it out.

    What is cut out of an entry is what a branch of that member alone would hold.
    """
    try:
        info = _info(streamers, classname)
        elements = list(_flat(streamers, info, 0))
        steps = [_step(element) for element in elements]
    except _Unknown:
        return {}
    begin = f"V{info.member('fClassVersion')}:{info.member('fCheckSum')}"
    found = {}
    for number, element in enumerate(elements):
        if steps[number][0] == "C":
            parts = (begin, _text(steps[:number]), "X0", _text(steps[number + 1 :]))
            program = " ".join(part for part in parts if part)
            found[element.member("fName")] = element.member("fTypeName"), program
    return found


def checksums(streamers: Any, classname: str) -> list[tuple[str, int, int]]:
    """Name, version and checksum of a class and of all that it is made of, by name."""
    found: dict[str, list[tuple[str, int, int]]] = {}

    def visit(name: str) -> None:
        if name in found:
            return
        found[name] = []
        for info in versions_of(streamers, name).values():
            found[name].append((name, info.member("fClassVersion"), info.member("fCheckSum")))
            for element in info.elements:
                visit(element.member("fName"))
                visit(element.member("fTypeName"))

    visit(classname)
    return sorted(one for versions in found.values() for one in versions)


def versions_of(streamers: Any, classname: str) -> Mapping[int, Any]:
    """What the file says of each version of a class; nothing where it never wrote an object."""
    found: Mapping[int, Any] = streamers.get(classname.replace("> >", ">>"), {})
    return found


def _info(streamers: Any, classname: str) -> Any:
    versions = versions_of(streamers, classname)
    if len(versions) != 1:
        raise _Unknown
    return next(iter(versions.values()))


def _flat(streamers: Any, info: Any, depth: int) -> Iterator[Any]:
    """The members of a class with those of its bases in their place."""
    if depth > _DEEPEST:
        raise _Unknown
    for element in info.elements:
        if _kind(element) == "TStreamerBase":
            yield from _flat(streamers, _info(streamers, element.member("fName")), depth + 1)
        else:
            yield element


def _kind(element: Any) -> str:
    """The class of a StreamerInfo's element: ``TStreamerBasicType``."""
    return type(element).__name__.removeprefix("Model_").partition("_")[0]


def _step(element: Any) -> tuple[str, int]:
    """How the bytes of a member are passed over: letter and number."""
    kind, code = _kind(element), int(element.member("fType"))
    length = int(element.member("fArrayLength"))
    if kind == "TStreamerBasicType":
        if "[" in element.member("fTitle") and code % _ARRAY == 9:
            raise _Unknown
        if code == _BITS:
            return "F", 4
        # an array of fixed length has the code of its items, or that and kOffsetL
        dtype = _NUMBERS.get(code - _ARRAY if length and code > _ARRAY else code)
        if dtype is not None:
            return "F", np.dtype(dtype).itemsize * max(length, 1)
    elif kind in ("TStreamerSTL", "TStreamerSTLstring") and code == _STL:
        if element.member("fName") != "This":
            return "C", 1
    elif kind in ("TStreamerObjectAny", "TStreamerObject") and code in _OBJECTS:
        if element.member("fTypeName") not in _OWN_STREAMER:
            return "E", 1
    elif kind in ("TStreamerObjectPointer", "TStreamerObjectAnyPointer") and code in _POINTERS:
        return "P", 1
    raise _Unknown


def _inner_step(element: Any) -> tuple[str, int]:
    """The same for a member of an object that has a byte count."""
    if _kind(element) == "TStreamerObjectAny" and element.member("fTypeName") == _CORE:
        return "F", _CORE_VERSION_BYTES + _CORE_MARK_BYTES
    return _step(element)


def _text(steps: Sequence[tuple[str, int]]) -> str:
    """Steps as text, equal ones that follow each other as one."""
    found: list[tuple[str, int]] = []
    for letter, number in steps:
        if found and found[-1][0] == letter:
            found[-1] = letter, found[-1][1] + number
        else:
            found.append((letter, number))
    return " ".join(f"{letter}{number}" for letter, number in found)


def _found(
    streamers: Any, elements: Sequence[Any], begin: str, end: str, within: str
) -> Iterator[ClassMember]:
    """Members at one level, and below those that are objects.

    Args:
        streamers: of the file.
        elements: of the level, in order.
        begin, end: the program before and behind the level.
        within: the level's name.
    """
    steps = [_inner_step(element) if within else _step(element) for element in elements]
    for number, element in enumerate(elements):
        before = " ".join(part for part in (begin, _text(steps[:number])) if part)
        behind = " ".join(part for part in (_text(steps[number + 1 :]), end) if part)
        name, typename = element.member("fName"), element.member("fTypeName")
        letter, size = steps[number]
        name = f"{within}.{name}" if within else name
        dtype = _NUMBERS.get(int(element.member("fType")))
        listed = _LIST.fullmatch(typename)
        if typename == _CORE:
            taken = f"F{_CORE_VERSION_BYTES} T{_CORE_MARK_BYTES}"
            yield ClassMember(name, Member("", MARK), 0, f"{before} {taken} {behind}".strip())
        elif letter == "F" and dtype is not None and not element.member("fArrayLength"):
            yield ClassMember(name, Member("", dtype), 0, f"{before} T{size} {behind}".strip())
        elif letter == "C" and listed and listed[1] in _ITEMS:
            item = Member("", _ITEMS[listed[1]])
            size = np.dtype(item.dtype).itemsize
            yield ClassMember(name, item, 1, f"{before} L{size} {behind}".strip())
        elif letter == "E" and within.count(".") < _DEEPEST:
            yield from _below(streamers, typename, before, behind, name)


def _below(
    streamers: Any, typename: str, before: str, behind: str, within: str
) -> Iterator[ClassMember]:
    """Members of a member that is an object without base classes; none where it is not known."""
    try:
        info = _info(streamers, typename)
        elements = list(info.elements)
        for element in elements:
            _inner_step(element)
    except _Unknown:
        return
    enter = f"{before} ({info.member('fClassVersion')}:{info.member('fCheckSum')}"
    yield from _found(streamers, elements, enter, f") {behind}".strip(), within)


@lru_cache(maxsize=4096)
def compiled(program: str) -> NDArray[np.int64]:
    """A program as the kernels take it: letter, number and checksum, where a ``(`` ends; by line.

    Raises:
        KeyError, ValueError: the text is no program.
    """
    lines, opened = [], []
    for number, word in enumerate(program.split()):
        first, _, second = word[1:].partition(":")
        lines.append([CODES[word[0]], int(first or 0), int(second or 0), 0])
        if word[0] == "(":
            opened.append(number)
        elif word[0] == ")":
            lines[opened.pop()][3] = number
    made = np.array(lines, np.int64)
    made.flags.writeable = False
    return made
