"""Single flight: what several threads of one process ask for at once is made once.

Knows keys that can be hashed and work that can be called; nothing of Pieces, caches or requests.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from time import monotonic
from typing import Generic, NoReturn, TypeVar

from columnservice.errors import ColumnServiceError, Unavailable

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

Work = Callable[[tuple[Key, ...]], Mapping[Key, Value]]
Lookup = Callable[[Key], Value | None]


class Inflight(Generic[Key, Value]):
    """The keys that are being made right now, and the threads that wait for them.

    A caller of `run` makes those of its keys that nobody is making, in its own thread and in one
    piece of work, and then waits for the others. It holds nothing back while it waits, so callers
    with overlapping keys cannot block each other. Nothing is remembered: a key is forgotten before
    its waiters wake, whether it was made or failed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Key, Future[Value]] = {}

    def __len__(self) -> int:
        """How many keys are being made."""
        return len(self._flights)

    def run(
        self,
        keys: Iterable[Key],
        work: Work[Key, Value],
        lookup: Lookup[Key, Value] | None = None,
        timeout_seconds: float | None = None,
    ) -> dict[Key, Value]:
        """Make keys, or wait for those who are making them.

        Args:
            keys: what is wanted; repeated ones count once.
            work: called at most once, with the keys that this caller has to make, in order of
                asking; returns a value for each. It must not call `run` of the same Inflight.
            lookup: asked for each of them beforehand, when nobody else can be making it: a caller
                who found nothing in a cache may come here just after it was filled. None means that
                the key has to be made.
            timeout_seconds: how long to wait for others. It does not limit this caller's own work,
                and their work goes on when this caller leaves.

        Returns:
            Key → value, in order of asking.

        Raises:
            Unavailable: others are not done after `timeout_seconds`.
            Exception: what ``work`` or ``lookup`` raised, here or in the thread that made the key.
                Those who were waiting then get it; who asks later starts anew.
        """
        wanted = tuple(dict.fromkeys(keys))
        mine: dict[Key, Future[Value]] = {}
        theirs: dict[Key, Future[Value]] = {}
        with self._lock:
            for key in wanted:
                flight = self._flights.get(key)
                if flight is None:
                    flight = mine[key] = self._flights[key] = Future()
                else:
                    theirs[key] = flight
        made = self._make(mine, work, lookup) if mine else {}
        made |= _wait(theirs, timeout_seconds)
        return {key: made[key] for key in wanted}

    def _make(
        self,
        mine: Mapping[Key, Future[Value]],
        work: Work[Key, Value],
        lookup: Lookup[Key, Value] | None,
    ) -> dict[Key, Value]:
        try:
            made = _found(mine, lookup)
            missing = tuple(key for key in mine if key not in made)
            if missing:
                made |= work(missing)
            lacking = [key for key in mine if key not in made]
            if lacking:
                raise ColumnServiceError(f"{len(lacking)} of {len(mine)} keys were not made.")
        except BaseException as error:
            self._forget(mine)
            # An interrupt is meant for this thread alone.
            told = error if isinstance(error, Exception) else Unavailable("The work was stopped.")
            for flight in mine.values():
                flight.set_exception(told)
            raise
        self._forget(mine)
        for key, flight in mine.items():
            flight.set_result(made[key])
        return made

    def _forget(self, keys: Iterable[Key]) -> None:
        with self._lock:
            for key in keys:
                del self._flights[key]


def _found(keys: Iterable[Key], lookup: Lookup[Key, Value] | None) -> dict[Key, Value]:
    """What can be had without making it."""
    if lookup is None:
        return {}
    asked = ((key, lookup(key)) for key in keys)
    return {key: value for key, value in asked if value is not None}


def _wait(flights: Mapping[Key, Future[Value]], timeout_seconds: float | None) -> dict[Key, Value]:
    """The values that others make; their failure, or Unavailable when they take too long."""
    until = None if timeout_seconds is None else monotonic() + timeout_seconds
    made: dict[Key, Value] = {}
    for key, flight in flights.items():
        try:
            error = flight.exception(None if until is None else max(0.0, until - monotonic()))
        except TimeoutError:
            raise Unavailable(f"Others are not done after {timeout_seconds} s.") from None
        if error is not None:
            _raise_again(error)
        made[key] = flight.result()
    return made


def _raise_again(error: BaseException) -> NoReturn:
    """Raise another thread's exception here, as a copy: raised itself, tracebacks would mix."""
    try:
        twin = copy.copy(error)
    except TypeError:  # its class takes other arguments than it keeps
        raise error from error.__cause__
    raise twin from error
