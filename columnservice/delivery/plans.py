"""Plans remembered: what was worked out before is not worked out again.

All ranges of a File share one Outline, out of which a Plan is cut; the Plans themselves are
remembered too. Both follow from the catalogue alone, so they hold until one of the two Datasets
changes, which a single look into the catalogue tells. Knows no cache and no HTTP.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from columnservice.catalogue.store import Catalogue
from columnservice.delivery.outline import Outline
from columnservice.delivery.plan import ColumnRequest, Plan, pieces_to_name, plan
from columnservice.delivery.provenance import provenance_of, state_of

MOST_REMEMBERED = 40_000
"""Parents and Partitions of all Outlines, and parts of all Plans; a kilobyte or a few each."""

Whose: TypeAlias = tuple[str, str, tuple[str, ...]]
"""Dataset, File and Columns of a request."""


@dataclass(frozen=True)
class Planned:
    """A Plan, and what is told of every reply to it.

    Attributes:
        plan: of the request.
        state: digest of all that decides the reply's bytes.
        provenance: what ``wire.PROVENANCE`` says of the reply, as JSON.
    """

    plan: Plan
    state: str
    provenance: str


@dataclass(frozen=True)
class Edition:
    """Datasets as they were when somebody began to look at them."""

    names: tuple[str, ...]
    numbers: tuple[tuple[int, int], ...]


@dataclass(eq=False)
class _Known:
    """An Outline and the Plans that were cut out of it, by first row and the row behind the last.

    Attributes:
        provenance: as in ``Planned``; all Plans share it.
        size: counted as ``MOST_REMEMBERED`` says.
    """

    edition: Edition
    outline: Outline
    provenance: str
    size: int
    plans: OrderedDict[tuple[int, int], Planned] = field(default_factory=OrderedDict)


class Plans:
    """Plans by request, those of the least recently used File forgotten first; thread-safe.

    All that a Plan takes from uploaded keys follows from their digest, which is in the request.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: OrderedDict[Whose, _Known] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def edition(self, names: tuple[str, ...]) -> Edition:
        """What to ask for before anything is asked of these Datasets that enters an Outline."""
        return Edition(names, self._catalogue.edition(names))

    def find(self, request: ColumnRequest) -> Planned | None:
        """What was worked out for the same request, if nothing has changed since."""
        known = self._standing(request)
        return None if known is None else self._cut_before(known, request)

    def recall(self, request: ColumnRequest, most_pieces: int | None = None) -> Planned | None:
        """What follows from what is known already, if nothing has changed since.

        Args:
            request: what is asked for.
            most_pieces: no more may have to be named for it; None: as many as there are.

        Raises:
            OutOfRange: the File does not have these rows.
        """
        known = self._standing(request)
        if known is None:
            return None
        found = self._cut_before(known, request)
        if found is not None:
            return found
        if most_pieces is not None and pieces_to_name(known.outline, request) > most_pieces:
            return None
        return self._cut(known, request)

    def make(
        self, request: ColumnRequest, edition: Edition, work: Callable[[], Outline]
    ) -> Planned:
        """Work a request out, and remember it.

        Args:
            request: what is asked for.
            edition: of the Datasets that the Outline follows from, asked before anything else: what
                changes meanwhile must not be taken for known.
            work: makes the Outline of these Columns and this File.

        Raises:
            OutOfRange: the File does not have these rows.
        """
        outline = work()
        size = 1 + len(outline.parents) + len(outline.partitions)
        known = _Known(edition, outline, json.dumps(provenance_of(outline)), size)
        if outline.parent in edition.names:
            whose = _whose(request)
            with self._lock:
                self._drop(whose)
                self._known[whose] = known
                self._size += size
                self._make_room(known)
        return self._cut(known, request)

    def _standing(self, request: ColumnRequest) -> _Known | None:
        """What is known of a File's Columns, if nothing has changed since."""
        whose = _whose(request)
        with self._lock:
            known = self._known.get(whose)
            if known is None:
                return None
            self._known.move_to_end(whose)
        if self._catalogue.edition(known.edition.names) == known.edition.numbers:
            return known
        with self._lock:
            if self._known.get(whose) is known:
                self._drop(whose)
        return None

    def _cut_before(self, known: _Known, request: ColumnRequest) -> Planned | None:
        rows = request.start, request.stop
        with self._lock:
            found = known.plans.get(rows)
            if found is not None:
                known.plans.move_to_end(rows)
        return found

    def _cut(self, known: _Known, request: ColumnRequest) -> Planned:
        """Cut a Plan out of an Outline, and remember it for as long as that one is."""
        found = plan(known.outline, request)
        made = Planned(found, state_of(found), known.provenance)
        with self._lock:
            if self._known.get(_whose(request)) is known:
                self._forget(known, (request.start, request.stop))
                known.plans[request.start, request.stop] = made
                known.size += 1 + len(found.parts)
                self._size += 1 + len(found.parts)
                self._make_room(known)
        return made

    def _make_room(self, latest: _Known) -> None:
        """Forget until the rest is small enough, but not what came last."""
        while self._size > MOST_REMEMBERED:
            whose = next(iter(self._known))
            if self._known[whose] is not latest:
                self._drop(whose)
            elif len(self._known) > 1:
                self._known.move_to_end(whose)
            elif len(latest.plans) > 1:
                self._forget(latest, next(iter(latest.plans)))
            else:
                return

    def _forget(self, known: _Known, rows: tuple[int, int]) -> None:
        gone = known.plans.pop(rows, None)
        if gone is not None:
            known.size -= 1 + len(gone.plan.parts)
            self._size -= 1 + len(gone.plan.parts)

    def _drop(self, whose: Whose) -> None:
        gone = self._known.pop(whose, None)
        if gone is not None:
            self._size -= gone.size


def _whose(request: ColumnRequest) -> Whose:
    return request.dataset, request.file, request.columns
