"""Columns and values of small events, and a reference that goes over every object in loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from columnservice.model import Column, Member, Ragged
from columnservice.selection import check, evaluate, parse
from columnservice.selection.tree import (
    Binary,
    Call,
    Constant,
    Item,
    Mask,
    Name,
    Node,
    Unary,
    children,
)


def column(name: str, dtype: str = "float32", origin: Any = "local", **told: Any) -> Column:
    """A NanoAOD column: ``Muon_pt`` is one value per muon, ``MET_pt`` one per event."""
    collection, _, field = name.partition("_")
    listed = bool(field) and collection != "MET"
    about = {"collection": collection if field else None, "field": field or None}
    about["shape"] = collection if listed else None
    return Column(name, (Member("", dtype),), int(listed), origin=origin, **{**about, **told})


COLUMNS = (
    column("run", "uint32"),
    column("event", "uint64"),
    column("nMuon", "uint32"),
    column("rho", "float64"),
    column("MET_pt"),
    column("MET_phi"),
    *(column(f"Muon_{field}") for field in ("pt", "eta", "phi")),
    column("Muon_charge", "int32"),
    column("Muon_loose", "bool"),
    column("Muon_layers", "uint8"),
    *(column(f"Jet_{field}") for field in ("pt", "eta", "phi")),
    column("Jet_id", "int16"),
    *(column(f"PFCands_{field}", origin="parent") for field in ("pt", "eta", "phi")),
    column("Muon_far", origin="parent"),
    column("Muon_same", origin="derived", shape="local:Muon"),
    Column("Muon_hits", (Member("", "float32"),), 2, "Muon", "hits", "Muon", origin="local"),
    Column("Muon_links", (Member("a", "uint32"), Member("b", "uint32")), 1, "Muon", "links"),
    column("Muon_no", support="unsupported", reason="nobody can read it"),
    Column("Event.weights", (Member("", "float32"),), 1, "Event", "weights", "Event.weights"),
    Column("Event.times", (Member("", "uint32"),), 1, "Event", "times", "Event.times"),
    Column("Event.number", (Member("", "uint64"),), 0, "Event", "number"),
    Column("Jets", (), 0, support="unsupported", reason="stored whole"),
    Column("Jets.pt", (Member("", "float32"),), 1, "Jets", "pt", "Jets.pt", origin="local"),
    Column("Jets.eta", (Member("", "float32"),), 1, "Jets", "eta", "Jets.eta", origin="local"),
)
BY_NAME: Mapping[str, Column] = {c.name: c for c in COLUMNS}


def values_of(rng: np.random.Generator, events: int, most: int = 4) -> dict[str, Ragged]:
    """Random values of all columns; momenta are positive, NaN and inf are rare but there."""
    counts = {
        name: rng.integers(0, most + 1, events) for name in ("Muon", "Jet", "PFCands", "Muon far")
    }
    counts |= {f"Event.{f}": rng.integers(0, most + 1, events) for f in ("weights", "times")}
    counts["Jets.pt"] = counts["Jets.eta"] = rng.integers(0, most + 1, events)
    found = {}
    for one in COLUMNS:
        if one.support != "ok" or not one.members or one.members[0].name:
            continue
        axes = []
        size = events
        if one.depth:
            key = "Muon far" if one.name == "Muon_far" else (one.shape or "").removeprefix("local:")
            axes.append(np.concatenate([[0], np.cumsum(counts[key])]).astype(np.int64))
            size = int(axes[0][-1])
        if one.depth == 2:
            inner = rng.integers(0, 4, size)
            axes.append(np.concatenate([[0], np.cumsum(inner)]).astype(np.int64))
            size = int(axes[1][-1])
        found[one.name] = Ragged(tuple(axes), {"": _values(rng, one, size)})
    return found


def _values(rng: np.random.Generator, one: Column, size: int) -> Any:
    dtype = np.dtype(one.members[0].dtype)
    if dtype.kind == "b":
        return rng.random(size) < 0.5
    if dtype.kind in "iu":
        low = -3 if dtype.kind == "i" else 0
        return rng.integers(low, 100, size).astype(dtype)
    if one.field == "phi":
        return rng.uniform(-np.pi, np.pi, size).astype(dtype)
    if one.field == "eta":
        return rng.normal(0, 1, size).astype(dtype)
    found = rng.exponential(20, size).astype(dtype)
    for strange in (np.nan, np.inf, 0):
        found[rng.random(size) < 0.02] = strange
    return found


def run(source: str, values: Mapping[str, Ragged], about: str | None = None) -> Ragged:
    """An expression's values."""
    program = check(parse(source), COLUMNS, source, about)
    return evaluate(program, {name: values[name] for name in program.inputs})


class Reference:
    """One event at a time, one object at a time: what an expression means."""

    def __init__(self, values: Mapping[str, Ragged], event: int) -> None:
        self.values = values
        self.event = event

    def count(self, collection: str) -> int:
        offsets = self.values[f"{collection}_pt"].offsets[0]
        return int(offsets[self.event + 1] - offsets[self.event])

    def result(self, node: Node) -> Any:
        axes = self.axes(node)
        if not axes:
            return self.value(node, {})
        (axis,) = axes
        return [self.value(node, {axis: i}) for i in range(self.count(axis))]

    def axes(self, node: Node) -> tuple[str, ...]:
        match node:
            case Name(name="pi"):
                return ()
            case Name() if node.name in BY_NAME:
                one = BY_NAME[node.name]
                return (str(one.collection),) if one.depth else ()
            case Name():
                return (node.name,)
            case Constant():
                return ()
            case Call(function="dR" | "dEta" | "across"):
                left, right = (self.axes(a) for a in node.arguments[:2])
                return left + right
            case Call(function="sum" | "min" | "max" | "any" | "all" | "count" | "mean"):
                return self.axes(node.arguments[0])[:-1]
            case Call(function="leading" | "closest"):
                return max(map(self.axes, children(node)), key=len)[:-1]
            case Item():
                return self.axes(node.value)[:-1]
            case Unary():
                return self.axes(node.operand)
            case Binary():
                return max(self.axes(node.left), self.axes(node.right), key=len)
            case Mask():
                return max(self.axes(node.value), self.axes(node.condition), key=len)
            case Call():
                return max((self.axes(a) for a in node.arguments), key=len)

    def passes(self, node: Node, at: Mapping[str, int]) -> bool:
        """Whether the objects at hand are among those that brackets choose."""
        match node:
            case Mask():
                return self.passes(node.value, at) and bool(self.value(node.condition, at))
            case Binary():
                return self.passes(node.left, at) and self.passes(node.right, at)
            case Unary():
                return self.passes(node.operand, at)
            case Call(function="leading" | "closest" | "count" | "sum" | "mean"):
                return True
            case Call(function="min" | "max" | "any" | "all") | Item():
                return True
            case Call():
                return all(self.passes(a, at) for a in node.arguments)
        return True

    def field(self, node: Node, field: str, at: Mapping[str, int]) -> Any:
        base = node
        while isinstance(base, Mask):
            base = base.value
        assert isinstance(base, Name)
        return self.value(Name(f"{base.name}_{field}"), at)

    def value(self, node: Node, at: Mapping[str, int]) -> Any:
        match node:
            case Constant():
                return node.value
            case Name(name="pi"):
                return np.pi
            case Name():
                values = self.values[node.name]
                if not values.offsets:
                    return values.values[self.event]
                axis = str(BY_NAME[node.name].collection)
                return values.values[values.offsets[0][self.event] + at[axis]]
            case Mask():
                return self.value(node.value, at)
            case Unary(operator="-"):
                return -wide(self.value(node.operand, at))
            case Unary():
                return not self.value(node.operand, at)
            case Binary():
                return binary(node.operator, self.value(node.left, at), self.value(node.right, at))
            case Item():
                chosen = self.reduced(node.value, node.value, at)
                try:
                    return chosen[node.number] if -len(chosen) <= node.number else np.nan
                except IndexError:
                    return np.nan
            case Call():
                return self.call(node, at)

    def reduced(self, over: Node, value: Node, at: Mapping[str, int]) -> list[Any]:
        """The values of the innermost objects, those that brackets choose."""
        axis = self.axes(over)[-1]
        inside = [{**at, axis: i} for i in range(self.count(axis))]
        return [self.value(value, here) for here in inside if self.passes(over, here)]

    def call(self, node: Call, at: Mapping[str, int]) -> Any:
        name, first = node.function, node.arguments[0]
        options = dict(node.options)
        default = options.get("default", Constant(np.nan))
        assert isinstance(default, Constant)
        if name == "count":
            axis = self.axes(first)[-1]
            inside = [{**at, axis: i} for i in range(self.count(axis))]
            return sum(self.passes(first, here) for here in inside)
        if name in ("sum", "mean", "min", "max", "any", "all"):
            return reduced(name, self.reduced(first, first, at), default.value)
        if name in ("leading", "closest"):
            by = options.get("by") or node.arguments[1]
            both = by if len(self.axes(by)) >= len(self.axes(first)) else first
            order, found = self.reduced(both, by, at), self.reduced(both, first, at)
            ranks = [(o, -i) if name == "leading" else (-o, -i) for i, o in enumerate(order)]
            ranks = [r for r in ranks if not np.isnan(r[0])]
            return found[-max(ranks)[1]] if ranks else default.value
        if name == "dR":
            eta, phi = (
                self.field(first, f, at) - self.field(node.arguments[1], f, at)
                for f in ("eta", "phi")
            )
            phi = phi - np.float32(2 * np.pi) * np.rint(phi / np.float32(2 * np.pi))
            return np.sqrt(eta * eta + phi * phi)
        arguments = [self.value(a, at) for a in node.arguments if name != "across" or a is first]
        if name == "across":
            return arguments[0]
        if name == "where":
            return arguments[1] if arguments[0] else arguments[2]
        if name == "sqrt":
            (x,) = arguments
            return np.sqrt(x if isinstance(x, np.floating) else np.float64(x))
        assert name == "abs"
        return abs(wide(arguments[0]))


def wide(x: Any) -> Any:
    """Integers and truth values as int64, so that nothing wraps."""
    return np.int64(x) if isinstance(x, np.integer | np.bool_ | bool) else x


def binary(operator: str, left: Any, right: Any) -> Any:
    """One operation on two numbers, by NumPy's rules for scalars."""
    if operator in ("&", "|"):
        return (left and right) if operator == "&" else (left or right)
    if operator in ("+", "-", "*", "/"):
        floats = [np.dtype(type(x)) for x in (left, right) if isinstance(x, np.floating)]
        if not any(f == np.float64 for f in floats):
            left, right = (
                np.float32(x) if floats and isinstance(x, int | float) else x for x in (left, right)
            )
        if floats:
            return {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.true_divide}[operator](
                left, right
            )
        left, right = wide(left), wide(right)
    return {
        "+": np.add,
        "-": np.subtract,
        "*": np.multiply,
        "/": np.true_divide,
        "<": np.less,
        "<=": np.less_equal,
        ">": np.greater,
        ">=": np.greater_equal,
        "==": np.equal,
        "!=": np.not_equal,
    }[operator](left, right)


def reduced(name: str, found: list[Any], default: Any) -> Any:
    if name == "count":
        return len(found)
    if name in ("any", "all"):
        return (any if name == "any" else all)(bool(x) for x in found)
    if name == "sum":
        return np.sum(np.array(found, np.float64)) if found else 0
    if name == "mean":
        return np.mean(np.array(found, np.float64)) if found else np.nan
    if not found:
        return default
    return (np.min if name == "min" else np.max)(np.array(found))
