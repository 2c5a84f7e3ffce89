"""The Columns that definitions and installed functions add to a Dataset.

Each is checked against the Columns that it is computed from, whenever those change: one that does
not fit any more is listed as unsupported, with the reason. Opens no file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from columnservice.catalogue.definitions import Definition
from columnservice.catalogue.naming import Belonging, belonging
from columnservice.errors import BadExpression, ColumnServiceError, UnsupportedColumn
from columnservice.model import Column, Derivation, FormatName, Member, OfferedColumn
from columnservice.selection import LANGUAGE_VERSION, check, names, parse
from columnservice.selection.installed import InstalledFunction
from columnservice.selection.names import Names

COMPUTED = ("expression", "function")
"""The computations of what is made here."""


@dataclass(frozen=True)
class _Computed:
    """Something that becomes a Column as soon as all that it needs is known."""

    name: str
    needs: tuple[str, ...]
    source: str
    doc: str
    offer: Callable[[Sequence[Column]], OfferedColumn]


def defined_columns(
    format_name: FormatName,
    known: Sequence[OfferedColumn],
    functions: Sequence[InstalledFunction],
    definitions: Sequence[Definition],
) -> tuple[OfferedColumn, ...]:
    """Columns that are computed by functions and expressions.

    Args:
        format_name: of the local files.
        known: all other Columns.
        functions: what the operator installed; those that need nothing that the Dataset has are
            left out.
        definitions: what users defined.
    """
    taken = {o.column.name for o in known}
    fitting = [f for f in functions if f.name not in taken and taken & {*f.inputs}]
    waiting = [
        *(_of_function(f, format_name) for f in fitting),
        *(_of_definition(d, format_name) for d in definitions),
    ]
    columns = [o.column for o in known if o.column.origin != "reference"]
    found: dict[str, OfferedColumn] = {}
    reasons: dict[str, str] = {}
    while waiting:
        unknown = {one.name for one in waiting}
        left = []
        for one in waiting:
            if unknown & {*one.needs}:
                left.append(one)
                continue
            try:
                found[one.name] = one.offer([*columns, *(o.column for o in found.values())])
            except ColumnServiceError as error:
                reasons[one.name] = error.message.rstrip(".")
                left.append(one)
            else:
                unknown.discard(one.name)
        if len(left) == len(waiting):
            break
        waiting = left
    return (*found.values(), *(_without(one, reasons, waiting) for one in waiting))


def _without(
    one: _Computed, reasons: dict[str, str], waiting: Sequence[_Computed]
) -> OfferedColumn:
    """A Column that cannot be computed."""
    others = [w.name for w in waiting if w.name in one.needs]
    reason = reasons.get(one.name) or f"computed from {others[0]}, which cannot be computed"
    column = Column(
        one.name, (), 0, doc=one.doc, origin="derived", source=one.source,
        support="unsupported", reason=reason,
    )  # fmt: skip
    return OfferedColumn(column, None)


def _column(name: str, dtype: str, where: Belonging, doc: str, source: str) -> Column:
    return Column(
        name, (Member("", dtype),), where.depth, where.collection, where.field, where.shape,
        doc=doc, origin="derived", source=source,
    )  # fmt: skip


def _told(doc: str, unit: str, author: str, version: int) -> str:
    """What readers are told of a computed Column."""
    about = doc + (f" in {unit}" if unit else "")
    by = f"by {author}, version {version}"
    return f"{about} ({by})" if about else by


def offered(
    definition: Definition, columns: Sequence[Column], format_name: FormatName
) -> OfferedColumn:
    """The Column of a definition.

    Args:
        definition: its expression may say things in short.
        columns: all Columns that it may be computed from.
        format_name: of the local files.

    Raises:
        BadExpression: it does not fit these Columns, or its name does not fit its values.
    """
    source = definition.expression
    program = check(parse(source), columns, source)
    known = Names.of(columns)
    name, root = definition.name, program.root
    where = belonging(name, root.axes, program.inputs, known, format_name)
    doc = _told(definition.doc, definition.unit, definition.author, definition.version)
    inputs = [_kind(known.columns[n]) for n in program.inputs]
    parameters = (
        ("text", program.text),
        ("columns", json.dumps(inputs, sort_keys=True)),
        ("language", LANGUAGE_VERSION),
    )
    derivation = Derivation(name, program.inputs, "expression", parameters, definition.version)
    return OfferedColumn(_column(name, root.dtype, where, doc, program.text), None, derivation)


def _kind(column: Column) -> dict[str, Any]:
    """What an expression must know of a Column, and nothing that may change beside it."""
    told = {
        "name": column.name,
        "members": [{"name": m.name, "dtype": m.dtype} for m in column.members],
        "depth": column.depth,
        "collection": column.collection,
        "field": column.field,
        "shape": column.shape,
        "origin": column.origin,
    }
    return {key: value for key, value in told.items() if value is not None}


def _of_definition(definition: Definition, format_name: FormatName) -> _Computed:
    try:
        needs = names(parse(definition.expression))
    except BadExpression:  # of a newer version; ``offered`` says so
        needs = ()
    doc = _told(definition.doc, definition.unit, definition.author, definition.version)
    return _Computed(
        definition.name,
        needs,
        definition.expression,
        doc,
        lambda columns: offered(definition, columns, format_name),
    )


def _of_function(function: InstalledFunction, format_name: FormatName) -> _Computed:
    doc = _told(function.doc, function.unit, function.author, function.version)

    def offer(columns: Sequence[Column]) -> OfferedColumn:
        known = Names.of(columns)
        for needed in function.inputs:
            column = known.columns.get(needed)
            if column is None or column.support != "ok":
                reason = "is not there" if column is None else column.reason
                raise UnsupportedColumn(f"it needs {needed}: {reason}.")
        axes = () if function.collection is None else (function.collection,)
        of_axis = [
            n for n in function.inputs
            if known.columns[n].depth and axes == (known.axis_of(known.columns[n]),)
        ]  # fmt: skip
        if axes and not of_axis:
            raise UnsupportedColumn(f"none of its inputs tells how many {axes[0]} there are.")
        where = belonging(function.name, axes, function.inputs, known, format_name)
        parameters = (
            ("name", function.name),
            ("source", function.source),
            ("version", function.version),
            ("dtype", function.dtype),
            ("objects_of", function.inputs.index(of_axis[0]) if of_axis else -1),
        )
        column = _column(function.name, function.dtype, where, doc, function.source)
        derivation = Derivation(
            function.name, function.inputs, "function", parameters, function.version
        )
        return OfferedColumn(column, None, derivation)

    return _Computed(function.name, function.inputs, function.source, doc, offer)
