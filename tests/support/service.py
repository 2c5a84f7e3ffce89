"""A real column service for tests: its own process, its own home, a free loopback port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from columnservice.demo.process import free_port

REPOSITORY = Path(__file__).resolve().parents[2]

START_SECONDS = 600
"""In a fresh checkout all kernels are compiled first, in each of the test processes."""


@dataclass
class RunningService:
    """A service process and how to ask it."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    log: Path

    def __post_init__(self) -> None:
        self.http = urllib3.PoolManager(timeout=120, retries=False)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and document of a JSON request."""
        reply = self.http.request(method, self.url + path, json=body)
        return reply.status, json.loads(reply.data) if reply.data else None

    def data(self, dataset: str, file: str, start: int, stop: int, columns: Sequence[str]) -> bytes:
        """The Arrow stream of a request, whole."""
        body = {"file": file, "start": start, "stop": stop, "columns": list(columns)}
        reply = self.http.request(
            "POST", f"{self.url}/v1/datasets/{dataset}/columns/query", json=body
        )
        assert reply.status == 200, reply.data[:500]
        return reply.data

    def register(
        self, name: str, format: str, files: Sequence[str | Path], parent: str | None = None
    ) -> dict[str, Any]:
        """Register a dataset and wait until its files are done; returns its summary."""
        body = {"name": name, "format": format, "parent": parent, "files": [str(f) for f in files]}
        status, document = self.ask("POST", "/v1/datasets", body)
        assert status == 201, document
        return self.follow(name)

    def follow(self, name: str) -> dict[str, Any]:
        """Wait until nothing is being registered in a dataset; returns its summary."""
        reply = self.http.request("GET", f"{self.url}/v1/datasets/{name}/events")
        last = reply.data.decode().strip().split("\n\n")[-1].splitlines()
        assert last[0] == "event: done", last
        found: dict[str, Any] = json.loads(last[1].removeprefix("data: "))
        return found

    def uuids(self, name: str) -> list[str]:
        """UUIDs of a dataset's readable files, in order of registration."""
        _, document = self.ask("GET", f"/v1/datasets/{name}/files")
        return [f["uuid"] for f in document["files"] if f["status"] == "ok"]

    def columns(self, name: str) -> list[dict[str, Any]]:
        """All columns of a dataset."""
        found: list[dict[str, Any]] = self.ask("GET", f"/v1/datasets/{name}/columns")[1]["columns"]
        return found

    def counter(self, name: str) -> float:
        """The sum of a Prometheus counter over its labels."""
        lines = self.http.request("GET", self.url + "/metrics").data.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def _wait_until_ready(service: RunningService) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if service.process.poll() is not None:
            break
        try:
            if service.ask("GET", "/readyz")[0] == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the service did not start:\n{service.log.read_text()[-3000:]}")


def share_kernels(home: Path) -> None:
    """Let a new home use the kernels that earlier services of the tests compiled."""
    shared = REPOSITORY / ".pytest_cache" / "kernels"
    shared.mkdir(parents=True, exist_ok=True)
    link = home / "kernels"
    if not link.exists():
        link.symlink_to(shared, target_is_directory=True)


@contextmanager
def running_service(
    home: Path, roots: Sequence[Path], environment: Mapping[str, str] | None = None
) -> Iterator[RunningService]:
    """A service that may read ``roots``; it is ended by its process id."""
    home.mkdir(parents=True, exist_ok=True)
    share_kernels(home)
    port, log = free_port(), home / "service.log"
    settings = {
        "COLUMNSERVICE_ALLOWED_ROOTS": json.dumps([str(r) for r in roots]),
        "COLUMNSERVICE_HOME": str(home),
        **(environment or {}),
    }
    command = [sys.executable, "-m", "columnservice.cli", "serve", "--port", str(port)]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=sink, stderr=sink, cwd=home
        )
    service = RunningService(f"http://127.0.0.1:{port}", home, process, log)
    try:
        _wait_until_ready(service)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        service.http.clear()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[RunningService]:
    """The session's service; it may read the experiment files and pytest's own directories."""
    base = tmp_path_factory.getbasetemp()
    with running_service(base / "service-home", [data_dir, base]) as running:
        yield running
