"""What a process remembers of a database: answers until anybody commits, and what follows of them.

Knows when an answer may be given again; not what is asked.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa

from columnservice.catalogue.database import Database

T = TypeVar("T")
MOST_DERIVED = 256
MOST_LOOKED_UP = 4096
"""A few words each."""


class Remembered:
    """Answers of a database and what was derived of them; safe to share between threads.

    Args:
        database: of which.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._derived: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._looked_up: dict[tuple[str, ...], tuple[int, Any]] = {}
        self._lock = threading.Lock()

    def look_up(self, key: tuple[str, ...], ask: Callable[[sa.Connection], T]) -> T:
        """What the database says, remembered until anybody commits anything."""
        # Asked first: what is committed meanwhile must not be taken for known.
        version = self._database.version()
        known = self._looked_up.get(key)
        if known is not None and known[0] == version:
            there: T = known[1]
            return there
        with self._database.reading() as connection:
            found = ask(connection)
        if version is not None:
            if len(self._looked_up) > MOST_LOOKED_UP:
                self._looked_up.clear()
            self._looked_up[key] = version, found
        return found

    def derive(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """What was made under a key, which holds all that it follows from.

        Args:
            key: another one as soon as another thing would be made.
            make: runs without a lock, perhaps twice at once.
        """
        with self._lock:
            if key in self._derived:
                self._derived.move_to_end(key)
                known: T = self._derived[key]
                return known
        made = make()
        with self._lock:
            self._derived[key] = made
            while len(self._derived) > MOST_DERIVED:
                self._derived.popitem(last=False)
        return made
