"""Which names computed Columns may have: those under which coffea shows them where they belong.

A value for each object of a collection is a field of that collection, ``Muon_pfIso`` or
``AnalysisMuonsAuxDyn.pfIso``; a value per event must not look like one.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass

from columnservice.errors import BadExpression
from columnservice.model import EXPERIMENTS, FormatName, local_shape
from columnservice.selection.names import CONSTANTS, Names, is_here
from columnservice.selection.operations import FUNCTIONS
from columnservice.selection.program import Axes
from columnservice.selection.reductions import REDUCTIONS

MOST_CHARACTERS = 128
_NAMES = {
    "CMS": re.compile(r"(?P<group>[A-Za-z][A-Za-z0-9]*)(?:_(?P<field>[A-Za-z0-9_]+))?", re.A),
    "ATLAS": re.compile(
        r"(?P<group>[A-Za-z][A-Za-z0-9_]*?)(?:(?P<store>Aux(?:Dyn)?)\.(?P<field>[A-Za-z]\w*))?",
        re.A,
    ),
}
_EXAMPLES = {"CMS": "Muon_pfIso or nGoodMuon", "ATLAS": "AnalysisMuonsAuxDyn.pfIso or nGoodMuons"}


@dataclass(frozen=True)
class Belonging:
    """Where a computed Column stands: as ``model.Column``'s attributes of these names."""

    depth: int
    collection: str | None
    field: str | None
    shape: str | None


def collection_of(name: str, format_name: FormatName) -> str | None:
    """The collection that a name puts a Column into: ``Muon_pfIso`` → ``Muon``; None: none.

    Raises:
        BadExpression: no Column can have that name.
    """
    experiment = EXPERIMENTS[format_name]
    found = _NAMES[experiment].fullmatch(name)
    words = {*CONSTANTS, *FUNCTIONS, *REDUCTIONS, "across", "index"}
    spoken = any(keyword.iskeyword(part) for part in name.split("."))
    if found is None or len(name) > MOST_CHARACTERS or name in words or spoken:
        raise BadExpression(
            f"{name!r} cannot be a column's name.", f"Names are like {_EXAMPLES[experiment]}."
        )
    return found["group"] if found["field"] else None


def _like(collection: str, name: str, format_name: FormatName) -> str:
    """A name for a field of a collection that sounds like another name."""
    if EXPERIMENTS[format_name] == "CMS":
        field = name.removeprefix(collection).strip("_") or "value"
        return f"{collection}_{field}"
    field = name.rpartition(".")[2] or "value"
    return f"{collection}AuxDyn.{field}"


def belonging(
    name: str, axes: Axes, inputs: Sequence[str], names: Names, format_name: FormatName
) -> Belonging:
    """Where a Column of that name and those axes stands.

    Args:
        name: of the Column.
        axes: what its values are for.
        inputs: names of the Columns that it is computed from.
        names: all Columns.
        format_name: of the local files.

    Raises:
        BadExpression: the name does not fit; says which would.
    """
    group = collection_of(name, format_name)
    if not axes:
        return _of_the_event(name, group, names)
    axis = axes[0]
    collection = names.collections.get(axis)
    if len(axes) > 1:
        raise BadExpression(
            f"{name} would be a list for each {axis}.", "Make one value of it: sum(…), max(…), …"
        )
    if collection is None or collection.axis != axis:
        raise BadExpression(
            f"{name} would hold values for {axis}, which is no collection of its own.",
            "Define it for all objects, with where(…), or make one value of them: sum(…).",
        )
    if group != axis:
        raise BadExpression(
            f"{name} would hold one value for each {axis}, and its name does not say so.",
            f"Call it {_like(axis, name, format_name)}.",
        )
    shape = _shape(axis, inputs, names)
    field = re.split(r"[_.]", name, maxsplit=1)[1]
    return Belonging(1, axis, field, shape)


def _shape(axis: str, inputs: Sequence[str], names: Names) -> str | None:
    """The shape of values for each object of an axis."""
    if any(is_here(c) for c in names.collections[axis].fields.values()):
        return local_shape(axis)
    known = [names.columns[name] for name in inputs]
    return next(c.shape for c in known if c.depth and names.axis_of(c) == axis)


def _of_the_event(name: str, group: str | None, names: Names) -> Belonging:
    told = names.collections.get(group or name)
    if told is not None and told.axis is not None:
        raise BadExpression(
            f"{name} would stand among the fields of {told.name}, and is one value per event.",
            "Leave the collection out of its name, as in nGoodMuon.",
        )
    counted = names.collections.get(name[1:]) if name.startswith("n") else None
    if counted is not None:
        raise BadExpression(
            f"{name} would be taken for the number of {counted.name}.", "Choose another name."
        )
    plain = names.columns.get(group or "")
    beside = group if plain is not None and plain.support == "ok" else None
    if told is not None and group is None:
        beside = told.name
    if beside is not None:
        raise BadExpression(
            f"{name} and {beside} cannot stand beside each other in coffea.", "Choose another name."
        )
    field = re.split(r"[_.]", name, maxsplit=1)[1] if group else None
    return Belonging(0, group, field, None)
