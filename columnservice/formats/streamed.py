"""Members of objects that EDM files store whole: decoders, and the look that shows they hold.

A Recipe names programs (``formats.classes``) as parameters ``#<number>`` in front of the program,
one per branch read; what they find is handed to the decoder that ``>`` names, if there is one, with
the other parameters. Values are right or refused: versions, checksums and byte counts of every
object that is walked through must fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.errors import DamagedFile
from columnservice.formats.classes import MARK, ClassMember, compiled
from columnservice.formats.tables import Parameters
from columnservice.model import Member, Offsets, Ragged, plain

# Before Columns are offered their programs must fit the first events; of them more are looked at
# only while no object was seen.
FIRST_EVENTS = (20, 200, 2000)
ONE = "at most one"
"""Parameter: every object has at most one such member; those without have NaN, an integer the
smallest number of its type (the largest where that has no sign), a bool False."""

PAIRS, TEXTS = "pairs", "texts"
# Types of what is cut out of objects, and what a row without objects has of it: a header.
EMPTY: Mapping[str, bytes] = {
    PAIRS: b"\x40\0\0\x04\x40\x09\0\x01",
    TEXTS: b"\x40\0\0\x02\0\x09",
}
BESIDE = "beside"
"""Parameter: the last branch read is none of the objects'; the decoder gets it as it is."""
OBJECTS = ClassMember("", Member("", "objects"), 0, "")

Then = Callable[[str, Sequence[Ragged], Parameters], Ragged]


def parameters_of(
    found: Sequence[ClassMember], then: str = "", more: Sequence[tuple[str, float]] = ()
) -> tuple[tuple[str, float], ...]:
    """The parameters of a Recipe that takes these members.

    Args:
        found: in the order of the Recipe's reads.
        then: decoder that makes the values from them; empty to have the one as it is.
        more: its parameters.
    """
    programs = [
        (f"#{number}:{one.item.dtype}:{one.depth} {one.program}", 0.0)
        for number, one in enumerate(found)
    ]
    return (*programs, *([(f">{then}", 0.0)] if then else ()), *more)


def _walked(
    raw: Ragged, outer: Offsets, program: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Number of objects of each vector; of each object where its member begins, and its length."""
    from columnservice.formats.walks import walk

    if raw.depth != 1 or raw.values.dtype != np.uint8 or len(raw) != len(outer) - 1:
        raise DamagedFile("bytes of objects do not belong to the same rows.")
    ops, nothing = compiled(program), np.empty(0, np.int64)
    counts = np.zeros(int(outer[-1]), np.int64)
    bytes_ = raw.offsets[0], raw.values, outer
    row = walk(*bytes_, ops, counts, nothing, nothing)
    starts, lengths = (np.zeros(int(counts.sum()), np.int64) for _ in range(2))
    if row < 0 and len(starts):
        row = walk(*bytes_, ops, counts, starts, lengths)
    if row >= 0:
        raise DamagedFile(f"objects of row {row} are not stored as the file says of their class.")
    return counts, starts, lengths


def _numbers(data: NDArray[np.uint8], starts: NDArray[np.int64], dtype: str) -> NDArray[Any]:
    """Big-endian numbers at positions, as the machine has them."""
    stored = np.dtype(dtype).newbyteorder(">")
    spread = starts[:, None] + np.arange(stored.itemsize)
    numbers: NDArray[Any] = data[spread].reshape(-1).view(stored).astype(dtype)
    return numbers


def _taken(raw: Ragged, outer: Offsets | None, told: str) -> Ragged:
    """What one program finds; the axis of vectors within objects is kept."""
    kind, program = told.split(" ", 1)
    _, dtype, depth = kind.split(":")
    if dtype == MARK:
        dtype = "uint32"
    if dtype in EMPTY:
        return cut(raw, program, EMPTY[dtype])[0]
    if dtype == OBJECTS.item.dtype:
        return cut(raw, program, b"")[1]
    rows = np.arange(len(raw) + 1, dtype=np.int64) if outer is None else outer
    counts, starts, lengths = _walked(raw, rows, program)
    objects = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    above = (objects,) if outer is None else (outer, objects)
    if depth == "0":
        return plain(_numbers(raw.values, starts, dtype), *above)
    size = np.dtype(dtype).itemsize
    items = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    within = np.arange(items[-1]) - np.repeat(items[:-1], lengths)
    places = np.repeat(starts, lengths) + within * size
    return plain(_numbers(raw.values, places, dtype), *above, items)


def cut(raw: Ragged, program: str, empty: bytes) -> tuple[Ragged, Ragged]:
    """One member's bytes of every row, as a branch of its own would hold them; and the objects.

    Args:
        raw: bytes of unsplit vectors.
        program: that cuts the member out.
        empty: what stands for rows without objects.

    Returns:
        uint8 per row; the axis of objects around nothing that matters.
    """
    counts, starts, lengths = _walked(raw, np.arange(len(raw) + 1, dtype=np.int64), program)
    objects = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    held = counts > 0
    first = objects[:-1][held]
    data = np.concatenate((raw.values, np.frombuffer(empty, np.uint8)))
    begins = np.full(len(raw), len(raw.values), np.int64)
    sizes = np.full(len(raw), len(empty), np.int64)
    begins[held], sizes[held] = starts[first], lengths[first]
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    bytes_ = data[np.repeat(begins, sizes) + within]
    return plain(bytes_, offsets), plain(np.zeros(int(objects[-1]), np.uint8), objects)


def absent(dtype: np.dtype[Any]) -> Any:
    """What stands for a member that an object lacks: as for objects without a match."""
    if dtype.kind == "f":
        return np.nan
    if dtype.kind == "u":
        return np.iinfo(dtype).max
    return np.iinfo(dtype).min if dtype.kind == "i" else False


def _at_most_one(found: Ragged) -> Ragged:
    """One value per object of the outer axis."""
    outer, objects, values = found.offsets[0], found.offsets[1], found.values
    counts = np.diff(objects)
    if found.depth != 2 or (counts > 1).any():
        raise DamagedFile("an object has several of what it can have one of.")
    out = np.full(len(counts), absent(values.dtype), values.dtype)
    out[counts == 1] = values
    return plain(out, outer)


def streamed(inputs: Sequence[Ragged], parameters: Parameters, then: Then) -> Ragged:
    """Members of objects that are stored whole.

    Args:
        inputs: for each program the bytes of its branch; and one more where these are vectors
            within objects: any member of those objects; and one more with ``BESIDE``.
        parameters: as ``parameters_of`` makes them; ``ONE`` for vectors of at most one object.
        then: runs another decoder by its name.
    """
    programs = [name for name in parameters if name.startswith("#")]
    rest = {n: v for n, v in parameters.items() if n[:1] not in "#>" and n not in (ONE, BESIDE)}
    inputs, beside = (inputs[:-1], inputs[-1:]) if BESIDE in parameters else (inputs, ())
    outer = inputs[len(programs)].offsets[0] if len(inputs) > len(programs) else None
    found = [_taken(raw, outer, told) for raw, told in zip(inputs, programs, strict=False)]
    if ONE in parameters:
        found = [_at_most_one(one) for one in found]
    following = next((name[1:] for name in parameters if name.startswith(">")), "")
    return then(following, [*found, *beside], rest) if following else found[0]


def streamed_counts(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """The number of objects of every row: int32."""
    (raw,), (told,) = inputs, parameters
    rows = np.arange(len(raw) + 1, dtype=np.int64)
    return plain(_walked(raw, rows, told.split(" ", 1)[1])[0].astype(np.int32))


def fits(branch: Any, outer: Any, found: Sequence[ClassMember]) -> bool:
    """Whether all programs fit the first events of a branch.

    Args:
        branch: that holds the vectors.
        outer: None; or a branch with one item per object that has such a vector.
        found: the members whose programs are tried.
    """
    from uproot import AsDtype, AsJagged

    from columnservice.formats.ragged import ragged_from_layout

    start = 0
    for last in FIRST_EVENTS:
        stop = min(last, branch.num_entries)
        where: Mapping[str, Any] = {"entry_start": start, "entry_stop": stop, "library": "ak"}
        raw = ragged_from_layout(branch.array(AsJagged(AsDtype("u1")), **where).layout)
        objects = None if outer is None else outer.array(**where)
        rows = np.arange(len(raw) + 1, dtype=np.int64)
        if objects is not None:
            rows = ragged_from_layout(objects.layout).offsets[0]
        seen = 0
        for one in found:
            try:
                seen = int(_walked(raw, rows, one.program)[0].sum())
            except DamagedFile:
                return False
        if seen or stop == branch.num_entries:
            break
        start = stop
    return True
