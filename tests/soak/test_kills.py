"""Random ``kill -9`` of the service, its workers and its clients, while columns are being made.

Nothing half-written is ever served; afterwards the same requests come right, the cache is clean.
``COLUMNSERVICE_SOAK_KILLS`` says how many are killed in the long version.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import urllib3

from columnservice.alignment.files import open_arrow
from columnservice.cache import PieceCache
from columnservice.demo.process import free_port
from columnservice.settings import Settings
from tests.soak import vandals
from tests.support.pairs import JudgedPair, judged_pair
from tests.support.site import Site, site, template_of, workers_of

# Clients are forked from a process that has loaded what they need: most of their lives is work.
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["tests.soak.vandals"])
KILLS = int(os.environ.get("COLUMNSERVICE_SOAK_KILLS", "1000"))
CLIENTS = 4
PATIENCE_SECONDS = 240
COLUMNS = (
    *(f"PFCands_{name}" for name in ("pt", "eta", "phi", "mass", "charge", "pdgId", "dz", "dxy")),
    "nPFCands",
)


class Service:
    """A service on one home and one port that is started again whenever it was killed."""

    def __init__(self, home: Path, roots: list[Path], evict_bytes: int) -> None:
        self.port = free_port()
        self.log = home / "soak.log"
        self._environment = {
            **os.environ,
            "COLUMNSERVICE_HOME": str(home),
            "COLUMNSERVICE_ALLOWED_ROOTS": "[" + ",".join(f'"{r}"' for r in roots) + "]",
            "COLUMNSERVICE_PARTITION_EVENTS": "50",
            "COLUMNSERVICE_CACHE_LIMIT_BYTES": str(evict_bytes),
        }
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "columnservice.cli", "serve", "--port", str(self.port)]
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                command, env=self._environment, stdout=sink, stderr=sink
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def workers(self) -> list[int]:
        return workers_of(self.process.pid)

    def templates(self) -> list[int]:
        template = template_of(self.process.pid)
        return [] if template is None else [template]

    def answers(self) -> bool:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return urllib3.request("GET", f"{self.url}/readyz", retries=False).status == 200
        return False

    def wait_until_ready(self) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.answers():
            assert time.monotonic() < until, self.log.read_text()[-3000:]
            if self.process.poll() is not None:
                self.start()
            time.sleep(0.2)


class Vandalism:
    """Clients at work, and somebody who kills."""

    def __init__(self, service: Service, place: Site, pair: JudgedPair, folder: Path) -> None:
        self.service = service
        self.random = np.random.default_rng(11)
        self._port_file = folder / "url"
        self._port_file.write_text(service.url)
        columns = place.columns(COLUMNS)
        # Without a lock, which a killed client would keep: a count that is lost does not matter.
        self.answered = FORK.Value("Q", lock=False)
        self._told = (self._port_file, pair, place.dataset, place.uuid, columns, self.answered)
        self._started = 0
        self.clients = [self._client() for _ in range(CLIENTS)]
        self.killed = {"service": 0, "template": 0, "worker": 0, "client": 0}

    def _client(self) -> multiprocessing.process.BaseProcess:
        self._started += 1
        arguments = (*self._told, self._started)
        client = FORK.Process(target=vandals.be_client, args=arguments, daemon=True)
        client.start()
        return client

    def demand_no_complaint(self) -> None:
        assert [c.exitcode for c in self.clients] == [None] * CLIENTS, "a client saw wrong bytes"

    def kill_one(self) -> None:
        """Kill one of all processes; workers most often, for they are what writes."""
        who = self.random.choice(["worker"] * 10 + ["client"] * 6 + ["service"] * 3 + ["template"])
        if who == "service":
            self.service.kill()
            self.service.start()
        elif who == "client":
            place = int(self.random.integers(CLIENTS))
            self.demand_no_complaint()
            self.clients[place].kill()
            self.clients[place].join()
            self.clients[place] = self._client()
        else:
            pids = self.service.workers() if who == "worker" else self.service.templates()
            if not pids:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self.random.choice(pids)), signal.SIGKILL)
        self.killed[str(who)] += 1

    def stop(self) -> None:
        for client in self.clients:
            client.kill()
            client.join()


def demand_clean(home: Path, settings: Settings) -> None:
    """No entry is damaged; what writers left behind is swept up, and then there is nothing more."""
    cache = PieceCache(settings.cache_dir, settings.cache_limit_bytes)
    assert cache.verify(grace_seconds=-1).damaged_removed == 0
    assert cache.verify(grace_seconds=-1).clean
    assert cache.stats().damaged == 0
    cache.close()
    assert list((settings.cache_dir / "incoming").iterdir()) == []
    indexes = list(settings.index_dir.glob("**/*.arrow"))
    assert indexes
    assert all(open_arrow(path) is not None for path in indexes)


def soak(folder: Path, kills: int) -> None:
    pair = judged_pair(folder / "pair", events=300, parents=2)
    home = folder / "home"
    for name in COLUMNS:  # read once here, not in every client
        pair.right(name)
    with site(folder, pair, pair.pair.parents, {"COLUMNSERVICE_PARTITION_EVENTS": "50"}) as place:
        place.columns(COLUMNS)
    # Less room than all columns need: there is always something to make, and to evict.
    limit_bytes = 3_000_000
    service = Service(home, [folder], limit_bytes)
    vandalism = Vandalism(service, place, pair, folder)
    try:
        service.wait_until_ready()
        while sum(vandalism.killed.values()) < kills:
            time.sleep(float(vandalism.random.exponential(0.5)))
            vandalism.demand_no_complaint()
            vandalism.kill_one()
            if vandalism.random.random() < 0.2:
                service.wait_until_ready()
        until = time.monotonic() + PATIENCE_SECONDS
        while not vandalism.answered.value:
            assert time.monotonic() < until, "no client ever got an answer"
            time.sleep(0.2)
        vandalism.demand_no_complaint()
    finally:
        vandalism.stop()
    try:
        service.wait_until_ready()
        http = urllib3.PoolManager(timeout=PATIENCE_SECONDS)
        url = f"{service.url}/v1/datasets/{place.dataset}/columns/query"
        for column in place.columns(COLUMNS):
            answer = vandals.ask(http, url, place.body([column.name]), [column])
            assert answer is not None
            pair.demand_right(answer)
        reply = http.request("POST", f"{service.url}/v1/cache/verify", retries=False)
        assert reply.json()["damaged_removed"] == 0
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(PATIENCE_SECONDS) == 0
    finally:
        service.kill()
    demand_clean(home, Settings(home=home, cache_limit_bytes=limit_bytes))
    assert "unexpected failure" not in service.log.read_text()


def test_twenty_kills_harm_nothing(tmp_path):
    soak(tmp_path, kills=20)


@pytest.mark.soak
def test_a_thousand_kills_harm_nothing(tmp_path):
    soak(tmp_path, KILLS)
