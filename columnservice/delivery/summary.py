"""A Dataset in one look: its Files' fate, coverage, Witnesses, duplicates, failures.

Adds up what registration kept per File. Opens no file.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from columnservice.catalogue.records import FileFailure
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.examine import CHECKS


@dataclass(frozen=True)
class Coverage:
    """How many local events have a parent."""

    events: int
    with_parent: int


@dataclass(frozen=True)
class WitnessSum:
    """How often one Witness agreed, over all Files."""

    name: str
    compared: int
    agreed: int


@dataclass(frozen=True)
class DatasetSummary:
    """What ``dataset show`` tells.

    Attributes:
        name, format, parent: of the Dataset.
        files: status → number of Files.
        entries: events of the readable Files.
        coverage: None for a Dataset without parent, or where nothing was joined yet.
        witnesses: what was compared; empty: no Witness is held by both.
        duplicates: local events that stand more than once in the parents: an error when asked for.
        local_duplicates: keys that stand more than once in a local File: each gets its parent.
        failures: Files that cannot be used, or that failed their last check, and why.
        registering: whether Files are being registered now.
    """

    name: str
    format: str
    parent: str | None
    files: dict[str, int]
    entries: int
    coverage: Coverage | None
    witnesses: list[WitnessSum] | None
    duplicates: int | None
    local_duplicates: int | None
    failures: list[FileFailure]
    registering: bool


def summarise(catalogue: Catalogue, name: str, registering: bool) -> DatasetSummary:
    """Add up what is known of a Dataset.

    Raises:
        UnknownDataset: there is none of that name.
    """
    dataset = catalogue.dataset(name)
    counts = catalogue.counts(name)
    notes: list[dict[str, Any]] = list(catalogue.notes(name, f"{CHECKS}/").values())
    checks = [note for note in notes if "error" not in note]
    failed = [FileFailure(**note) for note in notes if "error" in note]
    joined = bool(checks) and dataset.parent is not None
    witnesses: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for check in checks:
        for witness in check["witnesses"]:
            witnesses[witness["name"]][0] += witness["compared"]
            witnesses[witness["name"]][1] += witness["agreed"]
    return DatasetSummary(
        name=dataset.name,
        format=dataset.format,
        parent=dataset.parent,
        files={
            "ok": counts.ok,
            "pending": counts.pending,
            "declared": counts.declared,
            "failed": counts.failed,
        },
        entries=counts.entries,
        coverage=Coverage(sum(c["events"] for c in checks), sum(c["with_parent"] for c in checks))
        if joined
        else None,
        witnesses=[WitnessSum(n, c, a) for n, (c, a) in witnesses.items()] if joined else None,
        duplicates=sum(c["repeated"] for c in checks) if joined else None,
        local_duplicates=sum(c["local_repeats"] for c in checks) if joined else None,
        failures=[*catalogue.failures(name), *failed],
        registering=registering,
    )
