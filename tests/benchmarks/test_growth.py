from __future__ import annotations

import threading

import psutil
import pytest

from benchmarks import growth
from benchmarks.growth import Peak

pytestmark = pytest.mark.fast


class Looks:
    """Stands for psutil's view of this process; tells when it was looked at so often."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.done = threading.Event()

    def children(self, *, recursive):
        assert recursive
        outcome = self.outcomes.pop(0) if self.outcomes else []
        if not self.outcomes:
            self.done.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def looking(monkeypatch, *outcomes):
    looks = Looks(*outcomes)
    monkeypatch.setattr(growth.psutil, "Process", lambda: looks)
    monkeypatch.setattr(growth, "LOOK_SECONDS", 0.001)
    return looks


def test_a_process_that_has_just_ended_does_not_end_the_looking(monkeypatch):
    monkeypatch.setattr(growth, "_own_bytes", lambda pid: pid)
    one, two = (type("P", (), {"pid": n})() for n in (3, 4))
    looks = looking(monkeypatch, [one], psutil.NoSuchProcess(1), [one, two], [])
    with Peak() as peak:
        assert looks.done.wait(60)
    assert peak.most_bytes == 7


def test_what_ends_the_looking_is_raised_when_the_block_ends(monkeypatch):
    looks = looking(monkeypatch, [], RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"), Peak():
        assert looks.done.wait(60)
