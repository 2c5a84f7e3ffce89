"""The directory of replies: bounded, private, whole or absent."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from columnservice.client import replycache
from columnservice.client.replycache import FOLDER, ReplyCache
from columnservice.errors import SetupError

pytestmark = pytest.mark.fast


@pytest.fixture
def cache(tmp_path) -> ReplyCache:
    replycache._written.clear()
    return ReplyCache.below(tmp_path, 10_000)


def size(cache: ReplyCache) -> int:
    return sum(p.stat().st_size for p in files(cache))


def files(cache: ReplyCache):
    from pathlib import Path

    return sorted(Path(cache.directory).glob("*/*"))


def test_what_is_put_is_got_with_its_etag(cache):
    key = cache.key("u", 1, ("a",))
    assert cache.get(key) is None
    assert cache.put(key, '"v1"', b"body")
    assert cache.get(key) == ('"v1"', b"body")
    assert cache.get(cache.key("u", 1, ("b",))) is None


def test_a_newer_state_replaces_the_older_one(cache):
    key = cache.key("u")
    cache.put(key, '"v1"', b"old")
    cache.put(key, '"v2"', b"new")
    assert cache.get(key) == ('"v2"', b"new")
    assert len(files(cache)) == 1
    cache.drop(key)
    assert cache.get(key) is None
    assert files(cache) == []


@pytest.mark.parametrize("etag", ["", "v1", '"../up"', '"a b"', '"' + "x" * 65 + '"'])
def test_an_etag_that_cannot_be_a_name_keeps_nothing(cache, etag):
    assert not cache.put(cache.key("u"), etag, b"body")
    assert files(cache) == []


@pytest.mark.parametrize("damage", [b"", b"bodY", b"body and more"])
def test_damage_is_a_miss_and_removed(cache, damage):
    key = cache.key("u")
    cache.put(key, '"v1"', b"body")
    [path] = files(cache)
    path.write_bytes(damage)
    assert cache.get(key) is None
    assert files(cache) == []


def test_the_bound_holds_and_what_was_used_last_stays(cache):
    keys = [cache.key(n) for n in range(40)]
    for n, key in enumerate(keys):
        cache.put(key, '"v"', bytes(1000))
        [path] = [p for p in files(cache) if p.name.startswith(key)]
        os.utime(path, (n, n))
        if cache.get(keys[0]):
            [path] = [p for p in files(cache) if p.name.startswith(keys[0])]
            os.utime(path, (1000 + n, 1000 + n))
        assert size(cache) <= 10_000 + 1000
    assert cache.shrink() <= 10_000
    assert cache.get(keys[0]) is not None
    assert cache.get(keys[1]) is None
    assert cache.get(keys[39]) is not None


def test_what_would_fill_the_bound_alone_is_not_kept(cache):
    assert not cache.put(cache.key("u"), '"v"', bytes(9_500))


def test_the_directory_is_its_owner_s_alone(cache, tmp_path):
    assert stat.S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o700
    cache.put(cache.key("u"), '"v"', b"body")
    [path] = files(cache)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_link_to_elsewhere_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / FOLDER).symlink_to(tmp_path / "other")
    with pytest.raises(SetupError, match="not yours"):
        ReplyCache.below(tmp_path, 10)


def test_a_directory_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot be used"):
        ReplyCache.below(tmp_path / "file", 10)
    with pytest.raises(SetupError, match="positive"):
        ReplyCache.below(tmp_path, 0)


def test_a_disk_that_refuses_is_no_error(cache, tmp_path):
    from pathlib import Path

    Path(cache.directory).rmdir()
    Path(cache.directory).write_text("")
    assert not cache.put(cache.key("u"), '"v"', b"body")
    assert cache.get(cache.key("u")) is None


def test_abandoned_parts_are_removed_and_young_ones_spared(cache):
    from pathlib import Path

    folder = Path(cache.directory, "ab")
    folder.mkdir()
    old, young = folder / ".part-old", folder / ".part-young"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (1, 1))
    cache.shrink()
    assert not old.exists()
    assert young.exists()


def test_threads_that_write_and_read_the_same_keys_see_whole_replies(cache):
    bodies = [bytes([n]) * 500 for n in range(8)]
    wrong = []

    def work(n: int) -> None:
        for turn in range(40):
            key = cache.key(turn % 5)
            cache.put(key, f'"v{n}"', bodies[n])
            found = cache.get(key)
            if found is not None and found[1] not in bodies:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
