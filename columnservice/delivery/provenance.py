"""What a reply is made of: the state that it shows, and the parents and Recipes behind it.

Pure functions of a Plan and its Outline: nothing is asked, nothing is read.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from columnservice.catalogue.makings import making
from columnservice.delivery.outline import Outline
from columnservice.delivery.plan import Plan
from columnservice.model import FileLocation, digest_of

REPLY_VERSION = 2
"""Counted up when replies say other things of the same values."""


def state_of(plan: Plan) -> str:
    """A digest that changes whenever any byte of the reply may: its parents, Recipes or rows."""
    request = plan.request
    parts = [(part.start, part.stop, part.pieces()) for part in plan.parts]
    names = [c.name for c in plan.outline.columns]
    # Events that seem to have no parent may stand in files that cannot be used at present.
    return digest_of(
        "reply",
        REPLY_VERSION,
        request.start,
        request.stop,
        names,
        parts,
        plan.outline.unusable_parents,
    )


def servers_of(location: FileLocation) -> list[str]:
    """Where a file is read, in order of preference: ``root://host:port``, or ``local``."""
    parts = (urlsplit(url) for url in location.replicas)
    found = (f"{p.scheme}://{p.netloc.rpartition('@')[2]}" if p.netloc else "local" for p in parts)
    return list(dict.fromkeys(found))


def provenance_of(outline: Outline) -> dict[str, Any]:
    """What ``wire.PROVENANCE`` says of all replies with rows of a File."""
    needs = outline.needs
    recipes = {
        c.name: sorted({making(c, r) for r in {*outline.recipes[c.name]}}) for c in needs.parent
    }
    recipes |= {c.name: [making(c, derivation)] for c, derivation in needs.derived}
    recipes |= {c.name: [making(c, outline.local_recipes[c.name])] for c in needs.local}
    return {
        "parent": outline.parent,
        "take": outline.join.take,
        "parents": [
            {"lfn": r.lfn, **asdict(r.identity), "servers": servers_of(location)}
            for r, location in zip(outline.parents, outline.join.parents, strict=True)
        ],
        "recipes": recipes,
        "derived": {c.name: list(derivation.inputs) for c, derivation in needs.derived},
    }
