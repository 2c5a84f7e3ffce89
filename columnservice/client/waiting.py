"""Says on stderr what is being waited for, once a wait has become long.

One thread watches all waits of the process, so that a short one costs next to nothing. Knows times
and texts only.
"""

from __future__ import annotations

import os
import sys
import threading
import time

LINGER_SECONDS = 10.0
"""How long the watching thread stays when nothing is waited for."""


class Wait:
    """Something that is waited for while a block runs.

    Args:
        waits: of the process.
        what: that is waited for.
        after_seconds: when the wait is a long one.
    """

    __slots__ = ("_waits", "after_seconds", "what")

    def __init__(self, waits: Waits, what: str, after_seconds: float) -> None:
        self._waits, self.what, self.after_seconds = waits, what, after_seconds

    def __enter__(self) -> None:
        self._waits.begin(self)

    def __exit__(self, *_: object) -> None:
        self._waits.end(self)


class Waits:
    """What is being waited for now; thread-safe."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """For a forked child, which lacks the thread: nothing is waited for."""
        self._changed = threading.Condition()
        self._due: dict[Wait, tuple[float, str]] = {}
        self._wakes_seconds = 0.0
        self._watched = False

    def during(self, what: str, after_seconds: float) -> Wait:
        """Say what is waited for, if the block takes longer than ``after_seconds``."""
        return Wait(self, what, after_seconds)

    def begin(self, wait: Wait) -> None:
        """From now on something is waited for."""
        with self._changed:
            due = time.monotonic() + wait.after_seconds
            self._due[wait] = due, wait.what
            if not self._watched:
                self._watched = True
                self._wakes_seconds = due
                watch = threading.Thread(target=self._watch, name="columnservice-waits")
                watch.daemon = True
                watch.start()
            elif due < self._wakes_seconds:
                self._changed.notify()

    def end(self, wait: Wait) -> None:
        """It is waited for no longer."""
        with self._changed:
            self._due.pop(wait, None)

    def _watch(self) -> None:
        idle_since = time.monotonic()
        while True:
            with self._changed:
                now = time.monotonic()
                late = [wait for wait, (due, _) in self._due.items() if due <= now]
                told = [self._due.pop(wait)[1] for wait in late]
                if self._due or told:
                    idle_since = now
                elif now > idle_since + LINGER_SECONDS:
                    self._watched = False
                    return
            for what in told:
                print(f"columnservice: waiting for {what} …", file=sys.stderr, flush=True)
            with self._changed:
                soonest = min((due for due, _ in self._due.values()), default=now + 1.0)
                self._wakes_seconds = soonest
                self._changed.wait(max(soonest - time.monotonic(), 0.001))


WAITS = Waits()
os.register_at_fork(after_in_child=WAITS.renew)
