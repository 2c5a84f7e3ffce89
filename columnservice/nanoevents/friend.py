"""Remote Columns of one open local file: fetched, proven, counted, and fitted to its events.

Knows the local file as ``LocalFile`` and arrays as ``Ragged``; neither uproot nor coffea.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from columnservice import wire
from columnservice.client.reply import concatenate
from columnservice.errors import (
    AlignmentError,
    CountsMismatch,
    FileChanged,
    MissingParent,
    ProofMismatch,
)
from columnservice.model import Column, Keys, Member, Ragged, plain
from columnservice.nanoevents.columnlist import Catalogue
from columnservice.nanoevents.complaints import say_once
from columnservice.nanoevents.filling import fill_lists, fill_values
from columnservice.nanoevents.layouts import Kind, Reference, Selection
from columnservice.nanoevents.meanwhile import Meanwhile
from columnservice.nanoevents.memory import Evidence, Range
from columnservice.nanoevents.objects import differing_events, is_of_local_objects, local_name
from columnservice.nanoevents.offer import Offer
from columnservice.nanoevents.supply import LocalKeys, Supply

HAS_PARENT = Column(
    wire.HAS_PARENT,
    (Member("", "bool"),),
    0,
    doc="Whether the event has a parent; without one, remote columns hold no values",
    origin="derived",
)


class LocalFile(LocalKeys, Protocol):
    """What a Friend needs of the local tree."""

    def kinds(self, group: str) -> Mapping[str, Kind]:
        """The readable branches of a group, simple lists first."""
        ...

    def counts(self, branch: str, start: int, stop: int) -> NDArray[np.int64]:
        """Number of objects per event in a jagged branch."""
        ...

    def objects(self, branch: str, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Offsets and values of a branch with a list of numbers per event."""
        ...


class Friend:
    """What one local file is offered, and how it is had."""

    def __init__(self, offer: Offer, catalogue: Catalogue, local: LocalFile) -> None:
        self._offer, self._local, self._layout = offer, local, catalogue.layout
        chosen = catalogue.chosen(offer.patterns)
        usable = [c for c in chosen if c.support == "ok"]
        selection = self._layout.select(usable, local.names(), local.kinds, catalogue.references)
        self._selection: Selection = selection
        self.refused = {
            **{c.name: c.reason for c in catalogue.columns if c.support != "ok"},
            **selection.refused,
        }
        self.columns = dict(selection.offered)
        showing = [r for group in selection.shown_by.values() for r in group]
        self._supply = Supply(offer, catalogue, local, selection.offered, showing, self._shown_by)
        askable = bool(selection.offered)
        if offer.missing == "mask" and askable and HAS_PARENT.name not in local.names():
            self.columns = {HAS_PARENT.name: HAS_PARENT, **self.columns}
        self._keys: dict[tuple[int, int], Keys] = {}
        self._proven: dict[tuple[int, int], list[Evidence]] = {}
        self._counted: dict[tuple[str, int, int], NDArray[np.int64]] = {}
        self._agreeing: set[tuple[str, int, int]] = set()
        self._same_objects: set[tuple[str, int, int]] = set()

    def read(
        self, names: Sequence[str], start: int, stop: int, *, explicit: bool
    ) -> dict[str, Ragged]:
        """Offered Columns for local rows ``start`` to ``stop``, proven and fitted.

        Args:
            names: offered Columns.
            start, stop: rows of the local file.
            explicit: ask for these only; else also for those that were used on earlier ranges.

        Raises:
            MissingParent: events lack a parent, and ``missing`` is ``"error"``.
            ProofMismatch, CountsMismatch: what arrived does not belong to these events.
            FileChanged: the Dataset changed while these rows were being read.
            RequestError, TransportError: as the service says.
        """
        if start == stop:
            return {name: concatenate(self.columns[name], ()) for name in names}
        where = self._supply.range(start, stop)
        try:
            return self._read(names, where, explicit)
        except AlignmentError as error:
            self._supply.forget(where)
            about = (where.source, where.uuid, start, stop, error.code)
            say_once(logging.ERROR, about, f"{error.code}: {error}")
            raise

    def _read(self, names: Sequence[str], where: Range, explicit: bool) -> dict[str, Ragged]:
        groups = self._unrecognised(names, where)
        showing = [r.name for g in groups for r in self._selection.shown_by[g]]
        needed = dict.fromkeys([*names, *self._references(names), *showing])
        needed.pop(HAS_PARENT.name, None)
        # Read from the local file while the service is at work.
        keys = Meanwhile(lambda: self._local_keys(where.start, where.stop))
        try:
            held = self._supply.take(where, needed, keys, explicit=explicit)
        finally:
            keys.end()
        evidences = [held[name][1] for name in needed or held]
        present = self._prove(where, evidences)
        if not present.all():
            self._miss(where, present, max(e.unusable for e in evidences))
        values = {name: ragged for name, (ragged, _) in held.items()}
        fitted = {name: self._fitted(name, values, present, where) for name in names}
        for group in groups:
            self._recognise(group, values, present, where)
        return fitted

    def _shown_by(self, name: str) -> list[str]:
        """The references that show whose objects a Column on a local collection belongs to."""
        column = self._selection.offered.get(name)
        if column is not None and is_of_local_objects(column):
            return []
        shown_by = self._selection.shown_by
        return [r.name for group in self._touched(name) for r in shown_by.get(group, ())]

    def _touched(self, name: str) -> tuple[str, ...]:
        """The group that a Column stands in, and those that it leads into."""
        return (self._layout.group_of(name), *self._selection.leads.get(name, ()))

    def _miss(self, where: Range, present: NDArray[np.bool_], unusable: int) -> None:
        """Refuse a range with absent events, or say why they may be absent.

        Raises:
            MissingParent: ``missing`` is ``"error"``.
        """
        dataset = where.source.dataset
        told = f"{unusable} files of the parent dataset cannot be used at present"
        if self._offer.missing == "error":
            # Nothing of this was handed out, so a parent that is added later contradicts nothing.
            del self._proven[where.start, where.stop]
            raise MissingParent(
                f"{np.count_nonzero(~present)} of {len(present)} events of {self._local.path} "
                f"(entries {where.start} to {where.stop}) have no parent in dataset "
                f"{dataset!r}'s parent" + (f" ({told})." if unusable else ".")
            )
        if unusable:
            text = f"Events of dataset {dataset!r} have no parent: {told}."
            say_once(logging.WARNING, (where.source, "unusable parents"), text)

    def _references(self, names: Iterable[str]) -> list[str]:
        """The remote Columns that coffea takes the offsets of these from."""
        found = (self._reference(name) for name in names)
        return [r.branch for r in found if r is not None and r.origin == "remote"]

    def _reference(self, name: str) -> Reference | None:
        if not self.columns[name].depth:
            return None
        return self._selection.references.get(self._layout.group_of(name))

    def _unrecognised(self, names: Iterable[str], where: Range) -> list[str]:
        """Local collections that get these Columns, whose objects are not known to be the same."""
        groups = dict.fromkeys(
            group
            for name in names
            if self.columns[name].depth and not is_of_local_objects(self.columns[name])
            for group in self._touched(name)
        )
        rows = (where.start, where.stop)
        known = self._selection.shown_by
        return [g for g in groups if known.get(g) and (g, *rows) not in self._same_objects]

    def _recognise(
        self, group: str, values: Mapping[str, Ragged], present: NDArray[np.bool_], where: Range
    ) -> None:
        """Compare the objects of a local collection with the parent's, one by one.

        Raises:
            CountsMismatch: they are others, or in another order.
        """
        for reference in self._selection.shown_by[group]:
            name = local_name(reference)
            ours = self._local.objects(name, where.start, where.stop)
            ragged = values[reference.name]
            wrong = differing_events(reference, ours, (ragged.offsets[0], ragged.values), present)
            if len(wrong):
                raise CountsMismatch(
                    f"The parent holds other objects, or in another order, under {name}: first in "
                    f"entry {where.start + int(wrong[0])} of {self._local.path} "
                    f"({len(wrong)} such events)."
                )
        self._same_objects.add((group, where.start, where.stop))

    def _prove(self, where: Range, evidences: Sequence[Evidence]) -> NDArray[np.bool_]:
        """Compare each proof with the local EventKeys; which rows have a parent."""
        rows = (where.start, where.stop)
        proven = self._proven.setdefault(rows, [])
        for evidence in evidences:
            if evidence in proven:
                continue
            if proven and not proven[0].agrees(evidence):
                raise FileChanged(
                    f"The parents of {self._local.path} changed while it was being read.",
                    "Build the events anew.",
                )
            keys = self._local_keys(*rows)
            for start, stop, proof in evidence.proofs:
                part = slice(start - where.start, stop - where.start)
                hashes = wire.row_hashes(keys[part], evidence.present[part], first_row=start)
                if wire.checksum(hashes) != proof:
                    raise ProofMismatch(
                        f"Entries {start} to {stop} of {self._local.path} were answered with the "
                        f"columns of other events (dataset {where.source.dataset!r})."
                    )
            proven.append(evidence)
        return evidences[0].present

    def _local_keys(self, start: int, stop: int) -> Keys:
        """The file's own EventKeys, read once per range."""
        if (start, stop) not in self._keys:
            self._keys[start, stop] = self._supply.keys(start, stop)
        return self._keys[start, stop]

    def _fitted(
        self, name: str, values: Mapping[str, Ragged], present: NDArray[np.bool_], where: Range
    ) -> Ragged:
        """A Column as coffea may combine it with the local branches."""
        column = self.columns[name]
        if column is HAS_PARENT:
            return plain(present)
        if not column.depth:
            return fill_values(column, values[name], present)
        ragged, reference = values[name], self._reference(name)
        if reference is None:
            return ragged
        expected = self._expected(reference, values, where)
        seen = (name, where.start, where.stop)
        if seen not in self._agreeing:
            self._compare(column, np.diff(ragged.offsets[0]), expected, present, reference, where)
            self._agreeing.add(seen)
        if reference.origin == "remote":
            return ragged
        return fill_lists(column, ragged, present, expected)

    def _expected(
        self, reference: Reference, values: Mapping[str, Ragged], where: Range
    ) -> NDArray[np.int64]:
        """Objects per event according to the reference."""
        if reference.origin == "remote":
            return np.diff(values[reference.branch].offsets[0])
        key = (reference.branch, where.start, where.stop)
        if key not in self._counted:
            read = self._local.values if reference.origin == "counter" else self._local.counts
            self._counted[key] = read(*key).astype(np.int64)
        return self._counted[key]

    def _compare(
        self,
        column: Column,
        counts: NDArray[np.int64],
        expected: NDArray[np.int64],
        present: NDArray[np.bool_],
        reference: Reference,
        where: Range,
    ) -> None:
        wrong = np.flatnonzero((counts != expected) & present)
        if not len(wrong):
            return
        row = int(wrong[0])
        raise CountsMismatch(
            f"{column.name} holds {counts[row]} objects in entry {where.start + row} of "
            f"{self._local.path}, {reference.branch} says {expected[row]} "
            f"({len(wrong)} such events)."
        )
