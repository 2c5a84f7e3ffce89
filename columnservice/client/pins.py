"""A report as a pin: what is answered today must be made as it was made then.

Compares what the service says of a reply with what a saved ``Report`` says of the same columns and
files. Knows provenance; neither HTTP nor arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from columnservice.client.makings import behind, some_of
from columnservice.client.report import Report
from columnservice.errors import ProvenanceChanged


def demand_same(
    pin: Report, dataset: str, file: str, path: str, columns: Iterable[str], told: Mapping[str, Any]
) -> None:
    """Refuse an answer whose Recipes or parents are not those of a report.

    Columns and files that the report does not know are not bound by it.

    Args:
        pin: the report.
        dataset: name of the local Dataset.
        file, path: UUID and path of the local file.
        columns: names of what was answered.
        told: ``Reply.provenance`` of the answer.

    Raises:
        ProvenanceChanged: it was made otherwise; the message names what changed.
    """
    known = pin.record["datasets"].get(dataset)
    if known is None:
        return
    changes = [
        *_recipes(known["recipes"], told, columns),
        *_parents(known["files"].get(file, {}), told),
    ]
    if changes:
        raise ProvenanceChanged(
            f"{path} (dataset {dataset!r}) is answered otherwise than the pinned report says: "
            f"{'; '.join(changes)}."
        )


def _recipes(
    pinned: Mapping[str, list[str]], told: Mapping[str, Any], columns: Iterable[str]
) -> list[str]:
    """The Columns, and those that they are computed from, that have other Recipes now."""
    now, derived = told.get("recipes", {}), told.get("derived", {})
    names = behind(columns, derived)
    other = [n for n in names if n in pinned and not _within(now.get(n, ()), pinned[n])]
    return [f"the recipe of {some_of(other)}"] if other else []


def _within(now: Iterable[str], then: Iterable[str]) -> bool:
    """Whether a file's Recipes are among those of all files then."""
    found = set(now)
    return bool(found) and found <= set(then)


def _parents(file: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    """What is another one among the parents of a file."""
    takes = file.get("takes", ())
    if not takes or told.get("take") in takes:
        return []
    then, now = ({_identity(p): p["lfn"] for p in ps} for ps in (file["parents"], _of(told)))
    gone = [then[i] for i in then if i not in now]
    new = [now[i] for i in now if i not in then]
    changed = sorted(set(gone) & set(new))
    found = {
        "changed": changed,
        "gone": [lfn for lfn in gone if lfn not in changed],
        "new": [lfn for lfn in new if lfn not in changed],
    }
    said = [f"{some_of(lfns)} {what}" for what, lfns in found.items() if lfns]
    return said or ["the join: this file or a parent was updated in place or registered anew"]


def _of(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(told.get("parents", ()))


def _identity(parent: Mapping[str, Any]) -> tuple[Any, Any]:
    return parent.get("uuid"), parent.get("size_bytes")
