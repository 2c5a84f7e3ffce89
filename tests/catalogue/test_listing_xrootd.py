"""Listing on a real XRootD server: directories, patterns, refusals, a server that is gone."""

from __future__ import annotations

import pytest

from columnservice.catalogue.indexing import index_file
from columnservice.catalogue.listing import expand
from columnservice.demo.xrootd import XrootdServer
from columnservice.errors import NotAllowed, RequestError, Unreachable
from columnservice.settings import Settings

pytestmark = pytest.mark.xrootd

FILES = ("listing/a.root", "listing/b.root", "listing/deep/er/c.root", "listing/notes.txt")


@pytest.fixture
def filled(origin, data_dir):
    """The session's origin with some files in it."""
    for name in FILES:
        origin.put(data_dir / "cms_demo_mini" / "local_nano_like_8ev.root", name)
    return origin


@pytest.fixture
def settings(filled, tmp_path):
    return Settings(allowed_roots=(tmp_path,), allowed_hosts=(filled.address,))


def expanded(filled, settings, path):
    return [url.removeprefix(filled.url("listing/")) for url in expand(filled.url(path), settings)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("listing", ["a.root", "b.root", "deep/er/c.root"]),
        ("listing/", ["a.root", "b.root", "deep/er/c.root"]),
        ("listing/*.root", ["a.root", "b.root"]),
        ("listing/[b-z].root", ["b.root"]),
        ("listing/**/*.root", ["a.root", "b.root", "deep/er/c.root"]),
        ("l*/deep/*/c.root", ["deep/er/c.root"]),
        ("listing/notes.txt", ["notes.txt"]),
        ("listing/absent", ["absent"]),
    ],
)
def test_directories_and_patterns_become_sorted_urls(filled, settings, path, expected):
    assert expanded(filled, settings, path) == expected


@pytest.mark.parametrize("path", ["listing/x*.root", "absent/*.root", "listing/deep/*.root"])
def test_a_pattern_that_matches_nothing_is_told_by_name(filled, settings, path):
    with pytest.raises(RequestError, match="No file matches") as caught:
        expand(filled.url(path), settings)
    assert "listing" in caught.value.message or "absent" in caught.value.message


def test_what_the_server_does_not_show_is_refused(filled, settings):
    with pytest.raises(NotAllowed, match="refuses to list"):
        expand(f"root://{filled.address}//elsewhere/*.root", settings)


def test_a_server_that_is_gone_is_told_at_once(tmp_path, xrootd_installed):
    with XrootdServer() as server:
        gone = server.address
    settings = Settings(allowed_roots=(tmp_path,), allowed_hosts=(gone,))
    with pytest.raises(Unreachable, match="Cannot list"):
        expand(f"root://{gone}//store/*.root", settings)


def test_a_remote_file_is_indexed_from_its_origin(filled, settings, xrootd_storage, data_dir):
    (url,) = expand(filled.url("listing/a.root"), settings)
    record, columnset = index_file(url, "nanoaod", xrootd_storage.xcaches)
    path = data_dir / "cms_demo_mini" / "local_nano_like_8ev.root"
    there, same = index_file(str(path), "nanoaod", {})
    assert (record.lfn, record.url) == ("/store/listing/a.root", url)
    assert (record.identity, record.lumis) == (there.identity, there.lumis)
    assert columnset == same


def test_a_file_is_registered_through_the_cache_when_the_origin_is_gone(data_dir, tmp_path):
    path = data_dir / "cms_demo_mini" / "local_nano_like_8ev.root"
    with XrootdServer() as cache:
        cache.put(path, "a.root")
        with XrootdServer() as origin:
            gone = origin.address
        xcaches = {f"root://{gone}": f"root://{cache.address}"}
        record, _ = index_file(f"root://{gone}//store/a.root", "nanoaod", xcaches)
    assert record.entries == 8
    assert record.url == f"root://{gone}//store/a.root"
