"""Telling a watcher that a read gets on: one call per thing that arrived or was decoded.

A worker process sets one watcher and measures the time since its last call, so that a long healthy
read lives and a frozen server costs one deadline. Knows no clock and no deadline.
"""

from __future__ import annotations

from collections.abc import Callable


def _nobody() -> None:
    """The watcher where there is none."""


_watcher: Callable[[], None] = _nobody


def watch(callback: Callable[[], None] | None) -> None:
    """Let ``callback`` be called at each step of every read in this process; None ends that.

    Args:
        callback: takes nothing; called in the thread that reads, thousands of times per second at
            the most, so it must be cheap and must not raise.
    """
    global _watcher  # noqa: PLW0603 (one per process, as the reads that it watches)
    _watcher = _nobody if callback is None else callback


def tick() -> None:
    """Say that something arrived: a file opened, a block came in, a branch was decoded."""
    _watcher()
