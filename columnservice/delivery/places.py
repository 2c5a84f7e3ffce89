"""How many Partitions may wait to be made, counted; nobody ever waits for a place here.

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

    def take(self, even_if_full: bool = False) -> bool:
        """Take a place, if there is one."""
        with self._lock:
            if self._taken >= self._limit and not even_if_full:
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        """Give a place back."""
        with self._lock:
            self._taken -= 1


class Share:
    """The places of one reply; one is kept from its first use to the end.

    Args:
        places: where they are taken from.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._held = 0
        self._used = 0
        self._closed = False
        self._lock = threading.Lock()

    def take(self, even_if_full: bool = False) -> bool:
        """Use a place, if there is one; a reply that has begun may have one even if all are taken.

        There are never more of these than replies.
        """
        with self._lock:
            if self._used == self._held:
                if not self._places.take(even_if_full):
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
