"""Plans remembered: a request that was worked out before is not worked out again.

A Plan follows from the catalogue alone, so it holds until one of the two Datasets changes, which a
single look into the catalogue tells. Knows no cache and no HTTP.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from columnservice.catalogue.store import Catalogue
from columnservice.delivery.plan import ColumnRequest, Plan
from columnservice.delivery.provenance import provenance_of, state_of

MOST_PARTS = 20_000
"""Partitions of all Plans that are remembered; each takes a few kilobytes."""


@dataclass(frozen=True)
class Planned:
    """A Plan, and what is told of every reply to it.

    Attributes:
        plan: of the request.
        state: digest of all that decides the reply's bytes.
        provenance: what ``wire.PROVENANCE`` says of the reply.
    """

    plan: Plan
    state: str
    provenance: dict[str, Any]


def planned(found: Plan, parent: str) -> Planned:
    """A Plan with what follows from it.

    Args:
        found: of a request.
        parent: name of the parent Dataset.
    """
    return Planned(found, state_of(found), provenance_of(found, parent))


@dataclass(frozen=True)
class _Known:
    names: tuple[str, ...]
    edition: tuple[tuple[int, int], ...]
    planned: Planned


class Plans:
    """Plans by request, the least recently used forgotten first; thread-safe.

    All that a Plan takes from uploaded keys follows from their digest, which is in the request.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: OrderedDict[ColumnRequest, _Known] = OrderedDict()
        self._parts = 0
        self._lock = threading.Lock()

    def recall(self, request: ColumnRequest) -> Planned | None:
        """What was worked out for the same request, if nothing has changed since."""
        with self._lock:
            known = self._known.get(request)
            if known is None:
                return None
            self._known.move_to_end(request)
        if self._catalogue.edition(known.names) == known.edition:
            return known.planned
        self._forget(request)
        return None

    def make(
        self, request: ColumnRequest, names: tuple[str, ...], work: Callable[[], Planned]
    ) -> Planned:
        """Work a request out, and remember it.

        Args:
            request: what is asked for.
            names: the Datasets that the Plan follows from.
            work: works it out.
        """
        # Asked before: what changes while the Plan is made must not be taken for known.
        edition = self._catalogue.edition(names)
        made = work()
        self._forget(request)
        with self._lock:
            self._known[request] = _Known(names, edition, made)
            self._parts += len(made.plan.parts)
            while self._parts > MOST_PARTS:
                self._drop(next(iter(self._known)))
        return made

    def _forget(self, request: ColumnRequest) -> None:
        with self._lock:
            self._drop(request)

    def _drop(self, request: ColumnRequest) -> None:
        known = self._known.pop(request, None)
        if known is not None:
            self._parts -= len(known.planned.plan.parts)
