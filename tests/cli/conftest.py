"""A service that says what a test tells it to, and the command line as a user sees it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from columnservice.cli import main
from columnservice.errors import ColumnServiceError, problem

Answer = Any


@dataclass
class FakeService:
    """Answers by (method, path); keeps what was asked."""

    url: str
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def sends(self, method: str, path: str, answer: Answer) -> None:
        """The answer to a request: JSON, bytes (an event stream), an error, or a function."""
        self.answers[method, path] = answer

    def bodies(self, method: str, path: str) -> list[Any]:
        return [body for m, p, body in self.asked if (m, p) == (method, path)]


def event(kind: str, data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


@pytest.fixture
def fake(monkeypatch) -> Iterator[FakeService]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            fake.asked.append((self.command, self.path, body))
            told = fake.answers.get((self.command, self.path), ColumnServiceError("Not told."))
            told = told(body) if callable(told) else told
            status, kind, content = 200, "application/json", b""
            if isinstance(told, ColumnServiceError):
                status, kind = told.status, "application/problem+json"
                content = json.dumps(problem(told)).encode()
            elif isinstance(told, bytes):
                kind, content = "text/event-stream", told
            elif told is not None:
                content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake = FakeService(f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("COLUMNSERVICE_URL", fake.url)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capfd) -> Callable[..., Outcome]:
    """Run a command line in this process."""

    def command(*arguments: object) -> Outcome:
        capfd.readouterr()
        code: Any = 0
        try:
            main([str(a) for a in arguments])
        except SystemExit as end:
            code = end.code or 0
        said = capfd.readouterr()
        return Outcome(code, said.out, said.err)

    return command


def info(name: str = "nano", **told: Any) -> dict[str, Any]:
    """A DatasetInfo."""
    return {
        "name": name,
        "format": "nanoaod",
        "parent": None,
        "files": {"ok": 1, "pending": 0, "declared": 0, "failed": 0},
        "entries": 1000,
        "coverage": None,
        "witnesses": None,
        "duplicates": None,
        "failures": [],
        "registering": False,
        **told,
    }
