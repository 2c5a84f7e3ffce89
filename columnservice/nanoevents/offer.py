"""What a user asked for, frozen: service, Datasets, column lists, ``missing``. Pickles.

Decides which Dataset a file belongs to. Knows the client; neither uproot nor coffea.
"""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import Any
from uuid import uuid4

from columnservice import wire
from columnservice.client.client import EAGER_LIMIT_BYTES, Service
from columnservice.client.fetching import ColumnServiceWarning
from columnservice.client.makings import Makings
from columnservice.client.report import Report
from columnservice.errors import (
    RequestError,
    TransportError,
    UnknownColumn,
    UnsupportedColumn,
    nearest,
)
from columnservice.model import Column
from columnservice.nanoevents.layouts import LAYOUTS, Layout

MISSING = ("error", "mask")


@dataclass(frozen=True)
class Catalogue:
    """The Columns that a Dataset adds, and the names of all that it has. Pickles compressed.

    ``witnesses``: local branches that tell samples apart. ``references``: the parent's version of
    local Columns, which shows that objects are the same. ``makings``: how all these are made.
    """

    dataset: str
    format: str
    columns: tuple[Column, ...]
    names: frozenset[str]
    witnesses: tuple[str, ...] = ()
    references: tuple[Column, ...] = ()
    makings: Makings = field(default_factory=Makings)

    @cached_property
    def _frozen(self) -> bytes:
        document = {
            "dataset": self.dataset,
            "format": self.format,
            "columns": [wire.column_to_json(c) for c in self.columns],
            "names": sorted(self.names),
            "witnesses": self.witnesses,
            "references": [wire.column_to_json(c) for c in self.references],
            "makings": self.makings.to_json(),
        }
        return zlib.compress(json.dumps(document).encode(), 6)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_thaw, (self._frozen,))

    @property
    def layout(self) -> Layout:
        """How local files of this Dataset look to coffea.

        Raises:
            RequestError: coffea cannot open such files.
        """
        try:
            return LAYOUTS[self.format]
        except KeyError:
            known = ", ".join(sorted(LAYOUTS))
            text = f"Dataset {self.dataset!r} holds {self.format} files; coffea opens {known}."
        raise RequestError(text, "Name the dataset of the local files.")

    def chosen(self, patterns: Sequence[str] | None) -> tuple[Column, ...]:
        """The Columns that names or patterns choose, with the counts of their collections.

        Raises:
            UnknownColumn: a name or pattern fits nothing that the Dataset has.
            UnsupportedColumn: a name is that of a Column that cannot be delivered.
        """
        if patterns is None:
            return self.columns
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in self.names):
                raise UnknownColumn(
                    f"Dataset {self.dataset!r} has no column {pattern!r};",
                    nearest(pattern, self.names) or None,
                )
        chosen = [c for c in self.columns if any(fnmatchcase(c.name, p) for p in patterns)]
        for column in chosen:
            if column.support != "ok" and column.name in patterns:
                raise UnsupportedColumn(f"{column.name} cannot be delivered: {column.reason}.")
        shapes = {c.shape for c in chosen if c.support == "ok"}
        return tuple(c for c in self.columns if c in chosen or c.counts_of in shapes - {None})


@lru_cache(maxsize=16)
def _thaw(frozen: bytes) -> Catalogue:
    document = json.loads(zlib.decompress(frozen))
    columns = tuple(map(wire.column_from_json, document["columns"]))
    names, witnesses = frozenset(document["names"]), tuple(document["witnesses"])
    references = tuple(map(wire.column_from_json, document["references"]))
    makings = Makings.from_json(document["makings"])
    return Catalogue(
        document["dataset"], document["format"], columns, names, witnesses, references, makings
    )


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


def catalogue_of(service: Service, dataset: str) -> Catalogue:
    """A Dataset's column list, asked for now.

    Raises:
        UnknownDataset: there is none of that name.
        TransportError: the service did not answer.
    """
    told = service.catalogue(dataset)
    added = tuple(c for c in told.columns if c.origin not in ("local", "reference"))
    references = tuple(c for c in told.columns if c.origin == "reference")
    names = frozenset(c.name for c in told.columns if c.origin != "reference")
    makings = told.makings.only(c.name for c in (*added, *references))
    return Catalogue(dataset, told.format, added, names, told.witnesses, references, makings)


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
            is no Report.
        TransportError: the service did not answer.
    """
    if pin is not None and not isinstance(pin, Report):
        raise RequestError(f"pin={pin!r} is not a Report.", "Read one with Report.load(path).")
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
