"""What a check-up found, and running many checks without ever hanging.

Knows neither the checks nor how findings are shown.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from columnservice.errors import ColumnServiceError

AT_ONCE = 8
"""How many checks run at the same time."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at.
        state: fine, wrong, or not checked, for the reason given as ``found``.
        found: what there is.
        remedy: what to do, where something is wrong.
    """

    check: str
    state: Literal["fine", "wrong", "unchecked"]
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A named thing to look at; ``look`` may raise errors of ours and may hang."""

    name: str
    look: Callable[[], Finding]


def fine(check: str, found: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, "fine", found)


def wrong(check: str, found: str, remedy: str) -> Finding:
    """Something is to be done."""
    return Finding(check, "wrong", found, remedy)


def unchecked(check: str, reason: str) -> Finding:
    """Nothing is known, and that is no fault of the installation."""
    return Finding(check, "unchecked", reason)


def look(check: Check) -> Finding:
    """Run a check; whatever it raises is a finding."""
    try:
        return check.look()
    except ColumnServiceError as error:
        return wrong(check.name, error.message, error.remedy)
    except Exception as error:
        said = f"the check itself failed: {type(error).__name__}: {error}"
        return wrong(check.name, " ".join(said.split())[:300], "Report this.")


def look_at_all(checks: Sequence[Check], limit_seconds: float) -> list[Finding]:
    """Run checks side by side; one that has not ended within the limit is found wrong.

    A check that hangs (a dead network file system, a frozen server) is left behind in a daemon
    thread: nothing can end it, and nobody waits for it.
    """
    until = time.monotonic() + limit_seconds
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[int, Finding]] = queue.SimpleQueue()
    for number in range(len(checks)):
        waiting.put(number)

    def work() -> None:
        while time.monotonic() < until:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            ended.put((number, look(checks[number])))

    for _ in range(min(AT_ONCE, len(checks))):
        threading.Thread(target=work, daemon=True).start()
    found: dict[int, Finding] = {}
    while len(found) < len(checks):
        try:
            number, finding = ended.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        found[number] = finding
    return [found.get(n) or _late(check, limit_seconds) for n, check in enumerate(checks)]


def _late(check: Check, limit_seconds: float) -> Finding:
    return wrong(
        check.name,
        f"no result within {limit_seconds:g} s",
        "Find out what hangs: a server, or the file system that holds the file.",
    )
