"""From replica to replica: what is asked again, what is passed over, what reaches the caller."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import uproot

from columnservice.errors import (
    DamagedFile,
    FileChanged,
    NotAllowed,
    Unreachable,
    UnsupportedColumn,
)
from columnservice.model import FileIdentity, FileLocation
from columnservice.reader import FilePool
from columnservice.reader import pool as pool_room

pytestmark = pytest.mark.fast


def write(path, start=0):
    with uproot.recreate(path) as file:
        file.mktree("Events", {"number": "int64"})
        file["Events"].extend({"number": np.arange(start, start + 10)})
    return path


def identity_of(path):
    with uproot.open(path) as file:
        return FileIdentity(str(file.file.uuid), path.stat().st_size)


@pytest.fixture
def pauses(monkeypatch):
    taken = []
    # the name in the room only: others must go on sleeping
    clock = SimpleNamespace(sleep=taken.append, monotonic=time.monotonic)
    monkeypatch.setattr(pool_room, "time", clock)
    return taken


@pytest.fixture
def replicas(tmp_path):
    """Three replicas of one file; the last one is the origin."""
    content = write(tmp_path / "origin.root").read_bytes()
    for name in ("cache", "other"):
        (tmp_path / f"{name}.root").write_bytes(content)
    return tuple(str(tmp_path / f"{name}.root") for name in ("cache", "other", "origin"))


class Work:
    """Reads the tree; raises what it is told to, at the replicas that it is told of."""

    def __init__(self, **errors):
        self.errors = errors
        self.asked = []

    def __call__(self, opened):
        name = opened.url.rpartition("/")[2].removesuffix(".root")
        self.asked.append(name)
        told = self.errors.get(name)
        if isinstance(told, list):
            told = told.pop(0) if told else None
        if told is not None:
            raise told
        return int(opened.tree.num_entries)


REFUSED = OSError("XRootD error: [FATAL] Connection error in file x")
TIMEOUT = OSError("XRootD error: [FATAL] Socket timeout in file x")
STALLED = FileNotFoundError("([ERROR] Server responded with an error: [3005] stall")
DENIED = FileNotFoundError("([ERROR] Server responded with an error: [3010] permission denied")
CHECKSUM = FileNotFoundError("([ERROR] Server responded with an error: [3019] checksum")


def test_the_first_replica_serves_when_nothing_is_wrong(replicas, pauses):
    work = Work()
    assert FilePool().serve(FileLocation("a", replicas, "Events"), work) == 10
    assert work.asked == ["cache"]
    assert pauses == []


def test_a_refused_connection_is_repeated_twice_and_then_passed_over(replicas, pauses):
    work = Work(cache=REFUSED)
    assert FilePool().serve(FileLocation("a", replicas, "Events"), work) == 10
    assert work.asked == ["cache", "cache", "cache", "other"]
    assert pauses == sorted(pauses)
    assert len(pauses) == 2


def test_a_passing_stall_costs_one_repetition(replicas, pauses):
    work = Work(cache=[STALLED])
    assert FilePool().serve(FileLocation("a", replicas, "Events"), work) == 10
    assert work.asked == ["cache", "cache"]


def test_a_denial_is_neither_repeated_nor_asked_elsewhere(replicas, pauses):
    work = Work(cache=DENIED)
    with pytest.raises(NotAllowed, match=r"cache\.root is refused by the storage \(denied\)"):
        FilePool().serve(FileLocation("a", replicas, "Events"), work)
    assert work.asked == ["cache"]
    assert pauses == []


def test_damage_goes_around_all_caches(replicas, pauses):
    work = Work(cache=CHECKSUM)
    assert FilePool().serve(FileLocation("a", replicas, "Events"), work) == 10
    assert work.asked == ["cache", "origin"]


def test_when_all_fail_the_last_is_told_and_the_others_named(replicas, pauses):
    work = Work(cache=TIMEOUT, other=STALLED, origin=CHECKSUM)
    with pytest.raises(DamagedFile) as caught:
        FilePool().serve(FileLocation("a", replicas, "Events"), work)
    message = caught.value.message
    assert "origin.root is truncated or corrupted (damaged)" in message
    assert "cache.root (timed out)" in message
    assert "other.root (stalled)" in message
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_mistake_in_the_request_is_told_at_once(replicas, pauses):
    work = Work(cache=UnsupportedColumn("no branch x"))
    pool = FilePool()
    with pytest.raises(UnsupportedColumn):
        pool.serve(FileLocation("a", replicas, "Events"), work)
    assert work.asked == ["cache"]
    with pytest.raises(TypeError):
        pool.serve(FileLocation("a", replicas, "Events"), Work(cache=TypeError("a bug")))


def test_a_handle_that_failed_is_not_used_again(replicas, pauses):
    pool, location, seen = FilePool(), FileLocation("a", replicas[:1], "Events"), []

    def work(opened):
        seen.append(opened)
        if len(seen) == 1:
            raise STALLED
        return opened

    assert pool.serve(location, work) is seen[1]
    assert seen[0] is not seen[1]
    assert seen[0].directory.file.closed
    with pool.tree(location) as opened:
        assert opened is seen[1]


def test_a_damaged_cache_is_not_asked_first_again(replicas, pauses):
    pool, location = FilePool(), FileLocation("a", replicas, "Events")
    pool.serve(location, Work(cache=CHECKSUM))
    work = Work()
    pool.serve(location, work)
    assert work.asked == ["other"]


def test_an_old_file_at_a_cache_is_passed_over_and_the_origin_serves(tmp_path):
    old, new = write(tmp_path / "old.root"), write(tmp_path / "new.root", start=7)
    location = FileLocation("a", (str(old), str(new)), "Events", identity_of(new))
    with FilePool().tree(location) as opened:
        assert opened.url == str(new)


def test_a_file_that_changed_at_the_origin_too_is_told_as_changed(tmp_path):
    old, new = write(tmp_path / "old.root"), write(tmp_path / "new.root", start=7)
    known = FileIdentity("registered", 1)
    with pytest.raises(FileChanged, match=r"new\.root is not the file") as caught:
        FilePool().serve(FileLocation("a", (str(old), str(new)), "Events", known), Work())
    assert "old.root (changed)" in caught.value.message
    assert not isinstance(caught.value, OSError)
    assert caught.value.__context__ is None


def test_a_change_that_only_an_unreachable_origin_could_confirm_is_a_transport_error(tmp_path):
    old = write(tmp_path / "old.root")
    gone = str(tmp_path / "gone.root")
    location = FileLocation("a", (str(old), gone), "Events", FileIdentity("registered", 1))
    with pytest.raises(Unreachable, match=r"old\.root \(changed\)"):
        FilePool().serve(location, Work())


def test_what_fails_in_the_caller_s_hands_is_told_as_the_file_s_and_the_handle_dropped(replicas):
    pool, location = FilePool(), FileLocation("a", replicas, "Events")
    with pytest.raises(Unreachable, match=r"\(timed out\)"), pool.tree(location) as first:
        raise TIMEOUT
    assert first.directory.file.closed
    with pytest.raises(KeyError), pool.tree(location) as opened:
        raise KeyError("the caller's own")
    assert not opened.directory.file.closed


def test_the_tree_of_a_registered_file_is_read_while_another_replica_can_still_serve(tmp_path):
    origin = write(tmp_path / "origin.root")
    data = bytearray(origin.read_bytes())
    with uproot.open(origin) as file:
        key = file.key("Events")
        seek, size = key.fSeekKey, key.fNbytes
    data[seek + 60 : seek + size] = b"\xff" * (size - 60)
    (tmp_path / "cache.root").write_bytes(data)
    replicas = (str(tmp_path / "cache.root"), str(origin))
    location = FileLocation("a", replicas, "Events", identity_of(origin))
    with FilePool().tree(location) as opened:
        assert opened.url == str(origin)
        assert opened.tree.num_entries == 10


def test_a_file_without_replicas_is_a_transport_error():
    with pytest.raises(Unreachable, match="No replica of a is known"):
        FilePool().serve(FileLocation("a", (), "Events"), Work())


def test_files_beyond_the_limit_are_closed_but_none_that_is_being_read(tmp_path):
    paths = [write(tmp_path / f"{n}.root") for n in range(3)]
    first, second, third = (FileLocation(p.name, (str(p),), "Events") for p in paths)
    pool = FilePool(open_files=1)
    with pool.tree(first) as outer:
        with pool.tree(second) as inner:
            assert inner.tree.num_entries == 10
        assert inner.directory.file.closed
        assert outer.tree.num_entries == 10
    with pool.tree(third):
        pass
    assert outer.directory.file.closed


def test_threads_share_a_pool_and_read_different_files_at_once(tmp_path):
    paths = [write(tmp_path / f"{n}.root", start=100 * n) for n in range(6)]
    pool, together = FilePool(open_files=2), threading.Barrier(6, timeout=60)

    def read(opened):
        together.wait()
        return opened.tree["number"].array(library="np").tolist()

    with ThreadPoolExecutor(6) as threads:
        locations = [FileLocation(p.name, (str(p),), "Events") for p in paths]
        found = threads.map(lambda location: pool.serve(location, read), locations)
        assert list(found) == [list(range(100 * n, 100 * n + 10)) for n in range(6)]
    assert len(pool._trees) <= 2
