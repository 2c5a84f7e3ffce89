"""What a branch holds, found out without reading it: item type and number of jagged axes.

A branch is readable only if its C++ type says so: numbers, vectors of numbers to any depth, and
ATLAS element links inside two vectors. uproot offers an interpretation for much more, which fails
when it is read, or gives silent garbage (facts/formats.md: ``edm::RefCore``, whose streamer writes
a version in front of every element; vectors of classes, which may be stored memberwise).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from columnservice.model import Member

# Names that uproot gives to C++ number types (``typename`` of a branch, without vectors).
_NUMBER = re.compile(
    r"bool|char|float|double|u?int(8|16|32|64)_t|(unsigned )?(char|short|int|long( long)?)"
    r"|Float16_t|Double32_t|(U?Char|U?Short|U?Int|U?Long64|Float|Double|Bool)_t"
)
# TVirtualStreamerInfo::kMissing, as TBranchElement::fOffset: when the file was written, the class
# in memory lacked this member of the stored class, and ROOT wrote empty entries for it.
_MISSING = 99999

_REFERENCE = re.compile(
    r"edm::(RefCore|Ref<|RefVector|RefProd|RefToBase|reftobase|Ptr<|PtrVector|FwdPtr|FwdRef"
    r"|ProductID|AtomicPtrCache|OwnVector|ValueMap|AssociationMap|Association)"
)
_TEXT = ("string", "std::string", "TString", "char*")
_CONTAINER = re.compile(r"\b(map|multimap|unordered_map|set|unordered_set|bitset|list|deque)<")
_VECTOR = re.compile(r"(?:std::)?vector<(.*)>")
_ARRAY = re.compile(r"(.*?)(?:\[\d*\])+")


@dataclass(frozen=True)
class Readable:
    """A branch that can be read: the item's Members below ``depth`` jagged axes."""

    members: tuple[Member, ...]
    depth: int

    @property
    def item_bytes(self) -> int:
        """Size of one item."""
        return sum(np.dtype(m.dtype).itemsize for m in self.members)


@dataclass(frozen=True)
class Refused:
    """A branch that is not read, and why."""

    reason: str


def item_type(typename: str) -> str:
    """The C++ type below all vectors and arrays: ``float`` of ``std::vector<float>[]``."""
    inner = typename.strip()
    while match := _ARRAY.fullmatch(inner) or _VECTOR.fullmatch(inner):
        inner = match[1].strip()
    return inner


def is_element_link(typename: str) -> bool:
    """Whether a C++ type is one ATLAS ElementLink (key of a container, index into it)."""
    return typename.startswith("ElementLink<")


def is_hollow(branch: Any) -> bool:
    """Whether a branch has entries without content, whatever its neighbours hold."""
    return bool(branch.member("fOffset", none_if_missing=True) == _MISSING)


def _reason_for_type(typename: str, item: str) -> str | None:
    """Why branches of this C++ type are not read; None if they may be."""
    if match := _REFERENCE.search(typename):
        return (
            f"a reference into another product ({match[0].rstrip('<')}): "
            "its streamer is its own, and uproot reads it as garbage"
        )
    if item in _TEXT:
        return "text: only numbers are delivered"
    if match := _CONTAINER.search(typename):
        return f"a {match[1]}: only numbers and vectors of numbers are delivered"
    if item.endswith("*"):
        return f"a pointer ({item})"
    if not _NUMBER.fullmatch(item) and not is_element_link(item):
        return (
            f"objects of class {item} stored whole (not split, perhaps memberwise): "
            "only numbers and vectors of numbers are delivered"
        )
    return None


def _record(form: Any) -> Readable | Refused:
    """Members of a flat record."""
    members = [(name, form.content(name)) for name in form.fields]
    if not members or not all(c.is_numpy and not c.inner_shape for _, c in members):
        return Refused("a record of records or lists: only flat records are delivered")
    return Readable(tuple(Member(name, c.primitive) for name, c in members), 0)


def _walk(form: Any) -> Readable | Refused:
    """Members and depth of an Awkward Form of numbers in lists."""
    if form.is_record:
        return _record(form)
    if form.is_numpy:
        return Readable((Member("", form.primitive),), len(form.inner_shape))
    if not form.is_list or form.parameter("__array__") is not None:
        return Refused(f"not numbers in lists ({form.parameter('__array__') or form.type})")
    inner = _walk(form.content)
    return inner if isinstance(inner, Refused) else Readable(inner.members, inner.depth + 1)


def _refusal(branch: Any) -> str | None:
    """Why a branch is not read, as far as its C++ type and uproot's interpretation tell."""
    from uproot import AsJagged, AsObjects, AsStridedObjects, AsStrings
    from uproot.interpretation.numerical import Numerical

    found, typename = branch.interpretation, branch.typename
    if is_hollow(branch):
        return "nothing is stored: the class lacked this member when it was written"
    if isinstance(found, AsStrings):
        return "text: only numbers are delivered"
    if typename == "unknown":
        return "uproot knows no interpretation for it"
    items = found.content if isinstance(found, AsJagged) else found
    # AsStridedObjects is a Numerical to uproot, but its items are classes
    if isinstance(items, Numerical) and not isinstance(items, AsStridedObjects):
        return None
    if is_element_link(item_type(typename)) and not isinstance(found, AsObjects):
        return "an element link that is neither split nor inside two vectors"
    return _reason_for_type(typename, item_type(typename))


def discover(branch: Any) -> Readable | Refused:
    """What a leaf branch of an uproot TTree holds; reads no basket.

    Args:
        branch: an ``uproot.TBranch`` without sub-branches.
    """
    from uproot.interpretation.objects import CannotBeAwkward

    reason = _refusal(branch)
    if reason is not None:
        return Refused(reason)
    try:
        return _walk(branch.interpretation.awkward_form(branch.file))
    except CannotBeAwkward as problem:
        return Refused(f"uproot cannot turn it into an array ({problem})")
