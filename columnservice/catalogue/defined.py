"""The Columns that definitions and installed functions add to a Dataset.

Each is checked against the Columns that it is computed from, whenever those change: one that does
not fit any more is listed as unsupported, with the reason. A name means one thing: what the files
hold goes before what is computed, and of a definition and a function neither is taken. Opens no
file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
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


TAKEN = "the files hold a column of this name now"
_Item = Definition | InstalledFunction


@dataclass(frozen=True)
class _Computed:
    """Something that becomes a Column as soon as all that it needs is known."""

    name: str
    needs: tuple[str, ...]
    source: str
    doc: str
    offer: Callable[[Names], OfferedColumn]


def is_computed(one: OfferedColumn) -> bool:
    """Whether a Column is made by a function or an expression, or would be if that were possible.

    Those of object matches are not, and are there whatever users define.
    """
    if one.derivation is None:
        return one.column.origin == "derived"
    return one.derivation.compute in COMPUTED


def standing(item: _Item, known: Mapping[str, OfferedColumn]) -> Column | None:
    """As what a definition or function is listed: its Column, or why there is none.

    Args:
        item: the definition or function.
        known: all Columns of the Dataset, by name.

    Returns:
        None where a function does not concern the Dataset.
    """
    one = known.get(item.name)
    if one is not None and is_computed(one):
        mine = isinstance(item, Definition) or item.source == one.column.source
        return one.column if mine else None
    if isinstance(item, Definition):
        return _refused(item.name, item.expression, _told_of(item), TAKEN)
    concerned = one is not None and bool(known.keys() & {*item.inputs})
    return _refused(item.name, item.source, _told_of(item), TAKEN) if concerned else None


def defined_columns(
    format_name: FormatName,
    known: Sequence[OfferedColumn],
    functions: Sequence[InstalledFunction],
    definitions: Sequence[Definition],
) -> tuple[OfferedColumn, ...]:
    """Columns that are computed by functions and expressions, each name once.

    Args:
        format_name: of the local files.
        known: all other Columns; what has one of their names is left out (see ``standing``).
        functions: what the operator installed; those that need nothing that the Dataset has are
            left out.
        definitions: what users defined.
    """
    taken = {o.column.name for o in known}
    users = {d.name for d in definitions}
    fitting = [f for f in functions if f.name not in taken and taken & {*f.inputs}]
    twice = [f for f in fitting if f.name in users]
    refused = {f.name: f"users define {f.name} too: which one is meant?" for f in twice}
    waiting = [
        *(_of_function(f, format_name) for f in fitting if f.name not in refused),
        *(_of_definition(d, format_name) for d in definitions if d.name not in taken | {*refused}),
    ]
    columns = [o.column for o in known if o.column.origin != "reference"]
    found: dict[str, OfferedColumn] = {}
    reasons: dict[str, str] = {}
    while waiting:
        # What is found now is known the next time: to tell what names mean takes long.
        names_known = Names.of([*columns, *(o.column for o in found.values())])
        unknown = {*refused, *(one.name for one in waiting)}
        left = []
        for one in waiting:
            if unknown & {*one.needs}:
                left.append(one)
                continue
            try:
                found[one.name] = one.offer(names_known)
            except ColumnServiceError as error:
                reasons[one.name] = error.message.rstrip(".")
                left.append(one)
        if len(left) == len(waiting):
            break
        waiting = left
    lost = {*refused, *(one.name for one in waiting)}
    return (
        *found.values(),
        *(_without(one, reasons, lost) for one in waiting),
        *(
            OfferedColumn(_refused(f.name, f.source, _told_of(f), refused[f.name]), None)
            for f in twice
        ),
    )


def _without(one: _Computed, reasons: Mapping[str, str], lost: Collection[str]) -> OfferedColumn:
    """A Column that cannot be computed."""
    reason = reasons.get(one.name)
    if reason is None:
        other = next(name for name in one.needs if name in lost)
        reason = f"computed from {other}, which cannot be computed"
    return OfferedColumn(_refused(one.name, one.source, one.doc, reason), None)


def _refused(name: str, source: str, doc: str, reason: str) -> Column:
    return Column(
        name, (), 0, doc=doc, origin="derived", source=source,
        support="unsupported", reason=reason,
    )  # fmt: skip


def _column(name: str, dtype: str, where: Belonging, doc: str, source: str) -> Column:
    return Column(
        name, (Member("", dtype),), where.depth, where.collection, where.field, where.shape,
        doc=doc, origin="derived", source=source,
    )  # fmt: skip


def _told_of(item: _Item) -> str:
    """What readers are told of a computed Column."""
    about = item.doc + (f" in {item.unit}" if item.unit else "")
    by = f"by {item.author}, version {item.version}"
    return f"{about} ({by})" if about else by


def offered(definition: Definition, known: Names, format_name: FormatName) -> OfferedColumn:
    """The Column of a definition.

    Args:
        definition: its expression may say things in short.
        known: all Columns that it may be computed from.
        format_name: of the local files.

    Raises:
        BadExpression: it does not fit these Columns, or its name does not fit its values.
    """
    source = definition.expression
    program = check(parse(source), known, source)
    name, root = definition.name, program.root
    where = belonging(name, root.axes, program.inputs, known, format_name)
    doc = _told_of(definition)
    inputs = [_kind(known.columns[n], known) for n in program.inputs]
    parameters = (
        ("text", program.text),
        ("columns", json.dumps(inputs, sort_keys=True)),
        ("language", LANGUAGE_VERSION),
    )
    derivation = Derivation(name, program.inputs, "expression", parameters, definition.version)
    return OfferedColumn(_column(name, root.dtype, where, doc, program.text), None, derivation)


def _kind(column: Column, known: Names) -> dict[str, Any]:
    """What an expression must know of a Column, and nothing that may change beside it."""
    told = {
        "name": column.name,
        "members": [{"name": m.name, "dtype": m.dtype} for m in column.members],
        "depth": column.depth,
        "collection": column.collection,
        "field": column.field,
        "shape": column.shape,
        "origin": column.origin,
        "axis": known.axis_of(column) if column.depth else None,
    }
    return {key: value for key, value in told.items() if value is not None}


def _of_definition(definition: Definition, format_name: FormatName) -> _Computed:
    try:
        needs = names(parse(definition.expression))
    except BadExpression:  # of a newer version; ``offered`` says so
        needs = ()
    return _Computed(
        definition.name,
        needs,
        definition.expression,
        _told_of(definition),
        lambda known: offered(definition, known, format_name),
    )


def _of_function(function: InstalledFunction, format_name: FormatName) -> _Computed:
    doc = _told_of(function)

    def offer(known: Names) -> OfferedColumn:
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
