"""A Dataset's list of Columns as the service tells it, sent anew only where it is another one.

The service is asked each time, and only it decides who may read a list and whether the one that
this process holds is still right. Knows the path of the list; not what is done with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from columnservice import wire
from columnservice.client.dataset import ColumnList
from columnservice.client.lately import Lately
from columnservice.client.makings import Makings
from columnservice.client.transport import Transport

MOST_LISTS = 16
"""Lists that a process holds; one of two thousand Columns takes a few megabytes."""
_STRONG = '"'
"""Begins an ETag that names the very bytes; others may name lists that only mean about the same."""


class Catalogue(NamedTuple):
    """A Dataset's Format, its Columns, the local ones that tell samples apart, and how the Columns
    are made.

    ``state``: names what one service says of one Dataset, the same for the same list only; empty
    where it does not say.
    """

    format: str
    columns: ColumnList
    witnesses: tuple[str, ...]
    makings: Makings = Makings()
    state: str = ""

    @classmethod
    def of(cls, document: Mapping[str, Any], state: str) -> Catalogue:
        """What the service's document says."""
        columns = ColumnList([wire.column_from_json(c) for c in document["columns"]])
        witnesses = tuple(document.get("witnesses", ()))
        return cls(document["format"], columns, witnesses, Makings.of(document), state)

    def anew(self) -> Catalogue:
        """The same for another caller, who may change it."""
        return self._replace(columns=self.columns[:], makings=self.makings.anew())


_lists: Lately[tuple[str, str], Catalogue] = Lately(MOST_LISTS)
"""By URL of the service and Dataset, as they were told last."""
os.register_at_fork(after_in_child=_lists.renew)


def ask_catalogue(transport: Transport, dataset: str) -> Catalogue:
    """What a Dataset offers now.

    Raises:
        UnknownDataset: there is none of that name.
        TransportError: the service did not answer.
    """
    key = transport.url, dataset
    held = _lists.find(key)
    path = f"/v1/datasets/{quote(dataset, safe='')}/columns"
    document, etag = transport.json_unless(path, held.state if held else "")
    if document is None and held is not None:
        return held.anew()
    assert document is not None
    told = Catalogue.of(document, etag if etag.startswith(_STRONG) else "")
    if not told.state:
        _lists.drop(key)
        return told
    _lists.keep(key, told)
    return told.anew()


def forget() -> None:
    """Forget all lists of this process."""
    _lists.renew()
