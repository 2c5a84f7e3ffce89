"""Reading with uproot, as users do: which source, how many threads, files opened now or before.

What uproot does by default is what counts; the rest is told beside it. Knows uproot; neither the
service nor what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import uproot
from uproot.source.xrootd import XRootDSource

THREADS = 2
SOURCES: Mapping[str, Mapping[str, Any]] = {
    "fsspec": {},
    "XRootDSource": {"handler": XRootDSource},
}


class Threads:
    """Two threads that decompress and interpret; uproot closes a file's own with the file."""

    def __init__(self) -> None:
        self._pool = uproot.ThreadPoolExecutor(THREADS)
        self.submit = self._pool.submit

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def threaded(stack: ExitStack) -> dict[str, Any]:
    """Options of ``uproot.open`` for two threads, which end with the stack."""
    threads = Threads()
    stack.callback(threads.close)
    return {"decompression_executor": threads, "interpretation_executor": threads}


@dataclass(frozen=True)
class Way:
    """One way to the trees of some files.

    Attributes:
        urls: of the files.
        options: of ``uproot.open``.
        trees: of the files, where these are open already.
        counted: whether users read so by default.
    """

    urls: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    trees: tuple[Any, ...] = ()
    counted: bool = True

    def each(self) -> Iterator[Any]:
        """One tree after the other; what is opened for it is closed before the next."""
        yield from self.trees
        for url in self.urls if not self.trees else ():
            with uproot.open({url: "Events"}, **self.options) as tree:
                yield tree


def ways(urls: Sequence[str], stack: ExitStack) -> dict[str, Way]:
    """All ways to files behind ``root://``, by what they are called.

    Args:
        urls: of the files.
        stack: closes what stays open.
    """
    two = threaded(stack)
    found = {}
    for name, source in SOURCES.items():
        found[name] = Way(urls, source)
        found[f"{name} with {THREADS} threads"] = Way(urls, {**source, **two}, counted=False)
        # Without uproot's memory of arrays, which would answer in place of the files.
        trees = [
            stack.enter_context(uproot.open({url: "Events"}, array_cache=None, **source))
            for url in urls
        ]
        found[f"{name} with files open"] = Way(urls, trees=tuple(trees), counted=False)
    return found
