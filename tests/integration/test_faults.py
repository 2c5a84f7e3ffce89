"""Origin and cache killed, frozen, slow, full, truncated, corrupted, and back, under a service.

What is in the service's cache stays served, what must be read comes right or fails in time, others
notice nothing, and all is well again without a restart. "In time" is held by the clients' own time
limit, many times the deadline.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from columnservice.demo.relay import Relay
from columnservice.demo.xrootd import XrootdServer, give_to_server
from columnservice.errors import (
    DamagedFile,
    FileChanged,
    TransportError,
    Unreachable,
)
from tests.support.pairs import JudgedPair, judged_pair
from tests.support.site import Later, Site, site
from tests.support.xrootd import Storage, storage

pytestmark = pytest.mark.xrootd

DEADLINE_SECONDS = 15
PATIENCE_SECONDS = 120
ENVIRONMENT = {
    "COLUMNSERVICE_DEADLINE_SECONDS": str(DEADLINE_SECONDS),
    "COLUMNSERVICE_DRAIN_SECONDS": "1",
    "COLUMNSERVICE_REVALIDATE_SECONDS": "2",
    "COLUMNSERVICE_REVALIDATE_WAIT_SECONDS": "1",
    "COLUMNSERVICE_PARTITION_EVENTS": "500",
    # Below the deadline, as in earnest: there is time to ask another replica.
    "XRD_CONNECTIONWINDOW": "3",
    "XRD_REQUESTTIMEOUT": "3",
    "XRD_STREAMTIMEOUT": "3",
}


class Place:
    """A site, its storage servers, and a second dataset that needs none of them."""

    def __init__(self, one: Site, servers: Storage, other: Site) -> None:
        self.site, self.servers, self.other = one, servers, other
        documents = one.service.columns(one.dataset)
        readable = [
            d["name"] for d in documents if d["origin"] == "parent" and d["support"] == "ok"
        ]
        packed = ("PFCands_", "PFCandsRaw_", "LostTracks_", "PackedGenPart_")
        self._fresh = [name for name in readable if name.startswith(packed)]
        self._others = [c for c in self._fresh if c.startswith("PFCands_")]
        self.cached = self.fresh()
        one.demand_right(self.cached)

    def fresh(self) -> str:
        """A column that nobody asked for."""
        return self._fresh.pop(0)

    def demand_others_unharmed(self) -> None:
        """Cached columns are right, and so is what is read elsewhere; the service is ready."""
        self.site.demand_right(self.cached)
        self.other.demand_right(self._others.pop())
        assert self.site.ready() == 200

    def demand_recovery(self, *names: str) -> None:
        """The same requests come right, without a restart of the service."""
        eventually(lambda: self.site.demand_right(*names))
        self.demand_others_unharmed()


def eventually(work: Callable[[], object]) -> None:
    """Try again while servers come back."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            work()
            return
        except TransportError:
            assert time.monotonic() < end
            time.sleep(0.5)


@contextmanager
def place_at(folder: Path, pair: JudgedPair, servers: Storage | Far) -> Iterator[Place]:
    urls = [servers.put(parent) for parent in pair.pair.parents]
    small = judged_pair(folder / "other", events=200, parents=1, seed=5)
    xcaches = ",".join(f'"{a}": "{b}"' for a, b in servers.xcaches.items())
    environment = {**ENVIRONMENT, "COLUMNSERVICE_XCACHES": f"{{{xcaches}}}"}
    with site(folder, pair, urls, environment) as one:
        other = Site(one.service, small, dataset="other")
        other.register(small.pair.parents)
        try:
            yield Place(one, servers, other)
        finally:
            other.http.clear()


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> JudgedPair:
    """Parents of many megabytes, so that columns lie in different blocks of the cache."""
    return judged_pair(tmp_path_factory.mktemp("pair"), events=1500, parents=2)


@pytest.fixture(scope="module")
def place(tmp_path_factory, pair, xrootd_installed) -> Iterator[Place]:
    """One service for all tests of this module: each leaves it as it was."""
    with storage() as servers, place_at(tmp_path_factory.mktemp("site"), pair, servers) as made:
        yield made


def unanswered(place: Place, clients: int = 1) -> str:
    """A new column that the servers at hand do not answer; XCache may hold the blocks of some."""
    for _ in range(10):
        new = place.fresh()
        outcomes = []
        for one in [Later(place.site, new) for _ in range(clients)]:
            try:
                place.site.pair.demand_right(one.result())
            except TransportError as error:
                outcomes.append(error)
        if len(outcomes) == clients:
            assert all(re.search(r"parent_\d\.root", str(error)) for error in outcomes)
            return new
    raise AssertionError("XCache holds everything")


def test_origin_killed_and_back(place):
    place.servers.origin.kill()
    place.demand_others_unharmed()
    new = unanswered(place)
    place.demand_others_unharmed()
    place.servers.origin.start()
    place.demand_recovery(new)


def test_origin_frozen_and_back(place):
    place.servers.origin.freeze()
    try:
        asked = Later(place.site, place.fresh())
        place.demand_others_unharmed()
        with contextlib.suppress(TransportError):  # XCache may hold the blocks of this one
            place.site.pair.demand_right(asked.result())
        new = unanswered(place, clients=2)
        place.demand_others_unharmed()
    finally:
        place.servers.origin.thaw()
    place.demand_recovery(new)


def test_a_frozen_origin_costs_one_deadline_where_the_client_waits_longer(
    tmp_path, pair, xrootd_installed
):
    environment = {
        **ENVIRONMENT,
        "COLUMNSERVICE_DEADLINE_SECONDS": "5",
        "XRD_REQUESTTIMEOUT": "600",
        "XRD_STREAMTIMEOUT": "600",
    }
    with ExitStack() as stack:
        origin = stack.enter_context(XrootdServer())
        urls = [origin.put(parent) for parent in pair.pair.parents]
        one = stack.enter_context(site(tmp_path, pair, urls, environment))
        one.demand_right("PFCands_pt")
        origin.freeze()
        try:
            both = [Later(one, "PFCands_eta"), Later(one, "PFCands_eta")]
            for asked in both:
                with pytest.raises(Unreachable, match=r"parent_\d\.root.* nothing .* for 5 s"):
                    asked.result()
            one.demand_right("PFCands_pt")
            assert one.metric("deadlines_total") > 0
        finally:
            origin.thaw()
        eventually(lambda: one.demand_right("PFCands_eta"))


def test_cache_killed_and_back(place):
    new, later = place.fresh(), place.fresh()
    place.servers.xcache.kill()
    place.demand_others_unharmed()
    place.site.demand_right(new)  # the origin serves
    place.servers.xcache.start()
    place.demand_recovery(later)


def test_cache_frozen_and_back(place):
    new, later = place.fresh(), place.fresh()
    place.servers.xcache.freeze()
    try:
        asked = Later(place.site, new)
        place.demand_others_unharmed()
        place.site.pair.demand_right(asked.result())  # the origin serves
        place.demand_others_unharmed()
    finally:
        place.servers.xcache.thaw()
    place.demand_recovery(new, later)


def test_a_parent_truncated_at_the_origin_and_whole_again(place):
    new = place.fresh()
    path = place.servers.origin.store / "parent_0.root"
    before, whole = path.stat(), path.read_bytes()
    os.truncate(path, len(whole) // 2)
    time.sleep(2.5)  # origins are asked every two seconds here
    for name in (new, place.cached):
        with pytest.raises((FileChanged, DamagedFile, TransportError), match=r"parent_0\.root"):
            place.site.ask(name)
    place.other.demand_right("PFCands_pt")
    path.write_bytes(whole)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def right() -> None:
        try:
            place.site.demand_right(new)
        except (FileChanged, DamagedFile) as error:  # what origins said is believed for a while
            raise Unreachable(str(error)) from None

    eventually(right)
    place.demand_others_unharmed()


def blocks_of(server: XrootdServer) -> list[Path]:
    """The data files of an XCache."""
    found = [p for p in server.root.rglob("*.root") if p.is_file()]
    assert found
    return found


def forget(place: Place) -> None:
    assert place.site.service.ask("POST", "/v1/cache/evict")[0] == 200
    time.sleep(1.1)  # a held map is believed for a second


@pytest.mark.parametrize("harm", ["truncated", "corrupted"])
def test_blocks_harmed_in_the_cache(place, harm):
    name = place.fresh()
    place.site.demand_right(name)
    forget(place)
    for path in blocks_of(place.servers.xcache):
        size = path.stat().st_size
        if harm == "truncated":
            os.truncate(path, size // 3)
        else:
            with path.open("r+b") as file:
                file.seek(size // 10)
                file.write(b"\xa5" * (size - size // 10))
    place.site.demand_right(name)
    place.demand_recovery(place.fresh())


def test_bytes_corrupted_at_the_origin_and_whole_again(tmp_path, pair, xrootd_installed):
    """Size and time say nothing here, and XCache keeps what it was given: it is read around."""
    with storage() as servers, place_at(tmp_path, pair, servers) as harmed:
        new = harmed.fresh()
        path = servers.origin.store / "parent_0.root"
        before, whole = path.stat(), path.read_bytes()
        with path.open("r+b") as file:
            file.seek(len(whole) // 10)
            file.write(b"\xa5" * (len(whole) - len(whole) // 10))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        # Nonsense in a file's own directory can keep a reader busy until the deadline ends it.
        with pytest.raises((DamagedFile, Unreachable), match=r"parent_0\.root"):
            harmed.site.ask(new)
        harmed.demand_others_unharmed()
        path.write_bytes(whole)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        harmed.demand_recovery(new, harmed.fresh())


def test_a_slow_cache_is_no_fault(tmp_path, pair, xrootd_installed):
    with storage() as servers, Relay(servers.xcache.port, 0.05) as relay:
        far = Far(servers, f"root://{relay.address}")
        with place_at(tmp_path, pair, far) as slow:
            passed = relay.counts.received_bytes
            slow.site.demand_right(slow.fresh(), slow.fresh())
            assert relay.counts.received_bytes > passed
            slow.demand_others_unharmed()
            assert slow.site.metric("deadlines_total") == 0


@dataclass(frozen=True)
class Far:
    """Storage whose XCache is reached by another address."""

    servers: Storage
    address: str

    @property
    def xcaches(self) -> dict[str, str]:
        return dict.fromkeys(self.servers.xcaches, self.address)

    def put(self, source: Path) -> str:
        return self.servers.put(source)


def test_a_slow_origin_is_no_fault(tmp_path, pair, xrootd_installed):
    with storage(delay_seconds=0.05) as servers, place_at(tmp_path, pair, servers) as slow:
        slow.site.demand_right(slow.fresh(), slow.fresh())
        slow.demand_others_unharmed()
        assert slow.site.metric("deadlines_total") == 0


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A directory on a file system of its own."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(folder)],
        check=False,
    )
    if made.returncode:
        pytest.skip("only root can make a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def fill(disk: Path) -> Path:
    """Use up all that is free."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for piece in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(piece)) == piece:
                    pass
            except OSError:
                continue
    assert shutil.disk_usage(disk).free < 1 << 12
    return ballast


def test_the_disk_of_the_cache_full_and_free_again(tmp_path, pair, xrootd_installed):
    with ExitStack() as stack:
        # Of the server's own user: below pytest's directories it may not go.
        disk = stack.enter_context(small_disk(Path(f"/tmp/xrd-disk-{os.getpid()}"), 256))
        root = disk / "root"
        root.mkdir()
        origin = stack.enter_context(XrootdServer())
        relay = stack.enter_context(Relay(origin.port))
        give_to_server(disk)
        xcache = stack.enter_context(XrootdServer(root, origin=relay.address))
        place = stack.enter_context(place_at(tmp_path, pair, Storage(origin, relay, xcache)))
        ballast = fill(disk)
        place.site.demand_right(place.fresh())
        place.demand_others_unharmed()
        ballast.unlink()
        place.demand_recovery(place.fresh())


def test_the_disk_of_the_service_full_and_free_again(tmp_path, pair):
    environment = {k: v for k, v in ENVIRONMENT.items() if "DEADLINE" not in k}
    with ExitStack() as stack:
        home = stack.enter_context(small_disk(tmp_path / "home", 256))
        one = stack.enter_context(site(tmp_path, pair, pair.pair.parents, environment, home))
        one.demand_right("PFCands_pt")
        ballast = fill(home)
        for _ in range(2):
            one.demand_right("PFCands_pt")
            one.demand_right("PFCands_eta")
        assert one.ready() == 200
        assert one.metric("uncached_pieces_total") > 0
        answers = [Later(one, "PFCands_phi") for _ in range(8)]
        for answer in answers:
            pair.demand_right(answer.result())
        ballast.unlink()
        one.demand_right("PFCands_eta")
        misses = one.metric("piece_misses_total")
        one.demand_right("PFCands_eta")
        assert one.metric("piece_misses_total") == misses
        status, report = one.service.ask("POST", "/v1/cache/verify")
        assert (status, report["damaged_removed"]) == (200, 0)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def hanging(place: Place) -> tuple[str, Later]:
    """A column that two tasks are just reading, from an origin that does not answer.

    Columns whose blocks XCache happens to hold are answered, others fail in time: ask for the next.
    """
    for _ in range(10):
        new = place.fresh()
        asked = Later(place.site, new)
        while not asked.done:
            if place.site.metric("tasks_running") == 2:
                return new, asked
            time.sleep(0.05)
    raise AssertionError("no column kept two tasks busy")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_workers_killed_or_frozen_in_the_middle(place, how):
    deaths = place.site.metric("worker_deaths_total")
    until(lambda: place.site.metric("workers_alive") == 3)
    place.servers.origin.freeze()
    try:
        until(lambda: len(place.site.workers()) == 3)
        new, asked = hanging(place)
        harmed = place.site.workers()
        assert len(harmed) == 3
        # All stand still before the first is harmed: a task must not meet two deaths here.
        for signum in (signal.SIGSTOP, how):
            for pid in harmed:
                os.kill(pid, signum)
    finally:
        place.servers.origin.thaw()
    place.site.demand_right(place.cached)
    place.site.pair.demand_right(asked.result())
    assert place.site.metric("worker_deaths_total") >= deaths + 2
    until(lambda: place.site.metric("workers_alive") == 3)
    place.demand_recovery(new)


def test_after_all_this_nothing_is_damaged_and_no_error_was_unforeseen(place):
    status, report = place.site.service.ask("POST", "/v1/cache/verify")
    assert (status, report["damaged_removed"]) == (200, 0)
    log = place.site.service.log.read_text()
    assert "unexpected failure" not in log
    assert "Traceback" not in log
