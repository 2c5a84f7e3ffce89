"""What can be computed object by object: operators and functions, and the types that they give.

Types are NumPy's, with what would surprise in physics taken out: conditions are not numbers, whole
numbers become int64 before arithmetic and so do not wrap at 8, 16 or 32 bits, and uint64 takes no
part in arithmetic. A written number takes the precision of what it meets: ``2.5 * x`` is float32
where ``x`` is. Division by zero gives inf or NaN. Knows types and arrays; no column and no axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TWO_PI = 2.0 * np.pi
CONVERT = "Write float64(x), which is exact up to 2**53."
PARENTHESES = "Put each comparison in parentheses: (a > 1) & (b > 2)."


@dataclass(frozen=True)
class Operand:
    """What is known of an operand before anything is read.

    Attributes:
        dtype: ``bool``, ``int8`` … ``uint64``, ``float32`` or ``float64``.
        number: the number itself where it is written out, else None.
    """

    dtype: str
    number: bool | int | float | None = None

    @property
    def kind(self) -> str:
        """NumPy's letter: b, i, u or f."""
        return np.dtype(self.dtype).kind

    @property
    def is_written(self) -> bool:
        """Whether it is a written number, which takes the precision of the others."""
        return self.number is not None and self.kind != "b"


class Misfit(Exception):
    """Operands that do not go together: what is wrong, and what to write instead."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True)
class Types:
    """The types of an operation.

    Attributes:
        operands: what each operand is converted to before; None leaves it as it is.
        result: what comes out.
    """

    operands: tuple[str | None, ...]
    result: str


Rule = Callable[[Sequence[Operand]], Types]
Function = Callable[..., NDArray[Any]]


@dataclass(frozen=True)
class Operation:
    """An operator or function, object by object."""

    arity: int
    rule: Rule
    function: Function
    doc: str


def _all(dtype: str, operands: Sequence[Operand], result: str | None = None) -> Types:
    return Types((dtype,) * len(operands), dtype if result is None else result)


def promoted(operands: Sequence[Operand]) -> str:
    """NumPy's common type; a written number counts by its kind only.

    Raises:
        Misfit: int64 and uint64 have none but float64, which cannot hold them.
    """
    strong = [o for o in operands if not o.is_written]
    if not strong:
        return "float64" if any(o.kind == "f" for o in operands) else "int64"
    kinds = {o.kind for o in strong}
    if kinds == {"i", "u"} and any(o.dtype == "uint64" for o in strong):
        raise Misfit("uint64 and signed integers have no common type", CONVERT)
    found = np.result_type(*(np.dtype(o.dtype) for o in strong))
    if found.kind != "f" and any(o.kind == "f" for o in operands):
        return "float64"
    return found.name


def _arithmetic(operands: Sequence[Operand]) -> Types:
    found = promoted(operands)
    if np.dtype(found).kind == "f":
        return _all(found, operands)
    if any(o.dtype == "uint64" for o in operands):
        raise Misfit("uint64 would wrap around below zero", CONVERT)
    return _all("int64", operands)


def _floating(operands: Sequence[Operand]) -> Types:
    found = promoted(operands)
    return _all(found if np.dtype(found).kind == "f" else "float64", operands)


def _whole(operands: Sequence[Operand]) -> Types:
    """``//`` and ``%``: of integers only by a number that is written out and not zero."""
    found = promoted(operands)
    if np.dtype(found).kind == "f":
        return _all(found, operands)
    divisor = operands[1].number
    if not divisor or (found == "uint64" and divisor < 0):
        raise Misfit(
            "an integer is divided by something that may be zero",
            "Divide by a number, or convert: float64(a) // b.",
        )
    return _all("uint64" if found == "uint64" else "int64", operands)


def _comparison(operands: Sequence[Operand]) -> Types:
    if any(o.kind == "f" for o in operands):
        return _all(_floating(operands).result, operands, "bool")
    # NumPy compares integers of any two types exactly.
    return Types((None,) * len(operands), "bool")


def _logic(operands: Sequence[Operand]) -> Types:
    kinds = {o.kind for o in operands}
    if kinds == {"b"}:
        return _all("bool", operands)
    if "f" in kinds or len(operands) == 1:
        raise Misfit("it needs conditions, not numbers", PARENTHESES)
    if "b" in kinds:
        raise Misfit("it joins a condition with a number", PARENTHESES)
    negative = any(o.number is not None and o.number < 0 for o in operands)
    found = promoted(operands)
    if found == "uint64" and negative:
        raise Misfit("uint64 has no negative bits", CONVERT)
    return _all("uint64" if found == "uint64" else "int64", operands)


def common(operands: Sequence[Operand]) -> str:
    """The type that holds each of some values as it is.

    Raises:
        Misfit: there is none.
    """
    found = promoted(operands)
    kind = np.dtype(found).kind
    if kind not in "iu":
        mixed = kind == "b" and any(o.is_written for o in operands)
        return "int64" if mixed else found
    numbers = [o.number for o in operands if o.is_written and o.number is not None]
    limits = np.iinfo(found)
    if all(limits.min <= n <= limits.max for n in numbers):
        return found
    if found == "uint64":
        raise Misfit("uint64 holds no negative number", CONVERT)
    return "int64"


def _same(operands: Sequence[Operand]) -> Types:
    return _all(common(operands), operands)


def _where(operands: Sequence[Operand]) -> Types:
    if operands[0].kind != "b":
        raise Misfit("where needs a condition first", "Write where(condition, this, that).")
    chosen = common(operands[1:])
    return Types(("bool", chosen, chosen), chosen)


def _magnitude(operands: Sequence[Operand]) -> Types:
    if operands[0].dtype == "uint64":
        return _all("uint64", operands)
    return _arithmetic(operands)


def _test(operands: Sequence[Operand]) -> Types:
    return _all(_floating(operands).result, operands, "bool")


def _conversion(dtype: str) -> Rule:
    def rule(operands: Sequence[Operand]) -> Types:
        if dtype == "int64" and operands[0].kind == "f":
            raise Misfit("NaN and inf are no integers", "Use floor(x), which stays a float.")
        if dtype == "int64" and operands[0].dtype == "uint64":
            raise Misfit("uint64 may be 2**63 or more, which int64 cannot hold", CONVERT)
        return _all(dtype, operands)

    return rule


def _wrapped(angle: NDArray[Any]) -> NDArray[Any]:
    """An angle in rad moved into -π … π."""
    turn = angle.dtype.type(TWO_PI)
    moved: NDArray[Any] = angle - turn * np.rint(angle / turn)
    return moved


def delta_phi(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Difference of two angles in rad, -π … π."""
    return _wrapped(left - right)


def delta_r(
    eta: NDArray[Any], phi: NDArray[Any], other_eta: NDArray[Any], other_phi: NDArray[Any]
) -> NDArray[Any]:
    """Distance in (eta, phi): sqrt(Δη² + Δφ²)."""
    across, around = eta - other_eta, delta_phi(phi, other_phi)
    distance: NDArray[Any] = np.sqrt(across * across + around * around)
    return distance


def _clip(x: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> NDArray[Any]:
    clipped: NDArray[Any] = np.minimum(np.maximum(x, low), high)
    return clipped


OPERATORS: Mapping[str, Operation] = {
    "+": Operation(2, _arithmetic, np.add, ""),
    "-": Operation(2, _arithmetic, np.subtract, ""),
    "*": Operation(2, _arithmetic, np.multiply, ""),
    "/": Operation(2, _floating, np.true_divide, ""),
    "**": Operation(2, _floating, np.power, ""),
    "//": Operation(2, _whole, np.floor_divide, ""),
    "%": Operation(2, _whole, np.remainder, ""),
    "==": Operation(2, _comparison, np.equal, ""),
    "!=": Operation(2, _comparison, np.not_equal, ""),
    "<": Operation(2, _comparison, np.less, ""),
    "<=": Operation(2, _comparison, np.less_equal, ""),
    ">": Operation(2, _comparison, np.greater, ""),
    ">=": Operation(2, _comparison, np.greater_equal, ""),
    "&": Operation(2, _logic, np.bitwise_and, ""),
    "|": Operation(2, _logic, np.bitwise_or, ""),
    "^": Operation(2, _logic, np.bitwise_xor, ""),
}
UNARY: Mapping[str, Operation] = {
    "-": Operation(1, _arithmetic, np.negative, ""),
    "~": Operation(1, _logic, np.logical_not, ""),
}
FUNCTIONS: Mapping[str, Operation] = {
    "abs": Operation(1, _magnitude, np.abs, "magnitude"),
    "where": Operation(3, _where, np.where, "where(condition, this, that)"),
    "minimum": Operation(2, _same, np.minimum, "the smaller of two, NaN if one is"),
    "maximum": Operation(2, _same, np.maximum, "the larger of two, NaN if one is"),
    "clip": Operation(3, _same, _clip, "clip(x, low, high)"),
    "isnan": Operation(1, _test, np.isnan, "whether it is NaN"),
    "isfinite": Operation(1, _test, np.isfinite, "whether it is neither NaN nor inf"),
    "float32": Operation(1, _conversion("float32"), np.asarray, "conversion"),
    "float64": Operation(1, _conversion("float64"), np.asarray, "conversion"),
    "int64": Operation(1, _conversion("int64"), np.asarray, "conversion of integers, conditions"),
    "hypot": Operation(2, _floating, np.hypot, "sqrt(a² + b²)"),
    "arctan2": Operation(2, _floating, np.arctan2, "angle of (x=second, y=first) in rad"),
    "dEta": Operation(2, _floating, np.subtract, "difference of two pseudorapidities"),
    "dPhi": Operation(2, _floating, delta_phi, "difference of two angles in rad, -π … π"),
    "dR": Operation(4, _floating, delta_r, "distance in (eta, phi)"),
    **{
        name: Operation(1, _floating, function, "")
        for name, function in {
            "sqrt": np.sqrt,
            "exp": np.exp,
            "expm1": np.expm1,
            "log": np.log,
            "log1p": np.log1p,
            "log2": np.log2,
            "log10": np.log10,
            "sin": np.sin,
            "cos": np.cos,
            "tan": np.tan,
            "arcsin": np.arcsin,
            "arccos": np.arccos,
            "arctan": np.arctan,
            "sinh": np.sinh,
            "cosh": np.cosh,
            "tanh": np.tanh,
            "arcsinh": np.arcsinh,
            "arccosh": np.arccosh,
            "arctanh": np.arctanh,
            "floor": np.floor,
            "ceil": np.ceil,
            "round": np.rint,
            "sign": np.sign,
        }.items()
    },
}
"""Function → what it does; one without a description is NumPy's of that name."""
