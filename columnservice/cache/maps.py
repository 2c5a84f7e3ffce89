"""What one process holds in memory: its open maps, and what it has not yet written down.

A warm hit is answered from the table of maps and touches no database. Uses and counts are gathered
in a ledger and written down in batches. Both are safe with many threads. Neither knows files,
databases or keys' meaning.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa

Clock = Callable[[], float]


@dataclass
class OpenMap:
    """A mapped Piece: its batch, the file it came from, and when that was last known to be so."""

    batch: pa.RecordBatch
    filename: str
    checked_seconds: float


class MapTable:
    """The maps a process holds open, the least recently used given up first.

    A map that was opened while something was forgotten is not kept: it may be what was meant.

    Args:
        most: how many maps to hold.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._maps: OrderedDict[str, OpenMap] = OrderedDict()
        self._lock = threading.Lock()
        self._generation = 0

    def __len__(self) -> int:
        return len(self._maps)

    @property
    def generation(self) -> int:
        """Counted up whenever something is forgotten; ask before a map is opened."""
        return self._generation

    def find(self, key: str) -> OpenMap | None:
        """The map of a key, which becomes the most recently used one."""
        with self._lock:
            found = self._maps.get(key)
            if found is not None:
                self._maps.move_to_end(key)
            return found

    def keep(self, key: str, opened: OpenMap, generation: int) -> None:
        """Hold a map, unless something was forgotten since `generation`."""
        with self._lock:
            if generation != self._generation:
                return
            self._maps[key] = opened
            self._maps.move_to_end(key)
            while len(self._maps) > self._most:
                self._maps.popitem(last=False)

    def forget(self, keys: Iterable[str]) -> None:
        """Give up the maps of these keys."""
        with self._lock:
            self._generation += 1
            for key in keys:
                self._maps.pop(key, None)

    def forget_all(self) -> None:
        """Give up every map."""
        with self._lock:
            self._generation += 1
            self._maps.clear()

    def places(self) -> list[tuple[str, str]]:
        """Key and filename of every map."""
        with self._lock:
            return [(key, opened.filename) for key, opened in self._maps.items()]


class Ledger:
    """Uses and counts of one process since they were last written down.

    Args:
        every_seconds, every_touches: after either of them it is `due`.
        clock: monotonic seconds.
    """

    def __init__(self, every_seconds: float, every_touches: int, clock: Clock) -> None:
        self._every_seconds = every_seconds
        self._every_touches = every_touches
        self._clock = clock
        self._lock = threading.Lock()
        self._touches: dict[str, float] = {}
        self._tallies: Counter[str] = Counter()
        self._since = 0
        self._asked_seconds = clock()

    def touch(self, key: str) -> None:
        """An entry was used just now: it counts as a hit and as a use."""
        with self._lock:
            self._touches[key] = time.time()
            self._tallies["hits"] += 1
            self._since += 1

    def count(self, name: str) -> None:
        """One more of something."""
        with self._lock:
            self._tallies[name] += 1

    def due(self) -> bool:
        """Whether it is time to write down; says so once, then waits as long again."""
        with self._lock:
            now = self._clock()
            if (
                self._since < self._every_touches
                and now < self._asked_seconds + self._every_seconds
            ):
                return False
            self._since = 0
            self._asked_seconds = now
            return True

    def take(self) -> tuple[dict[str, float], Counter[str]]:
        """All that is not written down yet; the ledger is empty afterwards."""
        with self._lock:
            taken = self._touches, self._tallies
            self._touches, self._tallies = {}, Counter()
            return taken

    def give_back(self, touches: dict[str, float], tallies: Counter[str]) -> None:
        """Put back what could not be written down."""
        with self._lock:
            self._touches = touches | self._touches
            self._tallies.update(tallies)

    def tallies(self) -> Counter[str]:
        """What is counted and not written down yet."""
        with self._lock:
            return self._tallies.copy()
