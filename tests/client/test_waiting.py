from __future__ import annotations

import threading
import time

import pytest

from columnservice.client.waiting import Waits

pytestmark = pytest.mark.fast


def _told(capsys, texts):
    """What is said on stderr, once all of it is."""
    said = ""
    until = time.monotonic() + 20
    while time.monotonic() < until and not all(text in said for text in texts):
        time.sleep(0.01)
        said += capsys.readouterr().err
    return said


def test_a_long_wait_is_told_once_and_a_short_one_never(capsys):
    waits = Waits()
    with waits.during("something short", 60):
        pass
    with waits.during("something long", 0.01):
        said = _told(capsys, ["something long"])
    assert said.count("something long") == 1
    assert "short" not in said


def test_a_wait_that_is_due_sooner_than_others_is_told_in_time(capsys):
    waits = Waits()
    with waits.during("what takes an hour", 3600), waits.during("what comes first", 0.01):
        said = _told(capsys, ["what comes first"])
    assert "hour" not in said


def test_one_thread_watches_all_waits(capsys):
    waits = Waits()
    before = threading.active_count()
    for _ in range(100):
        with waits.during("a request", 60):
            pass
    assert threading.active_count() <= before + 1
