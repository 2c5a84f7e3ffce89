"""Columns that are computed by Python functions which the operator installed.

A distribution registers them under the entry point group ``columnservice.columns``; each entry
point names an object that declares what it needs and what it gives, and that can be called:

- ``name``: of the Column, ``Muon_score``;
- ``inputs``: names of the Columns that it is called with, in this order;
- ``dtype``: of its values, ``float32``;
- ``collection``: whose objects the values belong to, ``Muon``; None: one value per event;
- ``version``: an integer, counted up when the same inputs would give another result;
- ``doc``, ``author`` and, if it has one, ``unit``: for readers;
- ``__call__(*arrays)``: gives an ``awkward.Array`` of as many events as its arguments have.

It is called with some events at a time and must treat each event by itself. It runs with the rights
of the service. Only what the operator installs runs; nothing of it comes from a request.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np

from columnservice.errors import FunctionFailed

log = logging.getLogger(__name__)
GROUP = "columnservice.columns"
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float32", "float64",
)  # fmt: skip


@dataclass(frozen=True)
class InstalledFunction:
    """What an entry point's object declared.

    Attributes:
        name, inputs, dtype, collection, version, doc, author, unit: as declared.
        source: where it comes from: distribution, its version, and the object.
        call: the object.
    """

    name: str
    inputs: tuple[str, ...]
    dtype: str
    collection: str | None
    version: int
    doc: str
    author: str
    unit: str
    source: str
    call: Callable[..., Any]


@dataclass(frozen=True)
class Broken:
    """An entry point that cannot be used, and why."""

    source: str
    reason: str


def declared(found: Any, source: str) -> InstalledFunction:
    """What an object declares.

    Raises:
        ValueError: something is missing, or of the wrong kind.
    """
    needed = ("name", "inputs", "dtype", "collection", "version", "doc", "author")
    missing = [part for part in needed if not hasattr(found, part)]
    if missing or not callable(found):
        raise ValueError(f"it does not declare {', '.join(missing or ['__call__'])}")
    if isinstance(found.inputs, str) or not all(isinstance(i, str) for i in found.inputs):
        raise ValueError("inputs is not a list of names")
    if not found.inputs:
        raise ValueError("it needs no input")
    if not isinstance(found.name, str) or not re.fullmatch(r"[A-Za-z][\w.]*", found.name, re.A):
        raise ValueError(f"{found.name!r} cannot be a column's name")
    if str(found.dtype) not in DTYPES and np.dtype(found.dtype).name not in DTYPES:
        raise ValueError(f"dtype {found.dtype!r} is none of {', '.join(DTYPES)}")
    if type(found.version) is not int:
        raise ValueError("version is not an integer")
    collection = found.collection
    if collection is not None and not isinstance(collection, str):
        raise ValueError("collection is neither a name nor None")
    return InstalledFunction(
        found.name,
        tuple(found.inputs),
        np.dtype(found.dtype).name,
        collection,
        found.version,
        _line(found.doc),
        _line(found.author),
        _line(getattr(found, "unit", "")),
        source,
        found,
    )


def _line(told: Any) -> str:
    """What is shown to readers, in one line."""
    line = " ".join(str(told).split())
    if not line.isprintable():
        raise ValueError(f"{line!r} cannot be shown")
    return line


def _source_of(entry: metadata.EntryPoint) -> str:
    """``pfiso 1.2, pfiso.columns:isolation``."""
    made = entry.dist
    return f"{made.name} {made.version}, {entry.value}" if made is not None else entry.value


@cache
def installed() -> tuple[tuple[InstalledFunction, ...], tuple[Broken, ...]]:
    """All functions that are installed, by name; and what could not be used, with the reason.

    Loaded once per process. Of two with one name both are refused: which one was meant would be a
    matter of chance.
    """
    functions: dict[str, list[InstalledFunction]] = {}
    broken = []
    for entry in metadata.entry_points(group=GROUP):
        source = _source_of(entry)
        try:
            one = declared(entry.load(), source)
        except (Exception, SystemExit) as error:
            log.exception("column function %s cannot be used", source)
            broken.append(Broken(source, _in_one_line(error)))
        else:
            functions.setdefault(one.name, []).append(one)
    for name, several in functions.items():
        if len(several) > 1:
            both = " and ".join(one.source for one in several)
            broken += [Broken(one.source, f"{name} is declared by {both}") for one in several]
    alone = (several[0] for _, several in sorted(functions.items()) if len(several) == 1)
    return tuple(alone), tuple(broken)


def function_named(name: str, source: str, version: int) -> InstalledFunction:
    """The function of a Column, the very one that was meant.

    Raises:
        FunctionFailed: it is not installed here, or is another version of it.
    """
    for one in installed()[0]:
        if one.name == name and (one.source, one.version) == (source, version):
            return one
    raise FunctionFailed(
        f"The function of {name} ({source}, version {version}) is not installed here.",
        "Install the same packages for the service and its workers, and restart it.",
    )


def _in_one_line(error: BaseException) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
