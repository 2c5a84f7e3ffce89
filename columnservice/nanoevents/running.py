"""``service.run``: coffea's Runner over a fileset of several Datasets, and an account of it all.

Knows coffea's Runner and its filesets; what a file is offered is decided in ``offer``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from coffea.processor import ProcessorABC

from columnservice.client.client import Service
from columnservice.client.makings import some_of
from columnservice.client.report import LEDGER
from columnservice.errors import ProvenanceChanged, RequestError
from columnservice.nanoevents.branches import ColumnClasses
from columnservice.nanoevents.offer import make_offer
from columnservice.nanoevents.schemas import schema_for

METADATA_KEY = "columnservice"
"""Names the Dataset of the service in the metadata of a fileset's entry."""
_CHOICE = ("columns", "missing", "prefetch", "read_ahead", "pin")


class _Accounted(ProcessorABC):  # type: ignore[misc]
    """A processor whose output travels with what its process fetched, and which computed Columns
    it was given in this run: a process that lives on may have fetched others in earlier ones."""

    def __init__(self, processor: Any, service: str, run: str) -> None:
        self.processor, self.service, self.run = processor, service, run

    def process(self, events: Any) -> dict[str, Any]:
        work = getattr(self.processor, "process", self.processor)
        out = work(events)
        report = LEDGER.report(self.service, clear=True)
        return {"out": out, "report": report, "computed": LEDGER.computed(self.run)}

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        finish = getattr(self.processor, "postprocess", None)
        if callable(finish):
            finished = finish(accumulator["out"])
            if finished is not None:
                accumulator["out"] = finished
        return accumulator


def run(service: Service, runner: Any, fileset: Any, processor: Any, **more: Any) -> Any:
    """What ``Service.run`` returns; see there."""
    if runner.format != "root":
        raise RequestError(
            f"A Runner for {runner.format} files cannot be given remote columns.",
            "Use ROOT files with TTrees, or write the columns with `columnservice fetch`.",
        )
    told = dict(more.pop("uproot_options", None) or {})
    if "custom_classes" in told:
        raise RequestError(
            "uproot_options already hold custom_classes.",
            "Leave them to service.run(), or call the Runner with service.nanoevents().",
        )
    if isinstance(fileset, str | Path):
        fileset = json.loads(Path(fileset).read_text())
    choice = {name: more.pop(name) for name in _CHOICE if name in more}
    offer = make_offer(service, named=named_datasets(fileset), **choice)
    prepared = copy.copy(runner)
    prepared.schema = schema_for(runner.schema, service.url)
    told["custom_classes"] = ColumnClasses(offer)
    if prepared.use_dataframes:
        return prepared(fileset, processor, uproot_options=told, **more)
    accounted = _Accounted(processor, service.url, offer.key)
    return _accounted(service, prepared, fileset, accounted, uproot_options=told, **more)


def _accounted(
    service: Service, runner: Callable[..., Any], fileset: Any, processor: _Accounted, **more: Any
) -> Any:
    """The Runner's result; what all of its processes fetched is added to this one's report."""
    before = LEDGER.report(service.url, clear=True)
    try:
        result = runner(fileset, processor, **more)
    finally:
        LEDGER.absorb(before)
    accounts: list[Mapping[str, Any]] = []
    result = _without_account(result, accounts)
    for account in accounts:
        LEDGER.absorb(account["report"])
    demand_one_version(entry for account in accounts for entry in account["computed"])
    return result


def demand_one_version(computed: Iterable[tuple[str, str, str]]) -> None:
    """Refuse a result to which computed Columns came in two versions.

    Where a file's UUID decides its Dataset, each process fetches the list of Columns itself, when
    it opens the first file; what changed in between only shows when all is together. What is read
    may be read differently in files of different layouts; what is computed has one Recipe.

    Args:
        computed: what ``Ledger.computed`` says of this run, of all processes.

    Raises:
        ProvenanceChanged: somebody changed a Column meanwhile.
    """
    versions: dict[tuple[str, str], set[str]] = {}
    for dataset, column, digest in computed:
        versions.setdefault((dataset, column), set()).add(digest)
    changed = sorted(
        f"{column} of {dataset}" for (dataset, column), found in versions.items() if len(found) > 1
    )
    if changed:
        raise ProvenanceChanged(
            f"Some of the files were given another version than others: {some_of(changed)}.",
            "Run over all files again.",
        )


def _without_account(result: Any, accounts: list[Mapping[str, Any]]) -> Any:
    """The Runner's result as it would be without ``_Accounted``, in any of its shapes."""
    if isinstance(result, tuple):  # savemetrics: output and metrics
        return (_without_account(result[0], accounts), *result[1:])
    if isinstance(result, dict):
        accounts.append(result)
        return result["out"]
    if result.is_ok():  # use_result_type
        return type(result)(_without_account(result.unwrap(), accounts))
    return result


def named_datasets(fileset: Any) -> dict[str, str]:
    """Path of each file → the Dataset that its entry's metadata names.

    Raises:
        RequestError: one file is said to belong to two Datasets.
    """
    named: dict[str, str] = {}
    for entry in fileset.values() if isinstance(fileset, Mapping) else ():
        metadata = _part(entry, "metadata") or {}
        if METADATA_KEY not in metadata:
            continue
        dataset = str(metadata[METADATA_KEY])
        for path in map(str, _part(entry, "files") or ()):
            if named.setdefault(path, dataset) != dataset:
                raise RequestError(
                    f"{path} is said to belong to {named[path]!r} and to {dataset!r}.",
                    "Run over them separately.",
                )
    return named


def _part(entry: Any, name: str) -> Any:
    """A part of a fileset's entry, which may be a mapping or an object of coffea's."""
    return entry.get(name) if isinstance(entry, Mapping) else getattr(entry, name, None)
