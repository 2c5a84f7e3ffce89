"""The part of a request that lies in one Partition: its Pieces, and the tasks that make them.

Asks nobody and knows no cache: a Partition's Pieces follow from its tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from columnservice.delivery.tasks import ColumnWork, DerivedWork, DeriveTask, MaterialiseTask


@dataclass(frozen=True)
class PartPlan:
    """The part of a request that lies in one Partition.

    Attributes:
        start, stop: the rows of the local File that were asked for.
        task: what makes all Pieces that are read from the parents, for the reply or to compute
            others from.
        derive: what computes the others; None where there are none.
        asked: names of the Columns of the reply, in order; None for all of ``task``.
    """

    start: int
    stop: int
    task: MaterialiseTask
    derive: DeriveTask | None = None
    asked: tuple[str, ...] | None = None

    @cached_property
    def works(self) -> tuple[ColumnWork | DerivedWork, ...]:
        """The Columns of the reply, in order."""
        if self.asked is None:
            return self.task.columns
        derived = self.derive.columns if self.derive else ()
        works: dict[str, ColumnWork | DerivedWork] = {w.column.name: w for w in self.task.columns}
        works |= {w.column.name: w for w in derived}
        return tuple(works[name] for name in self.asked)

    @cached_property
    def offsets(self) -> dict[str, str]:
        """Shape → key of its offsets Piece, for the shapes of the reply."""
        shapes = {work.column.shape for work in self.works}
        known = (*self.task.offsets, *(self.derive.offsets if self.derive else ()))
        return {shape: piece for shape, piece in known if shape in shapes}

    def pieces(self) -> tuple[str, ...]:
        """Keys of all Pieces that the reply needs."""
        contents = (work.piece for work in self.works)
        return (self.task.proof, *self.offsets.values(), *contents)

    def computed(self) -> frozenset[str]:
        """Keys of all Pieces that are computed from others."""
        if self.derive is None:
            return frozenset()
        contents = (work.piece for work in self.derive.columns)
        return frozenset((*contents, *(piece for _, piece in self.derive.offsets)))

    def derived(self, missing: Sequence[str]) -> DeriveTask | None:
        """The task that computes some of the Pieces; None where none of them is computed.

        An offsets Piece needs a Column of its shape, so one such Column is computed with it.
        """
        if self.derive is None:
            return None
        pieces = set(missing)
        wanted = {w.piece: w.column.shape for w in self.derive.columns if w.piece in pieces}
        for shape, piece in self.derive.offsets:
            if piece in pieces and shape not in wanted.values():
                first = next(w for w in self.derive.columns if w.column.shape == shape)
                wanted[first.piece] = shape
        return replace(self.derive, wanted=tuple(wanted)) if wanted else None

    def sources(self, names: Iterable[str]) -> tuple[str, ...]:
        """Keys of the Pieces of Columns that are read from the parents, with their offsets."""
        wanted = set(names)
        works = [work for work in self.task.columns if work.column.name in wanted]
        shapes = {work.column.shape for work in works}
        offsets = (piece for shape, piece in self.task.offsets if shape in shapes)
        return (*offsets, *(work.piece for work in works))

    def only(self, missing: Sequence[str]) -> MaterialiseTask:
        """The task that makes some of the Pieces.

        An offsets Piece needs a Column of its shape, so one such Column is made with it.
        """
        wanted = set(missing)
        shapes = {shape for shape, piece in self.task.offsets if piece in wanted}
        kept = [work for work in self.task.columns if work.piece in wanted]
        for shape in shapes - {work.column.shape for work in kept}:
            kept.append(next(w for w in self.task.columns if w.column.shape == shape))
        made = {work.column.shape for work in kept}
        offsets = tuple((s, piece) for s, piece in self.task.offsets if s in made)
        return replace(self.task, columns=tuple(kept), offsets=offsets)
