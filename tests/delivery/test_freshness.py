from __future__ import annotations

import itertools
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


def test_an_answer_counts_however_late_the_question_wakes_up():
    """Old bytes went out where a busy machine let more time pass than answers are believed."""
    origin = Origin(a=FileStat(10, 5), b=FileStat(11, 6))
    ticks = itertools.count(step=150.0)
    fresh = Freshness(100.0, 10.0, origin.stat, lambda: next(ticks))
    assert fresh.check([A])
    with pytest.raises(FileChanged):
        fresh.check([replace(A, url="/b.root")])


def test_an_origin_that_does_not_answer_leaves_the_file_unverified_and_is_asked_again_soon():
    origin = Origin()
    fresh = origin.freshness()
    assert not fresh.check([A])
    assert not fresh.check([A])
    assert len(origin.asked) == 1
    origin.now = 11.0
    origin.files["/a.root"] = FileStat(10, 5)
    assert fresh.check([A])


def test_a_replaced_file_is_not_served_because_its_origin_has_fallen_silent():
    origin = Origin(a=FileStat(11, 6))
    fresh = origin.freshness()
    with pytest.raises(FileChanged, match="11 bytes"):
        fresh.check([A])
    origin.files.clear()
    for _ in range(3):
        origin.now += 200.0
        with pytest.raises(FileChanged, match="11 bytes"):
            fresh.check([A])
    assert not fresh.is_known([A])
    assert not fresh.check([replace(A, identity=FileIdentity("b", 11), mtime_seconds=6)])
    origin.files["/a.root"] = FileStat(10, 5)  # the old file is put back
    origin.now += 200.0
    assert fresh.check([A])
    assert fresh.is_known([A])


def test_what_is_known_to_differ_is_not_known_to_be_fresh():
    origin = Origin(a=FileStat(10, 5))
    fresh = origin.freshness()
    assert fresh.check([A])
    assert not fresh.is_known([replace(A, identity=FileIdentity("b", 11))])


def test_a_file_that_was_accused_is_fresh_only_after_a_check_that_clears_it():
    origin = Origin(a=FileStat(11, 6))
    fresh = origin.freshness()
    with pytest.raises(FileChanged):
        fresh.check([A])
    origin.files["/a.root"] = FileStat(10, 5)
    origin.now = 200.0
    fresh._ask_one("/a.root")  # the answer to a question that nobody waited for
    assert not fresh.is_known([A])
    assert fresh.check([A])
    assert fresh.is_known([A])


def test_a_server_that_hangs_is_not_asked_for_each_of_its_files():
    now, asked = [0.0], []

    def stat(url):
        asked.append(url)
        if "silent" in url:
            now[0] += 20.0
            raise OSError("timed out")
        return FileStat(10, 5)

    files = [replace(A, url=f"root://silent:1//{n}.root") for n in range(30)]
    fresh = Freshness(100.0, 30.0, stat, lambda: now[0])
    assert not fresh.check(files)
    assert len(asked) < len(files) / 2
    assert fresh.check([replace(A, url="root://well:1//a.root")])


def test_a_file_that_is_not_there_says_nothing_against_its_server():
    def stat(url):
        if "gone" in url:
            raise OSError("no such file")
        return FileStat(10, 5)

    fresh = Freshness(100.0, 30.0, stat, lambda: 0.0)
    assert not fresh.check([replace(A, url="root://a:1//gone.root")])
    assert fresh.check([replace(A, url="root://a:1//here.root")])


def test_questions_to_a_server_that_hangs_hold_up_no_others():
    thaw = threading.Event()

    def stat(url):
        if "silent" in url:
            thaw.wait(60)
        return FileStat(10, 5)

    fresh = Freshness(100.0, 0.01, stat)
    assert not fresh.check([replace(A, url=f"root://silent:1//{n}.root") for n in range(30)])
    patient = replace(A, url="root://well:1//a.root")
    for _ in range(1000):
        if fresh.check([patient]):
            break
    else:
        raise AssertionError("the others wait")
    thaw.set()
    fresh.stop()


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
