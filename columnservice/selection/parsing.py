"""From text to a tree: a small language that looks like Python, read by a walk of our own.

Python's parser finds the structure; each of its nodes is then either one of the few that are
allowed here or refused, with its place. Nothing is ever compiled or evaluated by Python.
"""

from __future__ import annotations

import ast
import re

from columnservice.errors import BadExpression
from columnservice.selection.tree import (
    COMPARISONS,
    Binary,
    Call,
    Constant,
    Item,
    Mask,
    Name,
    Node,
    Place,
    Unary,
    nodes,
)

MOST_CHARACTERS = 4000
MOST_NODES = 400
MOST_DEPTH = 60
LANGUAGE = (
    "Allowed are numbers, columns, + - * / // % **, comparisons, and, or, not, & | ~, "
    "f(…) and x[condition]."
)
_BIGGEST = 2**63

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}
_COMPARE: dict[type[ast.cmpop], str] = dict(
    zip((ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE), COMPARISONS, strict=True)
)
_FOREIGN = re.compile(r"[^A-Za-z0-9_.+\-*/%<>=!&|^~()\[\], ]")
_GLUED = re.compile(r"(?<![A-Za-z0-9_.])(?:\d[\d_.]*+|\.\d[\d_]*+)(?:[eE][+-]?\d++)?+[A-Za-z_]\w*")
_SHOWN_CHARACTERS = 40


def fault(source: str, at: Place, what: str, remedy: str = LANGUAGE) -> BadExpression:
    """The error for one place of a text.

    Args:
        source: the whole text.
        at: first and last-plus-one character.
        what: what is wrong there, as the end of a sentence.
        remedy: what to write instead.
    """
    piece = source[at[0] : at[1]]
    if len(piece) > _SHOWN_CHARACTERS:
        piece = piece[:_SHOWN_CHARACTERS] + "…"
    where = f"Character {at[0] + 1}, {piece!r}" if piece else "The expression"
    return BadExpression(f"{where}: {what}.", remedy)


def parse(source: str) -> Node:
    """The tree of an expression.

    Raises:
        BadExpression: it is too long, not of this language, or says something twice.
    """
    if len(source) > MOST_CHARACTERS:
        raise BadExpression(
            f"The expression has {len(source)} characters, more than {MOST_CHARACTERS}.",
            "Define parts of it as columns of their own.",
        )
    line = re.sub(r"\s", " ", source)
    begin = len(line) - len(line.lstrip())
    foreign = _FOREIGN.search(line)
    if foreign is not None:
        raise fault(source, foreign.span(), "this character has no meaning here")
    glued = _GLUED.search(line)
    if glued is not None:
        raise fault(source, glued.span(), "not a number", "Write numbers as 12, 0.5 or 1e-3.")
    try:
        parsed = ast.parse(line.strip(), mode="eval").body
    except SyntaxError as error:
        at = begin + min(max((error.offset or 1) - 1, 0), max(len(line.strip()) - 1, 0))
        raise fault(source, (at, at + 1), "this cannot be read") from None
    except (RecursionError, MemoryError, ValueError):
        raise fault(source, (0, 0), "too deeply nested") from None
    walk = _Walk(source, begin)
    try:
        return walk.tree(parsed, 0)
    except RecursionError:
        raise fault(source, (0, 0), "too deeply nested") from None


class _Walk:
    """One walk over what Python's parser found; counts nodes."""

    def __init__(self, source: str, begin: int) -> None:
        self._source = source
        self._begin = begin
        self._nodes = 0

    def _at(self, found: ast.expr) -> Place:
        first = self._begin + found.col_offset
        last = found.end_col_offset
        return first, first + 1 if last is None else self._begin + last

    def _fault(self, found: ast.expr, what: str, remedy: str = LANGUAGE) -> BadExpression:
        return fault(self._source, self._at(found), what, remedy)

    def tree(self, found: ast.expr, depth: int) -> Node:  # noqa: PLR0911 (one for each kind)
        self._count(found, 1, depth)
        at, below = self._at(found), depth + 1
        match found:
            case ast.Constant():
                return self._constant(found)
            case ast.Name() | ast.Attribute():
                return Name(self._dotted(found), at)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Invert() | ast.Not()):
                return self._unary(found, below)
            case ast.BinOp() if type(found.op) in _BINARY:
                left, right = self.tree(found.left, below), self.tree(found.right, below)
                return Binary(_BINARY[type(found.op)], left, right, at)
            case ast.BoolOp():
                sign = "&" if isinstance(found.op, ast.And) else "|"
                return self._joined(sign, [self.tree(v, below) for v in found.values], found, depth)
            case ast.Compare():
                return self._compare(found, below)
            case ast.Call():
                return self._call(found, below)
            case ast.Subscript():
                return self._subscript(found, below)
            case ast.IfExp():
                raise self._fault(found, "there is no if", "Write where(condition, this, that).")
            case _:
                raise self._fault(found, "this is not part of the language")

    def _constant(self, found: ast.Constant) -> Constant:
        value = found.value
        if not isinstance(value, bool | int | float):
            raise self._fault(found, "only numbers, True and False can be written out")
        if isinstance(value, int) and value >= _BIGGEST:
            raise self._fault(found, "this number needs more than 64 bits", "Write it as a float.")
        return Constant(value, self._at(found))

    def _dotted(self, found: ast.expr) -> str:
        match found:
            case ast.Name():
                return found.id
            case ast.Attribute():
                return f"{self._dotted(found.value)}.{found.attr}"
        raise self._fault(found, "a dot may stand in a column's name only")

    def _unary(self, found: ast.UnaryOp, depth: int) -> Node:
        operand, at = self.tree(found.operand, depth), self._at(found)
        if isinstance(found.op, ast.UAdd):
            return operand
        if not isinstance(found.op, ast.USub):
            return Unary("~", operand, at)
        if isinstance(operand, Constant) and not isinstance(operand.value, bool):
            return Constant(-operand.value, at)
        return Unary("-", operand, at)

    def _count(self, found: ast.expr, more: int, depth: int) -> None:
        self._nodes += more
        if self._nodes > MOST_NODES or depth > MOST_DEPTH:
            raise self._fault(
                found, "the expression is too large", "Define parts of it as columns of their own."
            )

    def _joined(self, sign: str, parts: list[Node], found: ast.expr, depth: int) -> Node:
        self._count(found, len(parts) - 1, depth + len(parts))
        whole = parts[0]
        for part in parts[1:]:
            whole = Binary(sign, whole, part, self._at(found))
        return whole

    def _compare(self, found: ast.Compare, depth: int) -> Node:
        sides = [self.tree(side, depth) for side in (found.left, *found.comparators)]
        chained = len(found.ops) > 1
        pairs = []
        for number, operator in enumerate(found.ops):
            sign = _COMPARE.get(type(operator))
            if sign is None:
                raise self._fault(found, "this comparison has no meaning here")
            pairs.append(Binary(sign, sides[number], sides[number + 1], self._at(found)))
        for side in sides:
            # ``a > 1 & b > 2`` means ``a > (1 & b) > 2`` in Python, and nobody means that.
            if chained and isinstance(side, Binary) and side.operator in ("&", "|", "^"):
                raise fault(
                    self._source,
                    side.at,
                    f"{side.operator} binds more strongly than a comparison",
                    f"Write (a > 1) {side.operator} (b > 2).",
                )
        # What stands between two comparisons is written once and needed twice.
        self._count(found, sum(1 for side in sides[1:-1] for _ in nodes(side)), depth)
        return self._joined("&", list(pairs), found, depth)

    def _call(self, found: ast.Call, depth: int) -> Node:
        name = self._dotted(found.func)
        arguments = []
        for argument in found.args:
            if isinstance(argument, ast.Starred):
                raise self._fault(argument, "this is not part of the language")
            arguments.append(self.tree(argument, depth))
        options: dict[str, Node] = {}
        for keyword in found.keywords:
            if keyword.arg is None or keyword.arg in options:
                raise self._fault(keyword.value, "each argument stands once, by its name")
            options[keyword.arg] = self.tree(keyword.value, depth)
        return Call(name, tuple(arguments), tuple(options.items()), self._at(found))

    def _subscript(self, found: ast.Subscript, depth: int) -> Node:
        value = self.tree(found.value, depth)
        if isinstance(found.slice, ast.Slice | ast.Tuple):
            raise self._fault(
                found.slice, "ranges have no meaning here", "Write x[condition] or x[0]."
            )
        inside = self.tree(found.slice, depth)
        if isinstance(inside, Constant) and type(inside.value) is int:
            return Item(value, inside.value, self._at(found))
        return Mask(value, inside, self._at(found))
