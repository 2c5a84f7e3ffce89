"""What to do after a failed read: ask again after a pause, ask another replica, or give up.

Pure decisions on a FailureClass, and a memory of what to ask last. Knows no files and reads no
clock: the caller tells the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from columnservice.reader.faults import FailureClass

PAUSES_SECONDS = (0.2, 0.8)
"""Before the first and the second repetition."""

REPEAT_WITHIN_SECONDS = 5.0
"""A read that has taken longer is not repeated at the same replica: whoever hung may hang again,
and each time costs the client's whole time limit."""

ASIDE_SECONDS = 60.0
"""How long a server that is down, or a damaged replica, is asked last."""


def pause_before_repeat(found: FailureClass, repeated: int, elapsed_seconds: float) -> float | None:
    """Seconds to wait before asking the same replica again; None: do not.

    Args:
        found: what happened.
        repeated: how often this replica was asked again already.
        elapsed_seconds: since the first replica was asked.
    """
    if repeated >= min(found.repeats, len(PAUSES_SECONDS)):
        return None
    pause = PAUSES_SECONDS[repeated]
    return pause if elapsed_seconds + pause < REPEAT_WITHIN_SECONDS else None


def still_to_ask(found: FailureClass, waiting: Sequence[str], origin: str) -> list[str]:
    """The replicas to ask after one has failed, in order.

    Args:
        found: what happened.
        waiting: those that were not asked yet.
        origin: the one that is no cache.
    """
    if found.then == "nobody":
        return []
    if found.then == "origin":
        return [url for url in waiting if url == origin]
    return list(waiting)


def _server_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class LeftAside:
    """Remembers for a while which servers and replicas gave trouble; not thread-safe.

    Without it every file would wait for a frozen cache before it goes to the origin. What is left
    aside is still asked, after the others, and is asked first again when the time is over.
    """

    def __init__(self, seconds: float = ASIDE_SECONDS) -> None:
        self._seconds = seconds
        self._until: dict[str, float] = {}

    def add(self, found: FailureClass, url: str, now_seconds: float) -> None:
        """Leave aside what a failure at ``url`` speaks against."""
        if found.aside == "nothing":
            return
        self._until = {key: until for key, until in self._until.items() if until > now_seconds}
        key = _server_of(url) if found.aside == "server" else url
        self._until[key] = now_seconds + self._seconds

    def ordered(self, replicas: Sequence[str], now_seconds: float) -> list[str]:
        """The replicas in order of preference, those left aside behind the others."""
        return sorted(replicas, key=lambda url: self._holds(url, now_seconds))

    def _holds(self, url: str, now_seconds: float) -> bool:
        keys = (url, _server_of(url))
        return any(self._until.get(key, now_seconds) > now_seconds for key in keys)
