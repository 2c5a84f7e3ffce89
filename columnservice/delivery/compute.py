"""The computations of derived Columns: values of some Columns in, values of another one out.

Each is a pure function of plain arrays for the rows of one Partition. Knows neither files nor
Pieces; ``model.Derivation`` names one of these and its inputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from columnservice.alignment.claims import in_order, linked
from columnservice.alignment.match import Objects, Window, match
from columnservice.alignment.taken import distance, renumbered, take_matched
from columnservice.delivery.functions import run_function
from columnservice.errors import CountsMismatch
from columnservice.model import Derivation, Offsets, Ragged, plain
from columnservice.reader.progress import tick
from columnservice.selection import Program, check, evaluate, parse
from columnservice.selection.names import Names
from columnservice.wire import column_from_json

Parameters: TypeAlias = Mapping[str, Any]
Compute: TypeAlias = Callable[[Sequence[Ragged], Parameters], Ragged]


def compute(derivation: Derivation, inputs: Sequence[Ragged]) -> Ragged:
    """A derived Column's values.

    Args:
        derivation: says which computation, with which parameters.
        inputs: one Ragged per ``derivation.inputs``, in that order, all for the same rows.

    Raises:
        CountsMismatch: inputs that must hold the same objects hold different numbers of them.
    """
    return COMPUTES[derivation.compute](inputs, dict(derivation.parameters))


def _matched(inputs: Sequence[Ragged], parameters: Parameters) -> tuple[Ragged, Ragged]:
    told = dict(parameters)
    ordered, key = told.pop("in_order", False), told.pop("link_key", None)
    by_link, claim = told.pop("by_link", False), None
    if key is not None:
        *inputs, keys, places = inputs
        claim = linked(keys, places, key)
    half = len(inputs) // 2
    eta, phi, pt, *labels = inputs[:half]
    if by_link and claim is not None:
        # What has no direction has no candidate.
        eta = plain(np.where(claim.values >= 0, eta.values, np.nan), *eta.offsets)
    local = Objects(eta, phi, pt, tuple(labels), claim)
    eta, phi, pt, *labels = inputs[half:]
    parent, window = Objects(eta, phi, pt, tuple(labels)), Window(**told)
    if ordered:
        local = replace(local, link=in_order(local, parent, window))
    return match(local, parent, window)


def _match_index(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """Inputs: eta, phi, pt and labels of the local objects, then those of the parent's.

    With the parameter ``link_key``, the keys and places of the local objects' links stand behind:
    those with that key lead into the parent's container; with ``by_link``, only objects with such a
    link have a match. With ``in_order``, events that hold all the parent's objects in its order are
    known by that.
    """
    return _matched(inputs, parameters)[0]


def _match_ambiguous(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """The same inputs."""
    return _matched(inputs, parameters)[1]


def _has_match(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Input: a match index."""
    (index,) = inputs
    return plain(index.values >= 0, *index.offsets)


def _match_distance(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Inputs: a match index; eta and phi of the local objects, then of the parent's."""
    index, *directions = inputs
    return distance(index, *directions)


def _take_matched(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Inputs: a match index; the parent objects' values; a Column that they were matched by.

    The last is needed only where Columns of one collection may differ in length.
    """
    index, values, *known = inputs
    if any(not np.array_equal(values.offsets[0], k.offsets[0]) for k in known):
        raise CountsMismatch("A parent column holds other numbers of objects than its collection.")
    return take_matched(index, values)


def _take_renumbered(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """Inputs: as of ``take_matched``, the values places in a parent collection; at the end the
    match index of the local collection whose places they become.
    """
    *inputs, index = inputs
    return renumbered(_take_matched(inputs, parameters), index)


def _expression(inputs: Sequence[Ragged], parameters: Parameters) -> Ragged:
    """Inputs: what the expression names. Parameters: its text, and what its Columns are.

    Whose objects a Column describes was found from all Columns of the Dataset, and is told here.
    """
    program = _program(parameters["text"], parameters["columns"])
    return evaluate(program, dict(zip(program.inputs, inputs, strict=True)), tick)


@lru_cache(maxsize=256)
def _program(text: str, columns: str) -> Program:
    documents = json.loads(columns)
    axes = {d["name"]: d["axis"] for d in documents if "axis" in d}
    known = [column_from_json(document) for document in documents]
    return check(parse(text), Names.of(known, axes), text)


def _list_owners(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Input: lists of numbers per object. Per event, for each number of 0 or more, its object."""
    (lists,) = inputs
    outer, inner = lists.offsets
    numbers = np.arange(len(inner) - 1) - np.repeat(outer[:-1], np.diff(outer))
    owners = np.repeat(numbers.astype(np.int32), np.diff(inner))
    return plain(owners[lists.values >= 0], _joined(lists))


def _list_items(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Input: lists of numbers per object. Per event, all numbers of 0 or more."""
    (lists,) = inputs
    return plain(lists.values[lists.values >= 0], _joined(lists))


def _joined(lists: Ragged) -> Offsets:
    """Offsets, by event, of the numbers of 0 or more in all lists of an event."""
    outer, inner = lists.offsets
    before = np.concatenate(([0], np.cumsum(lists.values >= 0)))
    return before[inner[outer]].astype(np.int64)


def _lengths(inputs: Sequence[Ragged], _: Parameters) -> Ragged:
    """Input: lists per event."""
    (lists,) = inputs
    return plain(np.diff(lists.offsets[0]).astype(np.int32))


COMPUTES: Mapping[str, Compute] = {
    "match_index": _match_index,
    "match_ambiguous": _match_ambiguous,
    "has_match": _has_match,
    "match_distance": _match_distance,
    "take_matched": _take_matched,
    "take_renumbered": _take_renumbered,
    "list_owners": _list_owners,
    "list_items": _list_items,
    "lengths": _lengths,
    "expression": _expression,
    "function": run_function,
}
