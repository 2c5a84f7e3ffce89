"""What the tests of the workers have done in worker processes: wait, die, freeze, fail."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from columnservice.errors import DamagedFile
from columnservice.reader.progress import tick

ENDLESS_SECONDS = 3600.0


def pid(name: str) -> int:
    return os.getpid()


class Poison(str):
    """A name that kills the process which receives it."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _swallow, (str(self), os.getpid())


def _swallow(name: str, sender: int) -> str:
    if os.getpid() != sender:
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def fail(name: str) -> None:
    raise DamagedFile(f"{name} is damaged.")


def break_down(name: str) -> None:
    raise MemoryError(name)


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


def leave_first(name: str, path: Path) -> str:
    """End the process as SIGTERM does in the middle of a task, unless somebody did before."""
    if path.exists():
        return name
    path.touch()
    raise SystemExit(0)


def die(name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def loaded(name: str) -> list[bool]:
    """Whether what a task needs was there before the first task."""
    import sys

    from columnservice.delivery import workshop

    modules = ["columnservice.delivery.materialise", "numba", "uproot", "XRootD.client"]
    return [
        *(module in sys.modules for module in modules),
        workshop.tools.cache_info().currsize > 0,
    ]


def late_imports(name: str, local: str, parent: str) -> list[str]:
    """Do every kind of task and tell which modules were imported meanwhile."""
    import sys

    from columnservice.catalogue.indexing import index_file
    from columnservice.delivery import materialise, outline, workshop
    from columnservice.delivery.check import check
    from columnservice.delivery.tasks import CheckTask, ColumnWork, MaterialiseTask
    from columnservice.model import Dataset, Partition
    from columnservice.reader import location_of

    tools, before = workshop.tools(), set(sys.modules)
    above, layout = index_file(parent, "miniaod", {})
    mine, own = index_file(local, "nanoaod", {})
    parents = outline.Parents((above,), (location_of(above, {}),), "0" * 32)
    join, keys = outline.join_task(
        Dataset("n", "nanoaod", "m"), Dataset("m", "miniaod"), parents, location_of(mine, {})
    )
    for key in keys:
        materialise.make_keys(tools, key)
    check(tools, CheckTask(join, own.columns, (layout.columns,), 100))
    offered = [o for o in layout.columns if o.recipe and o.column.shape == "PFCands"]
    works = tuple(
        ColumnWork(o.column, (o.recipe,), f"{n:032x}") for n, o in enumerate(offered) if o.recipe
    )
    task = MaterialiseTask(
        local=mine.identity,
        lfn=mine.lfn,
        partition=Partition(0, mine.entries),
        parents=parents.locations,
        parent_format="miniaod",
        take="0" * 32,
        columns=works,
        offsets=(("PFCands", "f" * 32),),
        proof="e" * 32,
    )
    assert not materialise.materialise(tools, task).unkept
    return sorted(set(sys.modules) - before)
