"""A service on top of real storage servers, with a pair registered, as the fault tests need it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from columnservice import wire
from columnservice.errors import ColumnServiceError, from_problem
from columnservice.model import Column
from tests.support.pairs import Answer, JudgedPair, answer_of
from tests.support.service import RunningService, running_service

LOCAL = "site_local"
PATIENCE_SECONDS = 240


@dataclass
class Site:
    """A running service and a pair that it knows.

    Attributes:
        service, pair: these.
        uuid: of the local file.
        dataset: the local dataset's name.
    """

    service: RunningService
    pair: JudgedPair
    uuid: str = ""
    dataset: str = LOCAL
    _known: dict[str, Column] = field(default_factory=dict)

    def __post_init__(self) -> None:
        timeout = urllib3.Timeout(PATIENCE_SECONDS)
        self.http = urllib3.PoolManager(maxsize=128, timeout=timeout, retries=False)

    def register(self, urls: Sequence[str | Path]) -> None:
        """Register the pair, its parents under these URLs."""
        parent = f"{self.dataset}_parent"
        assert self.service.register(parent, "miniaod", urls)["files"]["ok"] == len(urls)
        local = self.service.register(self.dataset, "nanoaod", [self.pair.pair.local], parent)
        assert local["files"]["ok"] == 1, local
        self.uuid = self.service.uuids(self.dataset)[0]

    def columns(self, names: Sequence[str]) -> list[Column]:
        if not self._known:
            documents = self.service.columns(self.dataset)
            self._known = {d["name"]: wire.column_from_json(d) for d in documents}
        return [self._known[name] for name in names]

    def body(self, names: Sequence[str]) -> dict[str, Any]:
        return {"file": self.uuid, "start": 0, "stop": self.pair.events, "columns": list(names)}

    def ask(self, *names: str) -> Answer:
        """All rows of some columns, read to the end.

        Raises:
            ColumnServiceError: what the service says instead.
        """
        url = f"{self.service.url}/v1/datasets/{self.dataset}/columns/query"
        reply = self.http.request("POST", url, json=self.body(names))
        if reply.status != 200:
            raise from_problem(json.loads(reply.data))
        return answer_of(reply.data, self.columns(names))

    def demand_right(self, *names: str) -> Answer:
        """Ask, and compare with a direct read."""
        answer = self.ask(*names)
        self.pair.demand_right(answer)
        return answer

    def metric(self, name: str) -> float:
        return self.service.counter(f"columnservice_{name}")

    def ready(self) -> int:
        return self.service.ask("GET", "/readyz")[0]

    def workers(self) -> list[int]:
        """Pids of the worker processes."""
        return workers_of(self.service.process.pid)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def template_of(pid: int) -> int | None:
    """The process from which a service forks its workers; None while there is none."""
    for child in children(pid):
        with contextlib.suppress(OSError):
            if b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    return None


def workers_of(pid: int) -> list[int]:
    """The worker processes of a service, without Python's resource tracker."""
    template = template_of(pid)
    return [] if template is None else children(template)


class Later:
    """An ask in a thread of its own; ``result`` waits for it."""

    def __init__(self, site: Site, *names: str) -> None:
        self.outcome: Answer | Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(site, names), daemon=True)
        self._thread.start()

    def _run(self, site: Site, names: Sequence[str]) -> None:
        try:
            self.outcome = site.ask(*names)
        except (ColumnServiceError, urllib3.exceptions.HTTPError) as error:
            self.outcome = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Answer:
        self._thread.join(PATIENCE_SECONDS)
        assert self.outcome is not None, "no answer"
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@contextmanager
def site(
    folder: Path,
    pair: JudgedPair,
    urls: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> Iterator[Site]:
    """A service with the pair registered, its parents under ``urls``."""
    settings = {"COLUMNSERVICE_PARTITION_EVENTS": "100", **(environment or {})}
    roots = [pair.pair.local.parent, folder]
    with running_service(home or folder / "home", roots, settings) as service:
        made = Site(service, pair)
        made.register(urls)
        try:
            yield made
        finally:
            made.http.clear()


def incoming(home: Path) -> list[str]:
    """What writers have left behind in a cache."""
    return [path.name for path in (home / "cache" / "incoming").iterdir()]
