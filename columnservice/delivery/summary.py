"""A Dataset in one look: its Files' fate, coverage, Witnesses, duplicates, failures.

Adds up what registration kept per File. Opens no file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from columnservice.alignment.matched import MatchCounts, added, quantiles
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
class MatchSum:
    """How well the objects of one local collection match the parent's, over all Files.

    Attributes:
        local, parent: the collections.
        objects, matched, ambiguous: sampled local objects; with a match; in doubt and so without.
        dr: quantile → distance in (η, φ) below which so many of the matches lie.
        problem: why some File could not be looked at.
        told: all that in words.
    """

    local: str
    parent: str
    objects: int
    matched: int
    ambiguous: int
    dr: dict[str, float]
    problem: str
    told: str


def _match_sum(counts: MatchCounts) -> MatchSum:
    dr, objects, matched = quantiles(counts), counts.objects, counts.matched
    near = ", ".join(f"{name} within dR {far:.1g}" for name, far in dr.items())
    doubt = f"; {counts.ambiguous} in doubt" if counts.ambiguous else ""
    told = f"{matched} of {objects} sampled objects{doubt}" + (f"; {near}" if near else "")
    if not objects:
        told = counts.problem or "no objects in the sample"
    names = (counts.local, counts.parent)
    return MatchSum(*names, objects, matched, counts.ambiguous, dr, counts.problem, told)


def matches_of(checks: Iterable[Mapping[str, Any]]) -> list[MatchSum]:
    """The sum of what examinations found, by collection."""
    found: dict[tuple[str, str], list[MatchCounts]] = defaultdict(list)
    for check in checks:
        for match in check.get("matches", ()):
            told = MatchCounts(**{**match, "distances": tuple(match["distances"])})
            found[told.local, told.parent].append(told)
    return [_match_sum(added(counts)) for counts in found.values()]


def matches(catalogue: Catalogue, name: str) -> list[MatchSum]:
    """How well a Dataset's objects match those of its parent, as far as it was looked at."""
    return matches_with_state(catalogue, name)[0]


def matches_with_state(catalogue: Catalogue, name: str) -> tuple[list[MatchSum], str]:
    """``matches``, and the very ``matches_state`` that they follow from."""
    notes, state = catalogue.notes_with_state(name, f"{CHECKS}/")
    return matches_of(note for note in notes.values() if "error" not in note), state


def matches_state(catalogue: Catalogue, name: str) -> str:
    """What is another one as soon as ``matches`` may be."""
    return catalogue.notes_state(name, f"{CHECKS}/")


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
        matches: how well local objects match the parent's, on a sample; None as for coverage.
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
    matches: list[MatchSum] | None
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
        matches=matches_of(checks) if joined else None,
        failures=[*catalogue.failures(name), *failed],
        registering=registering,
    )
