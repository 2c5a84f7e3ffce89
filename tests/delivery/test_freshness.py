from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from columnservice.delivery.freshness import Freshness
from columnservice.errors import FileChanged
from columnservice.model import FileIdentity, FileRecord
from columnservice.reader.stat import FileStat, stat_file

pytestmark = pytest.mark.fast
A = FileRecord("/a.root", "/a.root", FileIdentity("a", 10), 1, "Events", "", mtime_seconds=5)


class Origin:
    """Answers from a dictionary, counts questions; a clock that stands still."""

    def __init__(self, **files):
        self.files = {f"/{name}.root": stat for name, stat in files.items()}
        self.asked = []
        self.now = 0.0

    def stat(self, url):
        self.asked.append(url)
        found = self.files.get(url)
        if found is None:
            raise OSError("gone")
        return found

    def freshness(self, wait_seconds=10.0):
        return Freshness(100.0, wait_seconds, self.stat, lambda: self.now)


def test_an_unchanged_file_is_asked_for_once_in_a_while():
    origin = Origin(a=FileStat(10, 5))
    fresh = origin.freshness()
    assert fresh.check([A])
    assert fresh.check([A, A])
    assert origin.asked == ["/a.root"]
    origin.now = 100.0
    assert fresh.check([A])
    assert len(origin.asked) == 2


@pytest.mark.parametrize("stat", [FileStat(11, 5), FileStat(10, 6)])
def test_another_size_or_time_is_a_changed_file(stat):
    with pytest.raises(FileChanged, match="was replaced"):
        Origin(a=stat).freshness().check([A])


def test_a_changed_file_stays_changed_until_it_is_refreshed():
    origin = Origin(a=FileStat(11, 6))
    fresh = origin.freshness()
    for _ in range(2):
        with pytest.raises(FileChanged):
            fresh.check([A])
    assert fresh.check([replace(A, identity=FileIdentity("b", 11), mtime_seconds=6)])


def test_an_origin_that_does_not_answer_leaves_the_file_unverified_and_is_asked_again_soon():
    origin = Origin()
    fresh = origin.freshness()
    assert not fresh.check([A])
    assert not fresh.check([A])
    assert len(origin.asked) == 1
    origin.now = 11.0
    origin.files["/a.root"] = FileStat(10, 5)
    assert fresh.check([A])


def test_a_frozen_origin_does_not_hold_a_request_back():
    thaw = threading.Event()
    asked = threading.Event()

    def stat(url):
        asked.set()
        thaw.wait(30)
        return FileStat(10, 5)

    fresh = Freshness(100.0, 0.01, stat)
    assert not fresh.check([A])
    assert asked.wait(30)
    thaw.set()
    patient = Freshness(100.0, 30.0, stat)
    assert patient.check([A])


def test_a_file_known_without_a_time_is_compared_by_size():
    assert Origin(a=FileStat(10, 77)).freshness().check([replace(A, mtime_seconds=0)])


def test_an_answer_from_before_a_refresh_accuses_nobody():
    origin = Origin(a=FileStat(10, 5))
    fresh = origin.freshness()
    assert fresh.check([A])
    origin.files["/a.root"] = FileStat(12, 9)
    origin.now = 1.0
    assert fresh.check([replace(A, identity=FileIdentity("b", 12), mtime_seconds=9)])


def test_no_files_are_fresh():
    assert Origin().freshness().check([])


def test_stat_of_a_path_is_what_the_file_system_says(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert stat_file(str(path)) == FileStat(3, int(path.stat().st_mtime))
