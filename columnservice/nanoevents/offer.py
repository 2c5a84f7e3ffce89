"""What a user asked for, frozen: service, Datasets, column lists, ``missing``. Pickles.

Decides which Dataset a file belongs to. Knows the client; neither uproot nor coffea.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import uuid4

from columnservice.client.client import EAGER_LIMIT_BYTES, Service
from columnservice.client.fetching import ColumnServiceWarning
from columnservice.client.report import Report
from columnservice.errors import (
    RequestError,
    TransportError,
)
from columnservice.nanoevents.columnlist import Catalogue, catalogue_of

MISSING = ("error", "mask")


@dataclass(frozen=True)
class Offer:
    """The arguments of ``service.nanoevents``.

    Attributes:
        service: where Columns are asked for.
        datasets: names to choose from; None for all.
        by_name: one Dataset was named, so that no file needs to be looked up.
        catalogues: the column lists of ``datasets``, as they were when the offer was made.
        patterns: what ``columns=`` said.
        missing: ``error`` or ``mask``.
        prefetch: names to ask for together at the first touch of each range.
        read_ahead: whether the next range is fetched in the background.
        eager_limit_bytes: what eager mode may load.
        named: path of a file → the one Dataset that was named for it.
        pin: a report that says how every Column must be made; None: as the service makes it.
        key: names this offer among all. What is looked up later, when files are opened, is looked
            up once per process for it and its copies, and never taken from an older offer.
    """

    service: Service
    datasets: tuple[str, ...] | None
    by_name: bool
    catalogues: tuple[Catalogue, ...]
    patterns: tuple[str, ...] | None
    missing: str
    prefetch: tuple[str, ...] = ()
    read_ahead: bool = True
    eager_limit_bytes: int = EAGER_LIMIT_BYTES
    named: Mapping[str, str] = field(default_factory=dict)
    pin: Report | None = None
    key: str = ""

    def is_named(self, path: str) -> bool:
        """Whether the user named the one Dataset that a file belongs to."""
        return self.by_name or path in self.named

    def catalogue_for(self, uuid: str, path: str) -> Catalogue | None:
        """The Dataset that a local file belongs to; None, with one warning, where there is none.

        Raises:
            RequestError: several Datasets hold the file.
            ColumnServiceError: the service refuses to say.
        """
        if self.by_name:
            return self.catalogues[0]
        if path in self.named:
            return self._known(self.named[path])
        holders = self._holders(uuid)
        if holders is None:
            return None
        if self.datasets is not None:
            holders = tuple(name for name in holders if name in self.datasets)
        if len(holders) > 1:
            raise RequestError(
                f"{path} belongs to {len(holders)} datasets: {', '.join(holders)}.",
                "Name one with dataset=…",
            )
        if not holders:
            asked = "" if self.datasets is None else f" in {', '.join(self.datasets)}"
            warn_once(
                self.service.url + uuid,
                f"The column service does not know {path}{asked}: no remote columns.",
            )
            return None
        return self._known(holders[0])

    def _known(self, dataset: str) -> Catalogue | None:
        """A column list, fetched now where the offer does not hold it."""
        for catalogue in self.catalogues:
            if catalogue.dataset == dataset:
                return catalogue
        return self._lately(dataset)

    def _holders(self, uuid: str) -> tuple[str, ...] | None:
        """Names of the Datasets that hold a file and have a parent; None if nobody answers."""
        holders = _found_for(self.key).holders
        if uuid not in holders:
            try:
                found = self.service.datasets(file=uuid)
            except TransportError as error:
                self._warn_of_silence(error)
                return None
            holders[uuid] = tuple(d.name for d in found if d.parent is not None)
        return holders[uuid]

    def _lately(self, dataset: str) -> Catalogue | None:
        """A column list that could not be known when the offer was made."""
        catalogues = _found_for(self.key).catalogues
        if dataset not in catalogues:
            try:
                catalogues[dataset] = catalogue_of(self.service, dataset)
            except TransportError as error:
                self._warn_of_silence(error)
                return None
        return catalogues[dataset]

    def _warn_of_silence(self, error: TransportError) -> None:
        warn_once(self.service.url, f"No remote columns: {error}")


@dataclass(frozen=True)
class _Found:
    """What was looked up for one offer: UUID → Datasets that hold the file, name → column list."""

    holders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    catalogues: dict[str, Catalogue] = field(default_factory=dict)


@lru_cache(maxsize=16)
def _found_for(key: str) -> _Found:  # noqa: ARG001 (the cache knows it)
    """What this process looked up for an offer; copies of it, one per task, share it."""
    return _Found()


_warned: set[str] = set()


def warn_once(about: str, text: str) -> None:
    """Warn in this process once, whatever the text, about one thing."""
    if about not in _warned:
        _warned.add(about)
        warnings.warn(text, ColumnServiceWarning, stacklevel=2)


def forget() -> None:
    """Forget which Datasets hold which files, and which warnings were given."""
    _found_for.cache_clear()
    _warned.clear()


def names_in(prefetch: Iterable[Any] | Report) -> tuple[str, ...]:
    """The branch names in names, entries of an access log, a Runner's metrics, or a Report."""
    if isinstance(prefetch, Report):
        return tuple(prefetch.columns)
    if isinstance(prefetch, str):
        return (prefetch,)
    found = (str(getattr(entry, "branch", entry)) for entry in prefetch)
    # A Runner's metrics write ``branch-buffer``; a branch's name holds no dash.
    return tuple(dict.fromkeys(name.partition("-")[0] for name in found))


def make_offer(
    service: Service,
    *,
    dataset: str | Iterable[str] | None = None,
    columns: str | Iterable[str] | None = None,
    missing: str = "error",
    prefetch: Iterable[Any] | Report = (),
    read_ahead: bool = True,
    eager_limit_bytes: int = EAGER_LIMIT_BYTES,
    named: Mapping[str, str] | None = None,
    pin: Report | None = None,
) -> Offer:
    """Check a user's arguments and fetch the column lists that they name.

    Raises:
        RequestError: an unknown Dataset or Column, another value of ``missing``, or a ``pin`` that
            is no Report of today's format.
        TransportError: the service did not answer.
    """
    if pin is not None and not isinstance(pin, Report):
        raise RequestError(f"pin={pin!r} is not a Report.", "Read one with Report.load(path).")
    if pin is not None and not pin.is_of_this_format:
        raise RequestError(
            "The report in pin=… was saved by another version of columnservice: its recipes cannot "
            "be compared with today's.",
            "Run once without pin=…, compare the results, and save a new report.",
        )
    if missing not in MISSING:
        raise RequestError(f"missing={missing!r} is not one of {', '.join(map(repr, MISSING))}.")
    patterns = (columns,) if isinstance(columns, str) else columns
    names = (dataset,) if isinstance(dataset, str) else dataset
    datasets = None if names is None else tuple(names)
    listed = dict.fromkeys([*(datasets or ()), *(named or {}).values()])
    offer = Offer(
        service,
        datasets,
        isinstance(dataset, str),
        tuple(catalogue_of(service, name) for name in listed),
        None if patterns is None else tuple(patterns),
        missing,
        names_in(prefetch),
        read_ahead,
        eager_limit_bytes,
        named or {},
        pin,
        uuid4().hex,
    )
    for catalogue in offer.catalogues:
        _ = catalogue.layout
        catalogue.chosen(offer.patterns)
    return offer
