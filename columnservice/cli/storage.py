"""The storage as this host sees it: servers, their versions and clocks, a read by each replica.

Knows addresses and registered files; every question has a time limit of XRootD's own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from columnservice.cli.findings import Check, Finding, fine, unchecked, wrong

if TYPE_CHECKING:
    from columnservice.model import FileRecord
    from columnservice.settings import Settings

QUERY_SECONDS = 10
MOST_CLOCK_OFFSET_SECONDS = 60.0
"""Beyond that, tokens are taken as expired, or as not yet valid."""

_TIME_OF_DAY = re.compile(rb'\btod="(\d+)"')


@dataclass(frozen=True)
class Sample:
    """One registered File of a Dataset, to be read by each of its Replicas."""

    dataset: str
    record: FileRecord


def samples(settings: Settings) -> list[Sample]:
    """The first readable File of every Dataset in the catalogue.

    Raises:
        SetupError: the catalogue does not work.
    """
    from columnservice.catalogue.store import Catalogue

    catalogue = Catalogue(settings.catalogue_url)
    try:
        names = [dataset.name for dataset in catalogue.datasets()]
        files = {name: catalogue.files(name) for name in names}
    finally:
        catalogue.close()
    return [Sample(name, records[0]) for name, records in files.items() if records]


def server_of(url: str) -> str:
    """``scheme://host:port`` of an XRootD URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def servers(settings: Settings, found: Sequence[Sample]) -> dict[str, str]:
    """Address → what it is, of all XCaches and origins that are configured or hold files."""
    from columnservice.reader.replicas import is_remote

    named = {cache.rstrip("/"): "XCache" for cache in settings.xcaches.values()}
    origins = [origin.rstrip("/") for origin in settings.xcaches]
    origins += [server_of(s.record.url) for s in found if is_remote(s.record.url)]
    return named | {origin: "origin" for origin in origins if origin not in named}


def server_checks(named: dict[str, str], clocks: dict[str, float]) -> list[Check]:
    """A check for each server; ``clocks`` gets their offsets in seconds, where they tell."""
    from columnservice.reader.replicas import redact

    return [
        Check(f"{role} {redact(address)}", partial(_server, address, role, clocks))
        for address, role in named.items()
    ]


def _server(address: str, role: str, clocks: dict[str, float]) -> Finding:
    from columnservice.reader.faults import OTHER, classify, describe
    from columnservice.reader.replicas import redact

    name = f"{role} {redact(address)}"
    from XRootD import client
    from XRootD.client.flags import QueryCode

    server: Any = client.FileSystem(address)  # type: ignore[attr-defined,no-untyped-call]
    status, version = server.query(QueryCode.CONFIG, "version", timeout=QUERY_SECONDS)
    if not status.ok:
        error = OSError(f"XRootD error: {status.message}")
        found = classify(error) or OTHER
        return wrong(name, f"{found.name}: {describe(error)}", found.remedy)
    asked = time.time()
    status, statistics = server.query(QueryCode.STATS, "a", timeout=QUERY_SECONDS)
    told = _TIME_OF_DAY.search(statistics or b"") if status.ok else None
    if told is not None:
        # whole seconds, told at some moment between question and answer
        clocks[address] = int(told[1]) + 0.5 - (asked + time.time()) / 2
    return fine(name, f"xrootd {version.decode(errors='replace').strip()}")


def clock(clocks: dict[str, float]) -> Finding:
    """How far this host's clock is from the servers'."""
    if not clocks:
        return unchecked("clock", "no server told its time")
    address, offset = max(clocks.items(), key=lambda entry: abs(entry[1]))
    if abs(offset) > MOST_CLOCK_OFFSET_SECONDS:
        return wrong(
            "clock",
            f"{address} is {offset:+.0f} s from this host",
            "Set both clocks by NTP: tokens are refused by a clock that is wrong.",
        )
    return fine("clock", f"within {max(1.0, abs(offset)):.0f} s of {len(clocks)} servers")


def read_checks(
    settings: Settings, found: Sequence[Sample], down: frozenset[str] = frozenset()
) -> list[Check]:
    """A check for each Replica of one File of each Dataset, but for those on servers ``down``."""
    from columnservice.reader.replicas import location_of

    return [
        Check(
            _name_of_read(sample, url),
            partial(_read, sample, url, down),
        )
        for sample in found
        for url in location_of(sample.record, settings.xcaches).replicas
    ]


def _place_of(url: str) -> str:
    """The server of an XRootD URL, or the path."""
    return server_of(url) if "://" in url else url


def _name_of_read(sample: Sample, url: str) -> str:
    from columnservice.reader.replicas import redact

    return f"read {sample.dataset} at {redact(_place_of(url))}"


def _read(sample: Sample, url: str, down: frozenset[str]) -> Finding:
    from columnservice.model import FileLocation
    from columnservice.reader import FilePool

    name = _name_of_read(sample, url)
    if _place_of(url) in down:
        return unchecked(name, "its server does not answer")
    record, pool = sample.record, FilePool(open_files=1)
    location = FileLocation(record.lfn, (url,), record.tree, record.identity)
    begun = time.monotonic()
    try:
        with pool.tree(location) as opened:
            entries = int(opened.tree.num_entries)
    finally:
        pool.close()
    took = time.monotonic() - begun
    return fine(name, f"{record.lfn} opens in {1000 * took:.0f} ms, {entries} events")
