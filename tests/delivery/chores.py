"""What the tests of the workers have done in worker processes: wait, die, freeze, fail."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from columnservice.errors import DamagedFile
from columnservice.reader.progress import tick

ENDLESS_SECONDS = 3600.0


def pid(name: str) -> int:
    return os.getpid()


def fail(name: str) -> None:
    raise DamagedFile(f"{name} is damaged.")


def wait_for(name: str, path: Path) -> str:
    """Wait, getting on all the time, until a file is there."""
    while not path.exists():
        tick()
        time.sleep(0.02)
    return name


def note_and_hang(name: str, path: Path) -> None:
    """Say who one is, then wait for ever without getting on."""
    path.write_text(str(os.getpid()))
    time.sleep(ENDLESS_SECONDS)


def note_and_wait(name: str, notes: Path, go: Path) -> int:
    """Say who one is, then wait until a file is there."""
    (notes / str(os.getpid())).touch()
    wait_for(name, go)
    return os.getpid()


def get_on_slowly(name: str, seconds: float, steps: int) -> str:
    """Take long and get on all the time."""
    for _ in range(steps):
        time.sleep(seconds)
        tick()
    return name


def die_first(name: str, path: Path, how: int) -> str:
    """Die, unless somebody died here before."""
    if path.exists():
        return name
    path.touch()
    os.kill(os.getpid(), how)
    time.sleep(ENDLESS_SECONDS)
    return name


def die(name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def loaded(name: str) -> list[bool]:
    """Whether what a task needs was there before the first task."""
    import sys

    from columnservice.delivery import workshop

    modules = ["columnservice.delivery.materialise", "columnservice.formats", "numba", "uproot"]
    return [*(module in sys.modules for module in modules), workshop.tools.cache_info().currsize > 0]
