"""Datasets over HTTP: register, list, show, check, refresh, remove, and follow a registration."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from functools import cache
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from columnservice.api.auth import Caller, demand_read, demand_write
from columnservice.api.rooms import Home
from columnservice.catalogue.listing import expand
from columnservice.catalogue.manifest import ManifestEntry, entry_of
from columnservice.delivery.house import House
from columnservice.delivery.summary import summarise
from columnservice.errors import ColumnServiceError, RequestError, problem
from columnservice.model import Dataset, FormatName

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])
MOST_FILES = 100_000
FOLLOWERS = 1000
LISTERS = 16


class ManifestFile(BaseModel):
    """A File that is known without being opened."""

    model_config = ConfigDict(extra="forbid")

    file: str
    size: int | None = Field(default=None, ge=0)
    lumis: list[tuple[int, int, int]] | dict[str, list[tuple[int, int]]] = []


class NewFiles(BaseModel):
    """Files to register: paths, URLs, directories or patterns; or a manifest of known ones."""

    model_config = ConfigDict(extra="forbid")

    files: list[str] = Field(default_factory=list, max_length=MOST_FILES)
    manifest: list[ManifestFile] = Field(default_factory=list)


class OldFiles(BaseModel):
    """Files to forget."""

    model_config = ConfigDict(extra="forbid")

    files: list[str] = Field(min_length=1, max_length=MOST_FILES)


class NewDataset(NewFiles):
    """A Dataset to register."""

    name: str
    format: FormatName
    parent: str | None = None


def _summary(house: House, name: str) -> dict[str, Any]:
    return asdict(summarise(house.catalogue, name, house.registrar.is_running(name)))


def _expanded(house: House, patterns: list[str]) -> list[str]:
    return [url for pattern in patterns for url in expand(pattern, house.settings)]


def _declared(house: House, manifest: list[ManifestFile]) -> list[ManifestEntry]:
    entries = [entry_of(file.model_dump()) for file in manifest]
    return [replace(e, url=url) for e in entries for url in expand(e.url, house.settings)]


@router.get("")
def list_datasets(
    house: Home, caller: Caller, file: Annotated[str | None, Query()] = None
) -> dict[str, Any]:
    """All Datasets; with ``file`` only those that hold the File of this UUID and have a parent."""
    known = house.catalogue.datasets()
    if file is not None:
        holders = set(house.catalogue.holders(file.lower()))
        known = tuple(d for d in known if d.name in holders and d.parent is not None)
    for dataset in known:
        demand_read(caller, dataset.name)
    return {"datasets": [_summary(house, dataset.name) for dataset in known]}


@cache
def _listers() -> CapacityLimiter:
    """Threads that list directories: a storage that does not answer keeps nobody else waiting."""
    return CapacityLimiter(LISTERS)


@router.post("", status_code=201)
async def add_dataset(new: NewDataset, house: Home, caller: Caller) -> dict[str, Any]:
    """Register a Dataset; its Files are opened in the background."""
    demand_write(caller, new.name)
    dataset = Dataset(new.name, new.format, new.parent)

    def work() -> dict[str, Any]:
        urls, declared = _expanded(house, new.files), _declared(house, new.manifest)
        house.catalogue.add_dataset(dataset)
        return _add(house, new.name, urls, declared)

    return await to_thread.run_sync(work, limiter=_listers())


def _add(house: House, name: str, urls: list[str], declared: list[ManifestEntry]) -> dict[str, Any]:
    house.catalogue.retry_failures(name)
    house.catalogue.import_manifest(name, declared)
    house.catalogue.add_files(name, urls)
    house.registrar.start(name)
    return _summary(house, name)


@router.get("/{name}")
def show_dataset(name: str, house: Home, caller: Caller) -> dict[str, Any]:
    """A Dataset: its Files' fate, coverage, Witnesses, duplicates."""
    demand_read(caller, name)
    return _summary(house, name)


@router.delete("/{name}", status_code=204)
def remove_dataset(name: str, house: Home, caller: Caller) -> Response:
    """Forget a Dataset. Its files stay where they are."""
    demand_write(caller, name)
    if house.registrar.is_running(name):
        raise RequestError(
            f"Files of {name} are being registered.", "Wait until that is done, then remove it."
        )
    house.catalogue.remove_dataset(name)
    return Response(status_code=204)


@router.get("/{name}/files")
def list_files(name: str, house: Home, caller: Caller) -> dict[str, Any]:
    """The Files of a Dataset, readable ones first."""
    demand_read(caller, name)
    good = [
        {
            "url": r.url,
            "lfn": r.lfn,
            "uuid": r.identity.uuid,
            "size_bytes": r.identity.size_bytes,
            "entries": r.entries,
            "status": "ok",
        }
        for r in house.catalogue.files(name)
    ]
    waiting = [{"url": url, "status": "pending"} for url in house.catalogue.pending(name)]
    bad = [{**asdict(f), "status": "failed"} for f in house.catalogue.failures(name)]
    return {"files": [*good, *waiting, *bad]}


@router.post("/{name}/files", status_code=201)
async def add_files(name: str, new: NewFiles, house: Home, caller: Caller) -> dict[str, Any]:
    """Add Files to a Dataset; those that failed before are tried again."""
    demand_write(caller, name)

    def work() -> dict[str, Any]:
        house.catalogue.dataset(name)
        return _add(house, name, _expanded(house, new.files), _declared(house, new.manifest))

    return await to_thread.run_sync(work, limiter=_listers())


@router.delete("/{name}/files", status_code=200)
def remove_files(name: str, old: OldFiles, house: Home, caller: Caller) -> dict[str, Any]:
    """Forget Files of a Dataset, named as they are registered. The files stay where they are."""
    demand_write(caller, name)
    known = {record.url: record for record in house.catalogue.files(name)}
    removed = house.catalogue.remove_files(name, old.files)
    if removed < len(set(old.files)):
        raise RequestError(
            f"{len(set(old.files)) - removed} of these files are not in {name}.",
            "`columnservice dataset show` names the files as they are registered.",
        )
    for url in old.files:
        if url in known:
            house.registrar.examiner.forget(name, known[url])
    return _summary(house, name)


@router.post("/{name}/check", status_code=202)
def check_dataset(name: str, house: Home, caller: Caller) -> dict[str, Any]:
    """Join and compare every File with its parents anew, in the background."""
    demand_write(caller, name)
    house.catalogue.dataset(name)
    house.registrar.start(name, "check")
    return _summary(house, name)


@router.post("/{name}/refresh", status_code=202)
def refresh_dataset(name: str, house: Home, caller: Caller) -> dict[str, Any]:
    """Open every File anew, in the background: for files that were replaced or updated."""
    demand_write(caller, name)
    house.catalogue.dataset(name)
    house.catalogue.retry_failures(name)
    house.registrar.start(name, "refresh")
    return _summary(house, name)


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


@cache
def _followers() -> CapacityLimiter:
    """Threads that follow registrations: they wait for long, and must not keep others waiting."""
    return CapacityLimiter(FOLLOWERS)


async def _events(house: House, name: str) -> AsyncIterator[str]:
    steps, end = house.registrar.listen(name), object()
    try:
        while True:
            step: Any = await to_thread.run_sync(next, steps, end, limiter=_followers())
            if step is end:
                break
            yield _event("progress", asdict(step)) if step else ": nothing new\n\n"
    except ColumnServiceError as error:
        yield _event("error", problem(error))
        return
    yield _event("done", await to_thread.run_sync(_summary, house, name))


@router.get("/{name}/events")
def follow(name: str, house: Home, caller: Caller) -> StreamingResponse:
    """Server-sent events: the steps of a registration, then ``done`` with the Dataset."""
    demand_read(caller, name)
    house.catalogue.dataset(name)
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(_events(house, name), media_type="text/event-stream", headers=headers)
