"""Which servers did not answer lately: work on them must not take all worker processes.

A task on a server that hangs keeps its process busy for a whole time limit. One such task at a time
finds out whether the server is back; the other processes do what can be done. Knows no processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from urllib.parse import urlsplit

from columnservice.delivery.tasks import (
    CheckTask,
    DeriveTask,
    JoinTask,
    KeysTask,
    MaterialiseTask,
    Task,
)
from columnservice.model import FileLocation
from columnservice.reader.replicas import is_remote

# Longer than a task that finds out whether a server is back: two of them would hold two processes.
TROUBLED_SECONDS = 60.0
# Who fails sooner keeps no process busy: a server that refuses, a file that is not there.
SLOW_SECONDS = 2.0


def servers_of(urls: Iterable[str]) -> frozenset[str]:
    """The servers that URLs name; a path names none."""
    parts = [urlsplit(url) for url in urls if is_remote(url)]
    return frozenset(f"{part.scheme}://{part.netloc}" for part in parts)


def _locations(task: Task) -> tuple[FileLocation, ...]:
    """The Files that a task may read."""
    match task:
        case KeysTask():
            return (task.location,)
        case JoinTask():
            return (task.local, *task.parents)
        case CheckTask():
            return _locations(task.join)
        case MaterialiseTask():
            return task.parents
        case DeriveTask():
            return task.source.parents if task.local is None else (task.local, *task.source.parents)


def origins_of(task: Task) -> frozenset[str]:
    """The servers without which a task cannot be done: those of its Files' last replicas."""
    return servers_of(f.replicas[-1] for f in _locations(task) if f.replicas)


class Troubled:
    """Servers that gave no answer, each for a while or until it answers; not locked.

    Args:
        seconds: for how long.
        clock: monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: dict[str, float] = {}

    def add(self, servers: Iterable[str]) -> None:
        """These gave no answer."""
        self._until |= dict.fromkeys(servers, self._clock() + self._seconds)

    def remove(self, servers: Iterable[str]) -> None:
        """These answered."""
        for server in servers:
            self._until.pop(server, None)

    def holds(self, servers: Iterable[str]) -> bool:
        """Whether one of these gave no answer lately."""
        now = self._clock()
        return any(self._until.get(server, now) > now for server in servers)
