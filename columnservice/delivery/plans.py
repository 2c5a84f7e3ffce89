"""Plans remembered: what was worked out before is not worked out again.

All ranges of a File share one Outline, out of which a Plan is cut; the Plans themselves are
remembered too. Both follow from the catalogue alone, so they hold until one of the two Datasets
changes, which a single look into the catalogue tells. Knows no cache and no HTTP.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from columnservice.catalogue.store import Catalogue
from columnservice.delivery.outline import Outline
from columnservice.delivery.plan import ColumnRequest, Plan, pieces_to_name, plan
from columnservice.delivery.provenance import provenance_of, state_of

MOST_PARTS = 20_000
"""Partitions of all Plans that are remembered; each takes a few kilobytes."""
MOST_OUTLINES = 256

Whose: TypeAlias = tuple[str, str, tuple[str, ...]]
"""Dataset, File and Columns of a request."""


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


def planned(found: Plan) -> Planned:
    """A Plan with what follows from it."""
    return Planned(found, state_of(found), provenance_of(found))


@dataclass(frozen=True)
class _Basis:
    """The Datasets that something follows from, as they were."""

    names: tuple[str, ...]
    edition: tuple[tuple[int, int], ...]


class Plans:
    """Plans by request, the least recently used forgotten first; thread-safe.

    All that a Plan takes from uploaded keys follows from their digest, which is in the request.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: OrderedDict[ColumnRequest, tuple[_Basis, Planned]] = OrderedDict()
        self._outlines: OrderedDict[Whose, tuple[_Basis, Outline]] = OrderedDict()
        self._parts = 0
        self._lock = threading.Lock()

    def find(self, request: ColumnRequest) -> Planned | None:
        """What was worked out for the same request, if nothing has changed since."""
        with self._lock:
            known = self._known.get(request)
            if known is None:
                return None
            self._known.move_to_end(request)
        basis, found = known
        if self._stands(basis):
            return found
        with self._lock:
            self._drop(request)
        return None

    def recall(self, request: ColumnRequest, most_pieces: int | None = None) -> Planned | None:
        """What follows from what is known already, if nothing has changed since.

        Args:
            request: what is asked for.
            most_pieces: no more may have to be named for it; None: as many as there are.

        Raises:
            OutOfRange: the File does not have these rows.
        """
        found = self.find(request)
        if found is not None:
            return found
        whose = _whose(request)
        with self._lock:
            known = self._outlines.get(whose)
            if known is None:
                return None
            self._outlines.move_to_end(whose)
        basis, outline = known
        if not self._stands(basis):
            with self._lock:
                self._outlines.pop(whose, None)
            return None
        if most_pieces is not None and pieces_to_name(outline, request) > most_pieces:
            return None
        return self._remember(request, basis, planned(plan(outline, request)))

    def make(
        self, request: ColumnRequest, names: tuple[str, ...], work: Callable[[], Outline]
    ) -> Planned:
        """Work a request out, and remember it.

        Args:
            request: what is asked for.
            names: the Datasets that the Outline follows from.
            work: makes the Outline of these Columns and this File.

        Raises:
            OutOfRange: the File does not have these rows.
        """
        # Asked before: what changes while the Outline is made must not be taken for known.
        basis = _Basis(names, self._catalogue.edition(names))
        outline = work()
        made = planned(plan(outline, request))
        with self._lock:
            self._outlines[_whose(request)] = basis, outline
            self._outlines.move_to_end(_whose(request))
            while len(self._outlines) > MOST_OUTLINES:
                self._outlines.popitem(last=False)
        return self._remember(request, basis, made)

    def _remember(self, request: ColumnRequest, basis: _Basis, made: Planned) -> Planned:
        with self._lock:
            self._drop(request)
            self._known[request] = basis, made
            self._parts += len(made.plan.parts)
            while self._parts > MOST_PARTS:
                self._drop(next(iter(self._known)))
        return made

    def _stands(self, basis: _Basis) -> bool:
        return self._catalogue.edition(basis.names) == basis.edition

    def _drop(self, request: ColumnRequest) -> None:
        _, known = self._known.pop(request, (None, None))
        if known is not None:
            self._parts -= len(known.plan.parts)


def _whose(request: ColumnRequest) -> Whose:
    return request.dataset, request.file, request.columns
