"""What derived Columns are computed from, and the Pieces and tasks that follow from it.

Everything that a derived Column rests on is known when a request is planned, and enters the name of
its Piece: its Derivation, the Recipes of its inputs, and so on down to branches. Pure functions:
asks no catalogue, opens no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from columnservice.delivery.pieces import derived_name, inputs_digest, offsets_name
from columnservice.delivery.tasks import DerivedWork, DeriveTask, LocalWork, MaterialiseTask
from columnservice.errors import UnsupportedColumn
from columnservice.model import (
    Column,
    Derivation,
    FileLocation,
    OfferedColumn,
    Recipe,
    digest_of,
)


@dataclass(frozen=True)
class Needs:
    """What some Columns are made from.

    Attributes:
        parent: Columns that are read from the parents, those that were asked for first.
        local: Columns that are read from the local File.
        derived: Columns that are computed, each behind its inputs, with their Derivations.
    """

    parent: tuple[Column, ...]
    local: tuple[Column, ...]
    derived: tuple[tuple[Column, Derivation], ...]


def needs_of(known: Mapping[str, OfferedColumn], asked: Sequence[Column]) -> Needs:
    """Everything that some Columns rest on.

    Args:
        known: all Columns of the Dataset, by name.
        asked: some of them.

    Raises:
        UnsupportedColumn: something that one is computed from is not there or cannot be delivered.
    """
    parent = {c.name: c for c in asked if c.origin != "derived"}
    local: dict[str, Column] = {}
    derived: dict[str, tuple[Column, Derivation]] = {}

    def visit(offered: OfferedColumn) -> list[OfferedColumn]:
        """The computed Columns that one needs and that are not there yet; none: it is now."""
        column, derivation = offered.column, offered.derivation
        if derivation is None:
            raise UnsupportedColumn(f"{column.name} is computed from nothing.")
        missing = []
        for name in derivation.inputs:
            source = known.get(name)
            if source is None or source.column.support != "ok":
                reason = "is not offered" if source is None else source.column.reason
                raise UnsupportedColumn(
                    f"{column.name} is computed from {name}, which cannot be delivered: {reason}."
                )
            if source.column.origin == "derived":
                missing += [] if name in derived else [source]
            elif source.column.origin == "local":
                local[name] = source.column
            else:
                parent.setdefault(name, source.column)
        if not missing:
            derived[column.name] = (column, derivation)
        return missing

    for column in asked:
        # Not a recursion: definitions may use definitions a thousand times over.
        path = [known[column.name]] if column.origin == "derived" else []
        while path:
            missing = visit(path[-1]) if path[-1].column.name not in derived else []
            if any(one is other for one in missing for other in path):
                raise UnsupportedColumn(f"{path[-1].column.name} is computed from itself.")
            path = [*path, missing[0]] if missing else path[:-1]
    return Needs(tuple(parent.values()), tuple(local.values()), tuple(derived.values()))


def digests_of(
    needs: Needs, parent: Mapping[str, Sequence[Recipe]], local: Mapping[str, Recipe]
) -> dict[str, str]:
    """Column name → a hash of all that decides the values of a derived Column.

    Args:
        needs: the Columns.
        parent: Column name → its Recipe in each parent File.
        local: Column name → its Recipe in the local File.
    """
    made = {c.name: inputs_digest(c, parent[c.name]) for c in needs.parent}
    made |= {c.name: digest_of("local", inputs_digest(c, [local[c.name]])) for c in needs.local}
    for column, derivation in needs.derived:
        below = [made[name] for name in derivation.inputs]
        made[column.name] = digest_of("derived", derivation.digest, below)
    return {column.name: made[column.name] for column, _ in needs.derived}


def derive_task(
    source: MaterialiseTask,
    needs: Needs,
    digests: Mapping[str, str],
    local: FileLocation,
    recipes: Mapping[str, Recipe],
) -> DeriveTask | None:
    """The task that computes the derived Columns of one Partition; None where there are none.

    Args:
        source: makes what is read from the parents.
        needs: all that is needed.
        digests: of the derived Columns.
        local: the local File.
        recipes: Column name → its Recipe in the local File.
    """
    if not needs.derived:
        return None
    file, partition, take = source.local, source.partition, source.take
    works = tuple(
        DerivedWork(c, d, derived_name(file, partition, take, c, digests[c.name]))
        for c, d in needs.derived
    )
    # A shape that no parent Column has is that of local objects, or of what is computed here.
    shapes = {w.column.shape: None for w in works if w.column.shape not in dict(source.offsets)}
    return DeriveTask(
        source=source,
        local=local if needs.local else None,
        local_columns=tuple(LocalWork(c, recipes[c.name]) for c in needs.local),
        columns=works,
        wanted=tuple(work.piece for work in works),
        offsets=tuple((s, offsets_name(file, partition, take, s)) for s in shapes if s),
    )


def inputs_of(
    task: DeriveTask, wanted: Iterable[str], is_there: Callable[[DerivedWork], bool]
) -> tuple[tuple[DerivedWork, ...], frozenset[str]]:
    """What must be computed for some of a task's Pieces, and what from.

    Args:
        task: all that can be computed.
        wanted: the Pieces.
        is_there: whether another Column's Piece can be taken as it is; then nothing below it is
            needed.

    Returns:
        The Columns to compute, inputs first; and the names of all other Columns they are made from.
    """
    pieces, needed, compute = set(wanted), set[str](), list[DerivedWork]()
    for work in reversed(task.columns):
        if work.piece in pieces or (work.column.name in needed and not is_there(work)):
            compute.append(work)
            needed.update(work.derivation.inputs)
    made = {work.column.name for work in compute}
    return tuple(reversed(compute)), frozenset(needed - made)
