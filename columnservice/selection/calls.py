"""What each function makes of its checked arguments: distances, pairs, reductions, counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from columnservice.errors import nearest
from columnservice.selection import tree
from columnservice.selection.applying import applied
from columnservice.selection.operations import FUNCTIONS, Misfit, Operand, common
from columnservice.selection.program import Apply, Position, Reduce, Spread, Typed
from columnservice.selection.reductions import REDUCTIONS, result_type
from columnservice.selection.scope import ACROSS, Objects, Scope, Value, said

DISTANCES: Mapping[str, tuple[str, ...]] = {
    "dR": ("eta", "phi"),
    "dEta": ("eta",),
    "dPhi": ("phi",),
}
"""Distances between two collections → the fields that they are made of."""

Options = Mapping[str, Value]


def called(scope: Scope, node: tree.Call, values: Sequence[Value], options: Options) -> Typed:
    """A call of a function.

    Args:
        scope: where it stands.
        node: as it is written.
        values: its checked arguments.
        options: those that were given by name.

    Raises:
        BadExpression: there is no such function, or the arguments do not fit it.
    """
    name = node.function
    if name in REDUCTIONS:
        return _reduced(scope, node, values, options)
    for option in options:
        raise scope.fault(node, f"{name} takes no {option}=", "Leave it away.")
    if name in DISTANCES:
        return _distance(scope, node, values)
    if name in _SPECIAL:
        return _SPECIAL[name](scope, node, values)
    if name in FUNCTIONS:
        return applied(scope, "function", name, node, numbers(scope, values))
    known = sorted({*FUNCTIONS, *REDUCTIONS, *DISTANCES, *_SPECIAL})
    near = nearest(name, known)
    said_so = f"no function {name}" + (f"; {near[:-1]}" if near else "")
    raise scope.fault(node, said_so, f"The functions are {', '.join(known)}.")


def numbers(scope: Scope, values: Sequence[Value]) -> list[Typed]:
    """Values that are no collections.

    Raises:
        BadExpression: one of them is.
    """
    for value in values:
        if isinstance(value, Objects):
            some = next(iter(value.collection.fields.values()))
            raise scope.fault(
                value.node,
                "a collection is not a number",
                f"Name one of its columns, as {some.name}.",
            )
    return [v for v in values if isinstance(v, Typed)]


def _distance(scope: Scope, node: tree.Call, sides: Sequence[Value]) -> Typed:
    fields = DISTANCES[node.function]
    half = len(fields)
    flat: list[Value] = []
    for side in sides:
        flat += [scope.field(side, f) for f in fields] if isinstance(side, Objects) else [side]
    if len(flat) != 2 * half or (len(sides) == 3):
        raise scope.fault(
            node,
            f"{node.function} is between two",
            f"Write {node.function}(Muon, Jet), or {' and '.join(fields)} of both.",
        )
    values = numbers(scope, flat)
    axes = scope.paired(node, scope.joined(node, values[:half]), scope.joined(node, values[half:]))
    same = [s.collection.axis for s in sides if isinstance(s, Objects)]
    if len(same) == 2 and same[0] is not None and same[0] == same[1]:
        raise scope.within_one(node, same[0])
    made = applied(scope, "function", node.function, node, values, axes)
    if not isinstance(made, Apply):
        return made
    told = tree.Call(node.function, tuple(s.node for s in sides), at=node.at)
    return Apply(told, axes, made.operand, made.table, made.name, made.arguments, made.casts)


def _across(scope: Scope, node: tree.Call, values: Sequence[Value]) -> Typed:
    if len(values) != 2 or not isinstance(values[1], Objects) or not values[1].axes:
        raise scope.fault(node, "across takes a value and a collection", ACROSS)
    value, objects = numbers(scope, values[:1])[0], values[1]
    axis = scope.unkept(objects.axes[-1])
    if axis in map(scope.unkept, value.axes):
        raise scope.fault(
            node, f"{value.text} is for {said(value.axes)} already", "Leave across away."
        )
    axes = scope.paired(node, value.axes, objects.axes)
    scope.demand_offsets(objects)
    told = tree.Call("across", (value.node, objects.node), at=node.at)
    return Spread(told, axes, value.operand, value)


def _index(scope: Scope, node: tree.Call, values: Sequence[Value]) -> Typed:
    if len(values) != 1 or not isinstance(values[0], Objects) or not values[0].axes:
        raise scope.fault(node, "index takes a collection", "Write index(PFCands).")
    return _positions(scope, tree.Call("index", (values[0].node,), at=node.at), values[0])


def _positions(scope: Scope, node: tree.Node, objects: Objects) -> Typed:
    scope.demand_offsets(objects)
    whole = (scope.unkept(objects.axes[-1]),)
    return scope.spread(Position(node, whole, Operand("int64")), objects.axes)


_SPECIAL: Mapping[str, Callable[[Scope, tree.Call, Sequence[Value]], Typed]] = {
    "across": _across,
    "index": _index,
}


def _reduced(scope: Scope, node: tree.Call, given: Sequence[Value], options: Options) -> Typed:
    name, about = node.function, REDUCTIONS[node.function]
    allowed = {"by": about.ordered, "default": about.empties}
    for option in options:
        if not allowed.get(option):
            raise scope.fault(node, f"{name} takes no {option}=", f"{name}: {about.doc}.")
    default = options.get("default")
    arguments = [*given, *(value for option, value in options.items() if option == "by")]
    if len(arguments) != (2 if about.ordered else 1):
        raise scope.fault(
            node,
            f"{name} takes {'two values' if about.ordered else 'one value'}",
            f"{name}: {about.doc}. minimum(a, b) and maximum(a, b) compare two values.",
        )
    if name == "count":
        return _counted(scope, node, arguments[0])
    values = numbers(scope, arguments)
    over = scope.joined(node, values)
    if not over or any(v.axes[-1:] != over[-1:] for v in values):
        short = next((v for v in values if v.axes[-1:] != over[-1:]), values[0])
        raise scope.fault(
            node,
            f"{short.text} is for {said(short.axes)}: nothing to go over",
            f"{name}(…) goes over the innermost list.",
        )
    operand, empty = _result(scope, node, values[0], default)
    told = tree.Call(
        name,
        tuple(v.node for v in values),
        () if default is None else (("default", default.node),),
        node.at,
    )
    return Reduce(told, over[:-1], operand, name, tuple(values), over, empty)


def _result(
    scope: Scope, node: tree.Call, value: Typed, default: Value | None
) -> tuple[Operand, bool | int | float]:
    """The type of a reduction, and what it gives for no objects."""
    about = REDUCTIONS[node.function]
    try:
        dtype = result_type(node.function, value.operand)
        if default is None:
            empty = scope.nothing(node, Operand(dtype)) if about.empties else 0
            return Operand(dtype), empty
        told = default.operand if isinstance(default, Typed) else Operand("bool")
        if told.number is None:
            raise Misfit("default must be a number", "Write default=0.")
        return Operand(common([Operand(dtype), told])), told.number
    except Misfit as misfit:
        raise scope.fault(node, misfit.what, misfit.remedy) from None


def _counted(scope: Scope, node: tree.Call, value: Value) -> Typed:
    if isinstance(value, Objects) and value.axes:
        objects = _positions(scope, value.node, value)
    elif isinstance(value, Typed) and value.axes and value.dtype != "bool":
        objects = value
    else:
        raise scope.fault(
            node,
            "count takes a collection or its objects, not a condition",
            "Write sum(condition), or count(Muon[condition]).",
        )
    told = tree.Call("count", (value.node,), at=node.at)
    over = objects.axes
    return Reduce(told, over[:-1], Operand("int64"), "count", (objects,), over, 0)
