"""Lines of naming tables: which members of an object become which Column, by which decoder.

Knows the shape of such a table; the tables stand in ``formats.packed`` and ``formats.members``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from columnservice.formats.discovery import Readable


@dataclass(frozen=True)
class Line:
    """One line of a naming table.

    Attributes:
        field: the public field.
        members: source members, in the order that the decoder takes them; ``name:dtype`` where the
            line holds for members of that dtype only.
        decode: name of the decoder in ``formats.decode``.
        parameters: the decoder's.
        doc: description with unit.
        source: where the formula comes from.
    """

    field: str
    members: tuple[str, ...]
    decode: str
    parameters: tuple[tuple[str, float], ...]
    doc: str
    source: str

    def holds(self, layout: Mapping[str, Readable]) -> bool:
        """Whether a layout (readable members by name) has all source members as this line wants."""
        for wanted in self.members:
            name, _, dtype = wanted.partition(":")
            if name not in layout or (dtype and layout[name].members[0].dtype != dtype):
                return False
        return True

    @property
    def names(self) -> tuple[str, ...]:
        """The source members without dtypes, in the order that the decoder takes them."""
        return tuple(wanted.partition(":")[0] for wanted in self.members)


def line(*cells: str) -> Line:
    """A line from its cells; parameters are written ``name=number``, separated by blanks."""
    field, members, decode, parameters, doc, source = cells
    pairs = (pair.split("=") for pair in parameters.split())
    numbers = tuple((name, float(number)) for name, number in pairs)
    return Line(field, tuple(members.split()), decode, numbers, doc, source)


def fields_of(lines: Iterable[Line], layout: Mapping[str, Readable]) -> dict[str, Line]:
    """For each field the first line that holds for a layout."""
    found: dict[str, Line] = {}
    for one in lines:
        if one.field not in found and one.holds(layout):
            found[one.field] = one
    return found
