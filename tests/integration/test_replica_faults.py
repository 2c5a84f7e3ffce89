"""Real servers that break: what reads give, what they ask, and what they say when nothing is left.

Reads are made as a worker makes them: a pool of open files, replicas in order, one vector read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import uproot

from columnservice.errors import DamagedFile, FileChanged, NotAllowed, Unreachable
from columnservice.model import BranchRead, FileIdentity, FileLocation
from columnservice.reader import FilePool, read_rows, replicas_of
from columnservice.reader import pool as pool_room
from tests.support.xrootd import Storage, storage

pytestmark = pytest.mark.xrootd

BRANCHES = ("warm", "cold", "last")
BASKET, BASKETS = 20_000, 5
ROWS = np.arange(0, BASKET * BASKETS, 7)


def write(path: Path, seed: int) -> dict[str, np.ndarray]:
    """A file with one block-sized basket after another; its content."""
    rng = np.random.default_rng(seed)
    data = {name: rng.normal(size=BASKET * BASKETS) for name in BRANCHES}
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        file.mktree("Events", dict.fromkeys(BRANCHES, "float64"))
        for start in range(0, BASKET * BASKETS, BASKET):
            file["Events"].extend({k: v[start : start + BASKET] for k, v in data.items()})
    return data


def identity_of(path: Path) -> FileIdentity:
    with uproot.open(path) as file:
        return FileIdentity(str(file.file.uuid), path.stat().st_size)


@dataclass(frozen=True)
class Sample:
    """Two files of the same size class and what is in them."""

    path: Path
    data: dict[str, np.ndarray]
    other: Path
    other_data: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = tmp_path_factory.mktemp("faults")
    path, other = folder / "a.root", folder / "b.root"
    return Sample(path, write(path, 1), other, write(other, 2))


@pytest.fixture(scope="module")
def servers(xrootd_installed: None) -> Iterator[Storage]:
    """Servers of this module's own: they are killed, frozen and their files harmed."""
    with storage() as running:
        yield running


Located = Callable[[str], FileLocation]


@pytest.fixture
def located(servers: Storage, sample: Sample) -> Located:
    """Put the sample's file at the origin under a name of its own: cache first, then origin."""

    def put(name: str) -> FileLocation:
        url = servers.put(sample.path, name)
        replicas = replicas_of(url, servers.xcaches)
        return FileLocation(f"/store/{name}", replicas, "Events", identity_of(sample.path))

    return put


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []
    # the name in the room only: others must go on sleeping
    clock = SimpleNamespace(sleep=taken.append, monotonic=time.monotonic)
    monkeypatch.setattr(pool_room, "time", clock)
    return taken


def served(pool: FilePool, location: FileLocation, branch: str, data: dict[str, np.ndarray]) -> str:
    """Read a branch, hold it against what was written, and tell which replica served."""
    read = read_rows(pool, location, [BranchRead(branch)], ROWS)
    assert np.array_equal(read.arrays[0].values, data[branch][ROWS])
    return read.url


def cached_file(servers: Storage, name: str) -> Path:
    return servers.xcache.root / "store" / name


def test_a_healthy_cache_serves_and_the_origin_is_not_asked(servers, sample, located):
    location = located("healthy.root")
    assert served(FilePool(), location, "warm", sample.data) == location.replicas[0]


def test_what_the_cache_cannot_find_is_read_nowhere_and_named(servers, sample, pauses):
    url = servers.origin.url("never-there.root")
    location = FileLocation("/store/never-there.root", replicas_of(url, servers.xcaches), "Events")
    with pytest.raises(Unreachable, match=r"\(absent\): .*\[3011\]") as caught:
        served(FilePool(), location, "warm", sample.data)
    assert caught.value.message.startswith(f"/store/never-there.root at {url} does not exist")
    assert f"Asked before: {location.replicas[0]} (absent)" in caught.value.message
    assert pauses == []


@pytest.mark.parametrize("first", ["cache", "origin"])
def test_a_permission_denied_is_not_asked_twice(servers, sample, located, pauses, first):
    location = located(f"denied-{first}.root")
    (servers.origin.store / f"denied-{first}.root").chmod(0)
    urls = location.replicas if first == "cache" else location.replicas[1:]
    location = FileLocation(location.lfn, urls, "Events", location.identity)
    with pytest.raises(NotAllowed, match=r"\(denied\): .*\[3010\]"):
        served(FilePool(), location, "warm", sample.data)
    assert pauses == []


def test_a_truncated_file_is_called_so_at_cache_and_origin(servers, sample, located):
    location = located("truncated.root")
    with (servers.origin.store / "truncated.root").open("r+b") as file:
        file.truncate(sample.path.stat().st_size // 2)
    with pytest.raises(DamagedFile, match=r"\(damaged\)") as caught:
        served(FilePool(), location, "warm", sample.data)
    assert location.replicas[1] in caught.value.message


def test_a_file_truncated_while_it_is_open_is_damage_and_not_a_lost_connection(
    servers, sample, located
):
    location = located("shrinks.root")
    origin_only = FileLocation(location.lfn, location.replicas[1:], "Events", location.identity)
    pool = FilePool()
    with pool.tree(origin_only):
        pass
    with (servers.origin.store / "shrinks.root").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(DamagedFile, match="illegal seek"):
        served(pool, origin_only, "last", sample.data)


@pytest.mark.parametrize("harm", [b"\xff", b"\x00"], ids=["ones", "zeros"])
def test_a_corrupted_block_in_the_cache_is_read_around_it(servers, sample, located, harm):
    location = located(f"corrupt-{harm.hex()}.root")
    assert served(FilePool(), location, "cold", sample.data) == location.replicas[0]
    with uproot.open(sample.path) as file:
        branch = file["Events"]["cold"]
        seek, size = branch.member("fBasketSeek")[2], branch.member("fBasketBytes")[2]
    block = cached_file(servers, f"corrupt-{harm.hex()}.root")
    with block.open("r+b") as file:
        file.seek(seek + (200 if harm == b"\xff" else 0))
        file.write(harm * (size // 2))
    pool = FilePool()
    assert served(pool, location, "cold", sample.data) == location.replicas[1]
    assert served(pool, location, "last", sample.data) == location.replicas[1]
    cache_only = FileLocation(location.lfn, location.replicas[:1], "Events", location.identity)
    with pytest.raises(DamagedFile, match=location.replicas[0]):
        served(FilePool(), cache_only, "cold", sample.data)


def test_a_replaced_file_is_read_at_the_origin_while_the_cache_serves_the_old_one(
    servers, sample, located
):
    location = located("replaced.root")
    assert served(FilePool(), location, "warm", sample.data) == location.replicas[0]
    servers.put(sample.other, "replaced.root")
    registered_anew = FileLocation(
        location.lfn, location.replicas, "Events", identity_of(sample.other)
    )
    pool = FilePool()
    assert served(pool, registered_anew, "warm", sample.other_data) == location.replicas[1]
    unknown = FileLocation(location.lfn, location.replicas, "Events", FileIdentity("other", 1))
    with pytest.raises(FileChanged, match=location.replicas[1]) as caught:
        served(FilePool(), unknown, "warm", sample.data)
    assert f"{location.replicas[0]} (changed)" in caught.value.message


def test_a_wrong_host_name_and_a_refused_port_are_told_apart_from_absent_files(sample):
    for url in ("root://no-such-host.invalid:1094//store/a.root", "root://127.0.0.1:1//a.root"):
        location = FileLocation("/store/a.root", (url,), "Events")
        with pytest.raises(Unreachable, match=r"\(refused\)"):
            served(FilePool(), location, "warm", sample.data)


def test_no_credential_of_a_url_reaches_the_message(servers, pauses):
    told = f"root://me:pass-word@{servers.origin.address}//store/none.root"
    url = f"{told}?authz=Bearer%20eyJhbGci.eyJzdWIi.c2lnbmF0dXJl"
    with (
        pytest.raises(Unreachable) as caught,
        FilePool().tree(FileLocation("/store/none.root", (url,), "Events")),
    ):
        pass
    for secret in ("pass-word", "eyJhbGci", "c2lnbmF0dXJl"):
        assert secret not in str(caught.value)
    assert "[redacted]" in caught.value.message


def test_a_killed_cache_is_passed_over_also_by_files_that_are_open_and_serves_again_later(
    servers, sample, located
):
    location, other = located("killed.root"), located("killed-2.root")
    pool = FilePool()
    assert served(pool, location, "warm", sample.data) == location.replicas[0]
    servers.xcache.kill()
    try:
        assert served(pool, location, "cold", sample.data) == location.replicas[1]
        assert served(pool, other, "cold", sample.data) == other.replicas[1]
    finally:
        servers.xcache.start()
    assert served(FilePool(), location, "last", sample.data) == location.replicas[0]


def test_a_killed_origin_leaves_what_is_cached_and_an_error_that_names_both(
    servers, sample, located
):
    location = located("orphaned.root")
    assert served(FilePool(), location, "warm", sample.data) == location.replicas[0]
    servers.origin.kill()
    try:
        assert served(FilePool(), location, "warm", sample.data) == location.replicas[0]
        with pytest.raises(Unreachable, match=r"\(refused\)") as caught:
            served(FilePool(), location, "cold", sample.data)
        assert f"Asked before: {location.replicas[0]} (stalled)" in caught.value.message
    finally:
        servers.origin.start()
    # the cache takes some seconds to connect to its origin anew: whoever serves, it is served
    assert served(FilePool(), location, "cold", sample.data) in location.replicas


def test_a_frozen_cache_costs_its_time_limit_once_and_the_origin_serves(
    servers, sample, located, pauses
):
    location, other = located("frozen.root"), located("frozen-2.root")
    pool = FilePool()
    servers.xcache.freeze()
    try:
        assert served(pool, location, "warm", sample.data) == location.replicas[1]
        asked: list[str] = []
        opened = pool_room.open_replica
        pool_room.open_replica = lambda where, url: asked.append(url) or opened(where, url)
        try:
            assert served(pool, other, "warm", sample.data) == other.replicas[1]
        finally:
            pool_room.open_replica = opened
        assert asked == [other.replicas[1]]
    finally:
        servers.xcache.thaw()
    assert pauses == []
    assert served(FilePool(), location, "cold", sample.data) == location.replicas[0]
