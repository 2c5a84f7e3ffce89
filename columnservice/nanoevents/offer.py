"""What a user asked for, frozen: service, Datasets, column lists, ``missing``. Pickles.

Decides which Dataset a file belongs to. Knows the client; neither uproot nor coffea.
"""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import Any

from columnservice import wire
from columnservice.client.client import Service
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


class ColumnServiceWarning(UserWarning):
    """Something that the user should know, while the local columns work as ever."""


@dataclass(frozen=True)
class Catalogue:
    """The Columns that a Dataset adds, and the names of all that it has. Pickles compressed."""

    dataset: str
    format: str
    columns: tuple[Column, ...]
    names: frozenset[str]

    @cached_property
    def _frozen(self) -> bytes:
        document = {
            "dataset": self.dataset,
            "format": self.format,
            "columns": [wire.column_to_json(c) for c in self.columns],
            "names": sorted(self.names),
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
    return Catalogue(document["dataset"], document["format"], columns, frozenset(document["names"]))


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
    """

    service: Service
    datasets: tuple[str, ...] | None
    by_name: bool
    catalogues: tuple[Catalogue, ...]
    patterns: tuple[str, ...] | None
    missing: str

    def catalogue_for(self, uuid: str, path: str) -> Catalogue | None:
        """The Dataset that a local file belongs to; None, with one warning, where there is none.

        Raises:
            RequestError: several Datasets hold the file.
            ColumnServiceError: the service refuses to say.
        """
        if self.by_name:
            return self.catalogues[0]
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
            _warn_once(
                self.service.url + uuid,
                f"The column service does not know {path}{asked}: no remote columns.",
            )
            return None
        for catalogue in self.catalogues:
            if catalogue.dataset == holders[0]:
                return catalogue
        return self._lately(holders[0])

    def _holders(self, uuid: str) -> tuple[str, ...] | None:
        """Names of the Datasets that hold a file and have a parent; None if nobody answers."""
        key = (self.service.url, uuid)
        if key not in _holders:
            try:
                found = self.service.datasets(file=uuid)
            except TransportError as error:
                self._warn_of_silence(error)
                return None
            _holders[key] = tuple(d.name for d in found if d.parent is not None)
        return _holders[key]

    def _lately(self, dataset: str) -> Catalogue | None:
        """A column list that could not be known when the offer was made."""
        key = (self.service.url, dataset)
        if key not in _catalogues:
            try:
                _catalogues[key] = catalogue_of(self.service, dataset)
            except TransportError as error:
                self._warn_of_silence(error)
                return None
        return _catalogues[key]

    def _warn_of_silence(self, error: TransportError) -> None:
        _warn_once(self.service.url, f"No remote columns: {error}")


_holders: dict[tuple[str, str], tuple[str, ...]] = {}
_catalogues: dict[tuple[str, str], Catalogue] = {}
_warned: set[str] = set()


def _warn_once(about: str, text: str) -> None:
    if about not in _warned:
        _warned.add(about)
        warnings.warn(text, ColumnServiceWarning, stacklevel=2)


def forget() -> None:
    """Forget which Datasets hold which files, and which warnings were given."""
    _holders.clear()
    _catalogues.clear()
    _warned.clear()


def catalogue_of(service: Service, dataset: str) -> Catalogue:
    """A Dataset's column list, asked for now.

    Raises:
        UnknownDataset: there is none of that name.
        TransportError: the service did not answer.
    """
    layout, columns = service.catalogue(dataset)
    added = tuple(c for c in columns if c.origin != "local")
    return Catalogue(dataset, layout, added, frozenset(columns.names))


def make_offer(
    service: Service,
    dataset: str | Iterable[str] | None,
    columns: str | Iterable[str] | None,
    missing: str,
) -> Offer:
    """Check a user's arguments and fetch the column lists that they name.

    Raises:
        RequestError: an unknown Dataset or Column, or another value of ``missing``.
        TransportError: the service did not answer.
    """
    if missing not in MISSING:
        raise RequestError(f"missing={missing!r} is not one of {', '.join(map(repr, MISSING))}.")
    patterns = (columns,) if isinstance(columns, str) else columns
    names = (dataset,) if isinstance(dataset, str) else dataset
    offer = Offer(
        service,
        None if names is None else tuple(names),
        isinstance(dataset, str),
        tuple(catalogue_of(service, name) for name in names or ()),
        None if patterns is None else tuple(patterns),
        missing,
    )
    for catalogue in offer.catalogues:
        _ = catalogue.layout
        catalogue.chosen(offer.patterns)
    return offer
