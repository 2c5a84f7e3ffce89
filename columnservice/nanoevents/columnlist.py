"""A Dataset's column list as an offer holds it: what there is, and how it was made at that time.

Travels with the offer to every process, so that all of an analysis compare with the same list.
Knows the client; neither uproot nor coffea.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import Any

from columnservice import wire
from columnservice.client.catalogue import MOST_LISTS
from columnservice.client.catalogue import Catalogue as Told
from columnservice.client.client import Service
from columnservice.client.lately import Lately
from columnservice.client.makings import Makings
from columnservice.errors import (
    RequestError,
    UnknownColumn,
    UnsupportedColumn,
)
from columnservice.model import Column
from columnservice.nanoevents.layouts import LAYOUTS, Layout
from columnservice.search import unknown_text


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
    _like: Catalogue | None = field(default=None, init=False, compare=False, repr=False)

    def anew(self) -> Catalogue:
        """The same for another analysis, which learns of later lists by itself; pickled once."""
        made = replace(self, makings=self.makings.anew())
        object.__setattr__(made, "_like", self)
        return made

    @cached_property
    def _frozen(self) -> bytes:
        if self._like is not None:
            return self._like._frozen
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
                    unknown_text(pattern, self.columns) or None,
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


_known: Lately[tuple[str, str], tuple[str, Catalogue]] = Lately(MOST_LISTS)
"""By URL of the service and Dataset: the state of the list that was told last, and what it says."""
os.register_at_fork(after_in_child=_known.renew)


def catalogue_of(service: Service, dataset: str) -> Catalogue:
    """A Dataset's column list, asked for now.

    Raises:
        UnknownDataset: there is none of that name.
        TransportError: the service did not answer.
    """
    told = service.catalogue(dataset)
    if not told.state:
        return _offered(dataset, told)
    key = service.url, dataset
    state, known = _known.find(key) or ("", None)
    if known is None or state != told.state:
        known = _offered(dataset, told)
        _known.keep(key, (told.state, known))
    return known.anew()


def forget() -> None:
    """Forget all lists of this process."""
    _known.renew()
    _thaw.cache_clear()


def _offered(dataset: str, told: Told) -> Catalogue:
    """What of the service's list an offer holds."""
    added = tuple(c for c in told.columns if c.origin not in ("local", "reference"))
    references = tuple(c for c in told.columns if c.origin == "reference")
    names = frozenset(c.name for c in told.columns if c.origin != "reference")
    makings = told.makings.only(c.name for c in (*added, *references))
    return Catalogue(dataset, told.format, added, names, told.witnesses, references, makings)
