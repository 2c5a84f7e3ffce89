"""A test double of the service: serves arrays over HTTP as the wire says, or wrongly when told to.

It knows no experiment file: a test hands it Columns, values in local row order, and EventKeys.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pyarrow as pa

from columnservice import errors, wire
from columnservice.model import Column, Keys, Ragged


def take(ragged: Ragged, rows: np.ndarray) -> Ragged:
    """Rows of a Ragged in another order, by brute force; -1 gives an empty list or 0."""
    if not ragged.offsets:
        return Ragged(
            (),
            {m: np.where(rows < 0, 0, v[rows]).astype(v.dtype) for m, v in ragged.content.items()},
        )
    outer = ragged.offsets[0]
    counts = np.where(rows < 0, 0, np.diff(outer)[rows]) if len(outer) > 1 else 0 * rows
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    items = np.repeat(outer[rows] - offsets[:-1], counts) + np.arange(offsets[-1])
    inner = take(Ragged(ragged.offsets[1:], ragged.content), items)
    return Ragged((offsets, *inner.offsets), inner.content)


def as_reference(column: Column) -> Column:
    """The parent's version of a local Column, as the service lists it."""
    name = f"parent:{column.name}"
    shape = name if column.shape == column.name else column.shape
    return replace(column, name=name, shape=shape, origin="reference")


@dataclass
class Table:
    """What the service holds for one local file.

    Attributes:
        keys: EventKeys of the local rows, as the parent has them.
        values: Column name → values in local row order.
        present: which local rows have a parent.
        batch_rows: rows per Partition.
        rows: a TakeIndex on top: local row → row of ``values`` and ``keys``; identity when right.
        unusable_parents: how many parent files cannot be used.
        verified: whether origins confirmed that the parents are unchanged.
    """

    keys: Keys
    values: dict[str, Ragged]
    present: np.ndarray
    batch_rows: int = 4
    rows: np.ndarray | None = None
    unusable_parents: int = 0
    verified: bool = True

    def batches(
        self, columns: list[Column], start: int, stop: int
    ) -> Iterator[tuple[pa.RecordBatch, Any]]:
        order = np.arange(len(self.keys)) if self.rows is None else self.rows
        edges = sorted({start, stop, *range(0, len(self.keys), self.batch_rows)})
        edges = [e for e in edges if start <= e <= stop]
        for a, b in itertools.pairwise(edges):
            present = self.present[a:b]
            rows = np.where(present, order[a:b], -1)
            values = {c.name: take(self.values[c.name], rows) for c in columns}
            proof = wire.checksum(wire.row_hashes(self.keys[order[a:b]], present, first_row=a))
            missing = int((~present).sum())
            yield (
                wire.encode_batch(columns, values, present),
                wire.batch_metadata(
                    a,
                    b,
                    missing,
                    proof,
                    unusable_parents=self.unusable_parents,
                    verified=self.verified,
                ),
            )


@dataclass
class ServedDataset:
    """A Dataset of the double."""

    name: str
    format: str
    columns: list[Column]
    tables: dict[str, Table] = field(default_factory=dict)
    parent: str | None = "parents"
    witnesses: list[str] = field(default_factory=list)
    provenance: dict[str, Any] | None = None
    made: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    parents_state: str = ""

    @property
    def info(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "format": self.format,
            "parent": self.parent,
            "files": {"ok": len(self.tables), "pending": 0, "failed": 0},
            "entries": sum(len(t.keys) for t in self.tables.values()),
            "coverage": None,
            "witnesses": None,
            "duplicates": None,
            "failures": [],
        }


@dataclass
class Request:
    """One request that arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes = b""

    @property
    def columns(self) -> list[str]:
        """What is asked for, but for what shows that objects are the same."""
        return [n for n in self.query.get("column", []) if not n.startswith("parent:")]

    @property
    def references(self) -> list[str]:
        """What is asked for to show that objects are the same."""
        return [n for n in self.query.get("column", []) if n.startswith("parent:")]

    @property
    def rows(self) -> tuple[int, int]:
        return int(self.query["start"][0]), int(self.query["stop"][0])


def _triples(keys: Keys) -> list[tuple[int, ...]]:
    return list(zip(keys.run.tolist(), keys.lumi.tolist(), keys.event.tolist(), strict=True))


def etag_of(body: bytes) -> str:
    """An ETag that names the very bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _as_ever(request: Request) -> None:
    """No answer of its own: the double answers as the service does."""


class WireServer:
    """The double. ``spoil`` changes the bytes of data replies; ``answer`` replaces any answer.

    ``breaks``: of the next data replies, how many bytes arrive before the connection breaks.
    ``etags``: whether data replies carry one. ``list_etag``: that of a list of Columns as it is
    sent. ``uploads``: digest → uploaded Arrow table.
    """

    def __init__(self) -> None:
        self.datasets: dict[str, ServedDataset] = {}
        self.log: list[Request] = []
        self.spoil: Callable[[bytes], bytes] = bytes
        self.answer: Callable[[Request], tuple[int, str, bytes] | None] = _as_ever
        self.breaks: list[int] = []
        self.etags = False
        self.list_etag: Callable[[bytes], str] = etag_of
        self.uploads: dict[str, pa.Table] = {}
        self.url = ""

    def add(self, dataset: ServedDataset) -> ServedDataset:
        self.datasets[dataset.name] = dataset
        return dataset

    def answer_with(self, status: int, kind: str, body: bytes) -> None:
        """Answer everything with this."""
        self.answer = lambda _: (status, kind, body)

    @property
    def data_requests(self) -> list[Request]:
        return [r for r in self.log if r.path.endswith(("/data", "/query"))]

    def handle(self, request: Request) -> tuple[int, str, bytes]:
        replaced = self.answer(request)
        if replaced is not None:
            return replaced
        try:
            return self._handle(request)
        except errors.ColumnServiceError as error:
            body = json.dumps(errors.problem(error)).encode()
            return error.status, "application/problem+json", body

    def _handle(self, request: Request) -> tuple[int, str, bytes]:
        parts = [unquote(p) for p in request.path.strip("/").split("/")][2:]
        if not parts:
            wanted = request.query.get("file")
            found = [
                d.info for d in self.datasets.values() if wanted is None or wanted[0] in d.tables
            ]
            return 200, "application/json", json.dumps({"datasets": found}).encode()
        dataset = self.datasets.get(parts[0])
        if dataset is None:
            raise errors.UnknownDataset(f"No dataset {parts[0]!r};")
        if parts[1:2] == ["eventindexes"]:
            return self._eventindex(dataset, request, parts[2])
        if parts[1:] == ["columns"]:
            columns = [
                wire.column_to_json(c) | dataset.made.get(c.name, {}) for c in dataset.columns
            ]
            document = {
                "dataset": dataset.name,
                "format": dataset.format,
                "witnesses": dataset.witnesses,
                "parents": dataset.parents_state,
                "columns": columns,
            }
            return 200, "application/json", json.dumps(document).encode()
        if parts[1:] in (["columns", "data"], ["columns", "query"]):
            return 200, wire.MEDIA_TYPE, self.spoil(self._stream(dataset, request))
        return 200, "application/json", json.dumps(dataset.info).encode()

    def _eventindex(
        self, dataset: ServedDataset, request: Request, digest: str
    ) -> tuple[int, str, bytes]:
        """Uploaded keys become a file of the dataset, joined by brute force with its first one."""
        status = 200
        if request.method == "PUT":
            status = 201
            uploaded = pa.ipc.open_stream(pa.py_buffer(request.body)).read_all()
            self.uploads[digest] = uploaded
            keys = Keys(*(uploaded[name].to_numpy() for name in ("run", "lumi", "event")))
            others = [n for n in uploaded.column_names if n not in ("run", "lumi", "event")]
            witnesses = {name: uploaded[name].to_numpy() for name in others}
            assert wire.keys_digest(keys, witnesses) == digest
            whole = next(iter(dataset.tables.values()))
            row = {k: i for i, k in enumerate(_triples(whole.keys))}
            rows = np.array([row.get(k, -1) for k in _triples(keys)], dtype=np.int64)
            values = {name: take(v, rows) for name, v in whole.values.items()}
            dataset.tables[digest] = Table(keys, values, rows >= 0, whole.batch_rows)
        if digest not in dataset.tables:
            raise errors.UnknownFile(f"No file with the key digest {digest}.")
        present = dataset.tables[digest].present
        told = {"digest": digest, "events": len(present), "with_parent": int(present.sum())}
        return status, "application/json", json.dumps(told).encode()

    def _stream(self, dataset: ServedDataset, request: Request) -> bytes:
        table = dataset.tables.get(request.query["file"][0])
        if table is None:
            raise errors.UnknownFile(f"No file {request.query['file'][0]}.")
        by_name = {c.name: c for c in dataset.columns}
        asked = request.query["column"]
        for name in asked:
            if name not in by_name or by_name[name].origin == "local":
                raise errors.UnknownColumn(f"No column {name!r};")
        columns = [by_name[name] for name in asked]
        empty = np.zeros(0, np.bool_)
        nothing = {c.name: take(table.values[c.name], np.zeros(0, np.int64)) for c in columns}
        sink = pa.BufferOutputStream()
        schema = wire.encode_batch(columns, nothing, empty).schema
        if dataset.provenance is not None:
            schema = schema.with_metadata({wire.PROVENANCE: json.dumps(dataset.provenance)})
        options = pa.ipc.IpcWriteOptions(compression=request.headers.get(wire.COMPRESSION_HEADER))
        with pa.ipc.new_stream(sink, schema, options=options) as writer:
            for batch, metadata in table.batches(columns, *request.rows):
                writer.write_batch(batch, custom_metadata=metadata)
        return sink.getvalue().to_pybytes()


@contextmanager
def wire_server() -> Iterator[WireServer]:
    """A running double on a free port of loopback."""
    double = WireServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: Any) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            self._respond(parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            query = {k: [str(v)] for k, v in body.items() if k != "columns"}
            self._respond({**query, "column": body["columns"]})

        def do_PUT(self) -> None:
            self._respond({}, self.rfile.read(int(self.headers["Content-Length"])))

        def _respond(self, query: dict[str, list[str]], sent: bytes = b"") -> None:
            path = urlsplit(self.path).path
            request = Request(self.command, path, query, dict(self.headers), sent)
            double.log.append(request)
            status, kind, body = double.handle(request)
            etag = ""
            if status == 200 and double.etags and kind == wire.MEDIA_TYPE:
                etag = etag_of(body)
            elif status == 200 and path.endswith("/columns"):
                etag = double.list_etag(body)
            if etag and request.headers.get("If-None-Match") == etag:
                status, body = 304, b""
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if etag:
                self.send_header("ETag", etag)
            self.end_headers()
            if double.breaks and kind == wire.MEDIA_TYPE:
                self.wfile.write(body[: double.breaks.pop(0)])
                self.close_connection = True
                return
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that hangs up is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
