"""``connect()`` and the Service: what an analyst calls.

Knows the HTTP paths of the service; the coffea plugin is loaded only when it is asked for.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from columnservice import wire
from columnservice.client.catalogue import Catalogue, ask_catalogue
from columnservice.client.dataset import ColumnList, DatasetList, RemoteDataset
from columnservice.client.definitions import Definitions
from columnservice.client.fetching import DataRequest, fetch
from columnservice.client.reply import Reply
from columnservice.client.replycache import ReplyCache
from columnservice.client.report import LEDGER, Report
from columnservice.client.transport import READ_TIMEOUT_SECONDS, Transport
from columnservice.errors import RequestError

DEFAULT_URL = "http://127.0.0.1:8000"
EAGER_LIMIT_BYTES = 2_000_000_000
CACHE_LIMIT_BYTES = 10_000_000_000


def connect(
    url: str | None = None,
    *,
    read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
    compression: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_limit_bytes: int = CACHE_LIMIT_BYTES,
) -> Service:
    """The service at ``url``, at ``COLUMNSERVICE_URL``, or on this host. Nothing is sent yet.

    A bearer token is found by WLCG discovery at each request and sent as a header only.

    Args:
        url: base URL.
        read_timeout_seconds: how long to wait for the next byte of an answer.
        compression: ``"zstd"``, ``"lz4"`` or ``"none"``; None: zstd, but for a service on this
            host, where it would cost more than it saves.
        cache_dir: keep replies on this disk and use them again when the service confirms them;
            None: do not.
        cache_limit_bytes: how much may be kept there.

    Raises:
        RequestError: the URL is not one, or there is no such compression.
        SetupError: ``cache_dir`` cannot be used.
    """
    told = (url or os.environ.get("COLUMNSERVICE_URL") or DEFAULT_URL).rstrip("/")
    transport = Transport(told, read_timeout_seconds)
    if compression is None:
        compression = "none" if _is_here(told) else wire.COMPRESSIONS[0]
    if compression not in (*wire.COMPRESSIONS, "none"):
        raise RequestError(
            f"compression={compression!r} is unknown.",
            f"Choose {', '.join(wire.COMPRESSIONS)} or none.",
        )
    cache = None if cache_dir is None else ReplyCache.below(cache_dir, cache_limit_bytes)
    return Service(transport, None if compression == "none" else compression, cache)


@dataclass(frozen=True)
class Service:
    """A column service, as a client sees it. Picklable; each process opens its own connections.

    Attributes:
        transport: where it is.
        compression: of replies; None for none.
        cache: where replies are kept; None for nowhere.
    """

    transport: Transport
    compression: str | None = None
    cache: ReplyCache | None = None

    @property
    def url(self) -> str:
        """Base URL of the service."""
        return self.transport.url

    def __repr__(self) -> str:
        return f"columnservice.connect({self.url!r})"

    def datasets(self, file: str | None = None) -> DatasetList:
        """The registered Datasets, or those that hold the file with this UUID.

        Raises:
            TransportError: the service did not answer.
        """
        query = [("file", file)] if file is not None else []
        document = self.transport.json("/v1/datasets", query)
        return DatasetList(self._dataset(info) for info in document["datasets"])

    def dataset(self, name: str) -> RemoteDataset:
        """One Dataset.

        Raises:
            UnknownDataset: there is none of that name.
        """
        return self._dataset(self.transport.json(f"/v1/datasets/{quote(name, safe='')}"))

    def _dataset(self, info: dict[str, Any]) -> RemoteDataset:
        name, definitions = info["name"], Definitions(self.transport, info["name"])
        parent = info.get("parent")
        return RemoteDataset(name, info["format"], parent, info, self.columns, definitions)

    def columns(self, dataset: str) -> ColumnList:
        """The Columns of a Dataset, local ones and those that the service adds.

        Those that only show that objects are the same (origin ``reference``) are left out.

        Raises:
            UnknownDataset: there is none of that name.
            TransportError: the service did not answer.
        """
        told = self.catalogue(dataset).columns
        return ColumnList([c for c in told if c.origin != "reference"])

    def catalogue(self, dataset: str) -> Catalogue:
        """What a Dataset offers, asked for now; raises what ``columns`` raises."""
        return ask_catalogue(self.transport, dataset)

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
        request = DataRequest(dataset, uuid, start, stop, tuple(columns))
        return self.ask(request)

    def ask(self, request: DataRequest, *, ahead: bool = False) -> Reply:
        """The reply to a request, as ``fetch`` gives it; ``ahead``: nobody waits for it yet."""
        return fetch(
            self.transport, request, compression=self.compression, cache=self.cache, ahead=ahead
        )

    def report(self, *, clear: bool = False) -> Report:
        """What this process was given so far: traffic, and the provenance of every column used.

        Args:
            clear: begin anew afterwards, so that the next report tells of the next analysis only.
        """
        return LEDGER.report(self.url, clear=clear)

    def nanoevents(
        self,
        schema: Any,
        dataset: str | Sequence[str] | None = None,
        columns: str | Sequence[str] | None = None,
        missing: str = "error",
        *,
        prefetch: Iterable[Any] | Report = (),
        read_ahead: bool = True,
        eager_limit_bytes: int = EAGER_LIMIT_BYTES,
        pin: Report | None = None,
    ) -> dict[str, Any]:
        """Arguments for ``NanoEventsFactory.from_root(…, **these)``: columns appear as branches.

        The result's ``uproot_options`` also serve ``uproot.open`` and coffea's ``Runner``.

        Args:
            schema: a coffea schema class; also your own subclass.
            dataset: name of the Dataset that holds the local files; a list, or None for all,
                lets each file's UUID decide.
            columns: names or fnmatch patterns of the remote columns to offer; None: all.
            missing: ``"error"`` raises MissingParent when a requested event has no parent;
                ``"mask"`` gives empty lists, NaN, 0 or False there (indices: -1), and
                ``events.hasParent``.
            prefetch: columns to ask for together at the first touch of each range: names, an
                ``access_log``, the ``columns`` of a Runner's metrics, or an earlier ``report()``.
                Names of local branches among them are ignored.
            read_ahead: fetch the next range in the background once two neighbours were read.
            eager_limit_bytes: eager mode refuses to load more than this.
            pin: an earlier report: columns and files that it knows must be made of the same parents
                by the same recipes, else ProvenanceChanged says what is another one.

        Raises:
            RequestError: unknown dataset or column, or another value of ``missing``.
            TransportError: the service did not answer.
        """
        choice = {
            "dataset": dataset,
            "columns": columns,
            "missing": missing,
            "prefetch": prefetch,
            "read_ahead": read_ahead,
            "eager_limit_bytes": eager_limit_bytes,
            "pin": pin,
        }
        options: dict[str, Any] = _plugin().options(self, schema, **choice)
        return options

    def run(
        self, runner: Any, fileset: Any, processor: Any, *, missing: str = "error", **more: Any
    ) -> Any:
        """Run a coffea ``Runner`` over a fileset, each file with the columns of its own Dataset.

        A file belongs to the Dataset that its metadata names
        (``{"metadata": {"columnservice": NAME}}``), else to the one that holds its UUID. What all
        processes fetched is in ``report()`` afterwards.

        Args:
            runner: a coffea ``Runner``; its schema may be any that ``nanoevents`` takes.
            fileset: as for the Runner; a path of a JSON file, too.
            processor: as for the Runner.
            missing: as for ``nanoevents``.
            more: ``columns``, ``prefetch``, ``read_ahead`` and ``pin`` as for ``nanoevents``; all
                else goes to the Runner (``treename``, ``trace``, ``uproot_options``, …).

        Returns:
            What the Runner returns.

        Raises:
            RequestError: unknown dataset or column, or a fileset that cannot have columns.
            ProvenanceChanged: somebody changed a column meanwhile.
            TransportError: the service did not answer.
        """
        return _plugin().run(self, runner, fileset, processor, missing=missing, **more)


def _plugin() -> Any:
    """The coffea plugin, by name: the client must not depend on uproot and coffea."""
    return importlib.import_module("columnservice.nanoevents")


def _is_here(url: str) -> bool:
    """Whether a URL leads to this host by its loopback."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
