"""``connect()`` and the Service: what an analyst calls.

Knows the HTTP paths of the service; the coffea plugin is loaded only when it is asked for.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from columnservice import wire
from columnservice.client.dataset import ColumnList, RemoteDataset
from columnservice.client.reply import Reply, read_reply
from columnservice.client.transport import READ_TIMEOUT_SECONDS, Transport
from columnservice.errors import OutOfRange

DEFAULT_URL = "http://127.0.0.1:8000"
PROGRESS_AFTER_SECONDS = 2.0
_LONGEST_QUERY = 1500
"""Characters of a query string up to which a data request is a GET, which caches may keep."""


def connect(
    url: str | None = None, *, read_timeout_seconds: float = READ_TIMEOUT_SECONDS
) -> Service:
    """The service at ``url``, at ``COLUMNSERVICE_URL``, or on this host. Nothing is sent yet.

    A bearer token is found by WLCG discovery at each request and sent as a header only.

    Raises:
        RequestError: the URL is not one.
    """
    told = url or os.environ.get("COLUMNSERVICE_URL") or DEFAULT_URL
    return Service(Transport(told.rstrip("/"), read_timeout_seconds))


@dataclass(frozen=True)
class Service:
    """A column service, as a client sees it. Picklable; each process opens its own connections."""

    transport: Transport

    @property
    def url(self) -> str:
        """Base URL of the service."""
        return self.transport.url

    def __repr__(self) -> str:
        return f"columnservice.connect({self.url!r})"

    def datasets(self, file: str | None = None) -> list[RemoteDataset]:
        """The registered Datasets, or those that hold the file with this UUID.

        Raises:
            TransportError: the service did not answer.
        """
        query = [("file", file)] if file is not None else []
        document = self.transport.json("/v1/datasets", query)
        return [self._dataset(info) for info in document["datasets"]]

    def dataset(self, name: str) -> RemoteDataset:
        """One Dataset.

        Raises:
            UnknownDataset: there is none of that name.
        """
        return self._dataset(self.transport.json(f"/v1/datasets/{quote(name, safe='')}"))

    def _dataset(self, info: dict[str, Any]) -> RemoteDataset:
        return RemoteDataset(info["name"], info["format"], info.get("parent"), info, self.columns)

    def columns(self, dataset: str) -> ColumnList:
        """The Columns of a Dataset, local ones and those that the service adds.

        Raises:
            UnknownDataset: there is none of that name.
            TransportError: the service did not answer.
        """
        return self.catalogue(dataset)[1]

    def catalogue(self, dataset: str) -> tuple[str, ColumnList]:
        """The Format of a Dataset and its Columns; raises what ``columns`` raises."""
        document = self.transport.json(f"/v1/datasets/{quote(dataset, safe='')}/columns")
        columns = ColumnList([wire.column_from_json(c) for c in document["columns"]])
        return document["format"], columns

    def fetch(
        self, dataset: str, uuid: str, start: int, stop: int, columns: Sequence[str]
    ) -> Reply:
        """Columns for local rows ``start`` to ``stop``, whole and contiguous; not yet proven.

        The caller who has the local EventKeys compares ``Reply.batches[i].proof`` with
        ``wire.checksum(wire.row_hashes(…))``, as the coffea plugin does.

        Args:
            dataset: name of the local Dataset.
            uuid: ROOT UUID of the local file.
            start, stop: rows of the local file, any range.
            columns: names; one round trip however many.

        Raises:
            OutOfRange, UnknownFile, UnknownColumn, UnsupportedColumn: the request is wrong.
            AlignmentError: the service cannot join these rows.
            TransportError: the answer did not arrive whole.
        """
        if not 0 <= start <= stop:
            raise OutOfRange(f"Rows {start} to {stop} are not a range.")
        base = f"/v1/datasets/{quote(dataset, safe='')}/columns"
        query = [("file", uuid), ("start", str(start)), ("stop", str(stop))]
        query += [("column", name) for name in columns]
        with _progress(f"{len(columns)} columns of {dataset}, rows {start} to {stop}"):
            if len(urlencode(query)) <= _LONGEST_QUERY:
                body = self.transport.request(
                    "GET", f"{base}/data", query=query, accept=wire.MEDIA_TYPE
                )
            else:
                wanted = {"file": uuid, "start": start, "stop": stop, "columns": list(columns)}
                body = self.transport.request(
                    "POST", f"{base}/query", document=wanted, accept=wire.MEDIA_TYPE
                )
        return read_reply(body, start, stop)

    def nanoevents(
        self,
        schema: Any,
        dataset: str | Sequence[str] | None = None,
        columns: str | Sequence[str] | None = None,
        missing: str = "error",
    ) -> dict[str, Any]:
        """Arguments for ``NanoEventsFactory.from_root(…, **these)``: columns appear as branches.

        The result's ``uproot_options`` also serve ``uproot.open`` and coffea's ``Runner``.

        Args:
            schema: a coffea schema class; also your own subclass.
            dataset: name of the Dataset that holds the local files; a list, or None for all,
                lets each file's UUID decide.
            columns: names or fnmatch patterns of the remote columns to offer; None: all.
            missing: ``"error"`` raises MissingParent when a requested event has no parent;
                ``"mask"`` gives empty lists, NaN, 0 or False there, and ``events.hasParent``.

        Raises:
            RequestError: unknown dataset or column, or another value of ``missing``.
            TransportError: the service did not answer.
        """
        # By name: the client must not depend on uproot and coffea, which the plugin imports.
        plugin = importlib.import_module("columnservice.nanoevents")
        options: dict[str, Any] = plugin.options(self, schema, dataset, columns, missing)
        return options


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """Says on stderr what is being waited for, once the wait has become long."""

    def say() -> None:
        print(f"columnservice: waiting for {what} …", file=sys.stderr, flush=True)

    timer = threading.Timer(PROGRESS_AFTER_SECONDS, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
