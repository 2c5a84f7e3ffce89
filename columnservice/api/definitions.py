"""Definitions over HTTP: Columns that users compute from others, and functions of the operator."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from columnservice.api.auth import Caller, demand_define, demand_read, demand_undefine
from columnservice.api.rooms import Home
from columnservice.catalogue import drafting
from columnservice.catalogue.columns import columns_of
from columnservice.catalogue.defined import standing
from columnservice.catalogue.definitions import Definition
from columnservice.model import Column
from columnservice.selection.installed import InstalledFunction, installed
from columnservice.selection.parsing import MOST_CHARACTERS

router = APIRouter(prefix="/v1/datasets/{name}/definitions", tags=["columns"])


class NewDefinition(BaseModel):
    """A Column to define."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=128)
    expression: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    doc: str = Field(default="", max_length=2000)
    unit: str = Field(default="", max_length=64)


def _shown(column: Column | None) -> dict[str, Any]:
    if column is None:
        return {"type": "", "support": "unsupported", "reason": "not offered"}
    kind = column.type if column.members else ""
    return {"type": kind, "support": column.support, "reason": column.reason}


def _definition(one: Definition, column: Column | None) -> dict[str, Any]:
    return {
        "name": one.name,
        "expression": one.expression,
        "author": one.author,
        "doc": one.doc,
        "unit": one.unit,
        "version": one.version,
        "created": datetime.fromtimestamp(one.created_seconds, UTC).isoformat(),
        **_shown(column),
    }


def _function(one: InstalledFunction, column: Column) -> dict[str, Any]:
    return {
        "name": one.name,
        "source": one.source,
        "author": one.author,
        "doc": one.doc,
        "unit": one.unit,
        "version": one.version,
        "inputs": list(one.inputs),
        **_shown(column),
    }


@router.get("")
def list_definitions(name: str, house: Home, caller: Caller) -> dict[str, Any]:
    """What users defined, and what functions of the operator compute, in this Dataset."""
    demand_read(caller, name)
    definitions = house.catalogue.definitions(name)
    known = {o.column.name: o for o in columns_of(house.catalogue, name)}
    functions, broken = installed()
    mine = [(f, standing(f, known)) for f in functions]
    return {
        "definitions": [_definition(d, standing(d, known)) for d in definitions],
        "functions": [_function(f, c) for f, c in mine if c is not None],
        "broken": [{"source": b.source, "reason": b.reason} for b in broken],
    }


@router.post("", status_code=201)
def define(name: str, new: NewDefinition, house: Home, caller: Caller) -> dict[str, Any]:
    """Define a Column; the same name again changes it and counts its version up."""
    draft = Definition(
        new.name,
        new.expression,
        caller.name,
        " ".join(new.doc.split()),
        " ".join(new.unit.split()),
        created_seconds=int(time.time()),
    )
    kept = drafting.define(
        house.catalogue, name, draft, lambda author: demand_define(caller, name, author)
    )
    known = {o.column.name: o for o in columns_of(house.catalogue, name)}
    return _definition(kept, standing(kept, known))


@router.delete("/{column}", status_code=204)
def undefine(name: str, column: str, house: Home, caller: Caller) -> Response:
    """Forget a definition; what was made from it is evicted in time."""
    drafting.undefine(
        house.catalogue, name, column, lambda author: demand_undefine(caller, name, author)
    )
    return Response(status_code=204)
