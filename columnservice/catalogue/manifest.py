"""Manifests: what somebody else knows of files (size, luminosity blocks), so that none is opened.

Three spellings: JSON lines or a JSON list of ``{"file", "size", "lumis"}``, where lumis is
``[[run, first, last], …]`` or ``{"run": [[first, last], …]}`` as in CMS's lists of good blocks; or
CSV with the header ``file,size,lumis`` and lumis like ``1:1-50;1:52``. Knows no database.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from columnservice.errors import RequestError
from columnservice.model import LumiRange

_REMEDY = (
    "A manifest is JSON, JSON lines or CSV with file, size (bytes) and lumis "
    "([[run, first, last], …]; CSV: run:first-last;run:block)."
)
_LARGEST = 0xFFFF_FFFF


@dataclass(frozen=True)
class ManifestEntry:
    """One file of a manifest: its URL, its size, and its luminosity blocks (empty: not known)."""

    url: str
    size_bytes: int | None
    lumis: tuple[LumiRange, ...]


def parse_manifest(text: str) -> tuple[ManifestEntry, ...]:
    """The files of a manifest's text, in its order.

    Raises:
        RequestError: it is none of the three spellings; names the line or entry.
    """
    start = text.lstrip()[:1]
    if start == "[":
        documents = _json(text, "The manifest")
    elif start == "{":
        lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
        documents = [_json(line, f"Line {n} of the manifest") for n, line in lines]
    else:
        documents = list(csv.DictReader(io.StringIO(text)))
    return tuple(entry_of(d, f"Entry {n} of the manifest") for n, d in enumerate(documents, 1))


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RequestError(f"{what} is not JSON: {error}.", _REMEDY) from None


def entry_of(document: Any, what: str = "The manifest entry") -> ManifestEntry:
    """One file of a manifest from its JSON object (or CSV row); ``what`` names it in messages."""
    if not isinstance(document, Mapping) or not isinstance(document.get("file"), str):
        raise RequestError(f"{what} names no file.", _REMEDY)
    try:
        size = document.get("size")
        size_bytes = None if size in (None, "") else int(str(size))
        ranges = tuple(_range(*r) for r in _triples(document.get("lumis")))
    except (TypeError, ValueError) as error:
        raise RequestError(f"{what} ({document['file']}): {error}.", _REMEDY) from None
    return ManifestEntry(document["file"], size_bytes, ranges)


def entry_to_json(entry: ManifestEntry) -> dict[str, Any]:
    """What ``entry_of`` reads."""
    lumis = [[r.run, r.first, r.last] for r in entry.lumis]
    return {"file": entry.url, "size": entry.size_bytes, "lumis": lumis}


def _triples(told: Any) -> list[Any]:
    if told is None:
        return []
    if isinstance(told, str):
        return [_triple(part) for part in told.split(";") if part.strip()]
    if isinstance(told, Mapping):
        return [(run, *pair) for run, pairs in told.items() for pair in pairs]
    return list(told)


def _triple(text: str) -> tuple[str, str, str]:
    run, _, blocks = text.strip().partition(":")
    first, _, last = blocks.partition("-")
    return run, first, last or first


def _range(run: Any, first: Any, last: Any) -> LumiRange:
    found = LumiRange(int(str(run)), int(str(first)), int(str(last)))
    if not (0 <= found.run <= _LARGEST and 0 <= found.first <= found.last <= _LARGEST):
        raise ValueError(f"run {run}, blocks {first} to {last} is no range of luminosity blocks")
    return found
