"""How many Partitions may wait to be made, counted; nobody ever waits for a place.

Knows nothing of what is made.
"""

from __future__ import annotations

import threading


class Places:
    """A bounded number of places.

    Args:
        limit: how many there are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._taken

    def take(self) -> bool:
        """Take a place, if there is one."""
        with self._lock:
            if self._taken >= self._limit:
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        """Give a place back."""
        with self._lock:
            self._taken -= 1


class Share:
    """The places of one reply.

    One is kept from its first use to the end, so that a reply that has begun can go on, however
    many others come.

    Args:
        places: where they are taken from.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._held = 0
        self._used = 0
        self._closed = False
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Use a place, if there is one."""
        with self._lock:
            if self._used == self._held:
                if not self._places.take():
                    return False
                self._held += 1
            self._used += 1
            return True

    def give_back(self) -> None:
        """A place is not used any more."""
        with self._lock:
            self._used -= 1
            self._return_spare()

    def close(self) -> None:
        """The reply has ended; places that are still used are given back afterwards."""
        with self._lock:
            self._closed = True
            self._return_spare()

    def _return_spare(self) -> None:
        keep = self._used if self._closed else max(1, self._used)
        while self._held > keep:
            self._held -= 1
            self._places.give_back()
