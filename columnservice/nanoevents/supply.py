"""Where the Columns of a range come from: this process's memory, a thread ahead, or the service.

What is handed out is not proven yet. Knows the client and ranges; neither uproot nor coffea.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from columnservice.client.fetching import DataRequest, progress
from columnservice.client.makings import Makings
from columnservice.client.pins import demand_same
from columnservice.client.reply import Reply
from columnservice.client.report import LEDGER
from columnservice.client.uploads import upload
from columnservice.errors import (
    ColumnServiceError,
    TransportError,
    UnknownFile,
)
from columnservice.model import Column, Keys, Ragged, plain
from columnservice.nanoevents.ahead import AHEAD
from columnservice.nanoevents.columnlist import Catalogue
from columnservice.nanoevents.layouts import key_branches
from columnservice.nanoevents.meanwhile import Meanwhile
from columnservice.nanoevents.memory import MEMORY, Evidence, Made, Memory, Range, Source
from columnservice.nanoevents.offer import Offer, warn_once

_OWN_LIMIT_BYTES = 128_000_000
"""What one open file keeps of ranges whose events lack parents."""

_BEGIN_ANEW = "Call service.nanoevents(…) again, and run over all files anew."

Holding: TypeAlias = dict[str, tuple[Ragged, Evidence]]
"""Column name → values and the evidence of the reply that they came with."""

_digests: dict[tuple[Source, str], str] = {}
"""Files that the service knows by the digest of their EventKeys."""


class LocalKeys(Protocol):
    """What is needed of the local tree."""

    uuid: str
    path: str
    entries: int

    def names(self) -> frozenset[str]:
        """Names and full paths of all branches, at any depth."""
        ...

    def values(self, branch: str, start: int, stop: int) -> NDArray[Any]:
        """A branch with one number per event."""
        ...


def forget_uploads() -> None:
    """Forget which files are known by their EventKeys."""
    _digests.clear()


class Supply:
    """The Columns that one local file is offered, on their way."""

    def __init__(
        self,
        offer: Offer,
        catalogue: Catalogue,
        local: LocalKeys,
        columns: Mapping[str, Column],
        references: Iterable[Column],
        shown_by: Callable[[str], Iterable[str]],
    ) -> None:
        self._shown_by = shown_by
        self._offer, self._catalogue, self._local = offer, catalogue, local
        self.source = Source(offer.service.url, catalogue.dataset)
        self._offered = columns
        self._columns = {**columns, **{r.name: r for r in references}}
        # A parent may be added at any time: who opens the file anew shall see it.
        self._incomplete = Memory(_OWN_LIMIT_BYTES)
        self._counts = {c.counts_of: c for c in columns.values() if c.counts_of is not None}

    def range(self, start: int, stop: int) -> Range:
        """Rows of the local file."""
        return Range(self.source, self._local.uuid, start, stop)

    def keys(self, start: int, stop: int) -> Keys:
        """The file's own EventKeys of a range.

        Raises:
            NoEventKeys: the file has none.
        """
        local = self._local
        branches = key_branches(self._catalogue.layout, local.names(), local.path)
        run, lumi, event = (local.values(b, start, stop) for b in branches)
        return Keys(run.astype(np.uint32), lumi.astype(np.uint32), event.astype(np.uint64))

    def take(
        self, where: Range, needed: Iterable[str], meanwhile: Meanwhile, *, explicit: bool
    ) -> Holding:
        """At least these Columns of a range; any one where none is named.

        Args:
            where: the range.
            needed: names.
            meanwhile: what can be done with the local file while the service is at work.
            explicit: ask for these only; else also for those that were used on earlier ranges.
        """
        names = list(dict.fromkeys(needed))
        held = self._recall(where)
        if not _holds(held, names):
            with progress(f"{self.source.dataset}, rows {where.start} to {where.stop}"):
                AHEAD.wait(where)
            held = self._recall(where)
        if not _holds(held, names):
            wanted = [n for n in names if n not in held] or [self._cheapest()]
            more = self._expected() if not explicit and not held else []
            evidence, values = self._fetch(where, wanted, more, meanwhile)
            self._demand_as_listed([n for n in wanted if n in self._offered], evidence)
            self._memory(where, evidence).keep(where, evidence, self._lasting(evidence, values))
            held = {**self._recall(where), **{n: (v, evidence) for n, v in values.items()}}
        if not explicit:
            MEMORY.touch(self.source, names)
        self._account(where, names, held)
        if self._offer.read_ahead:
            self._look_ahead(where, names if explicit else [*names, *self._expected()])
        return held

    def _account(self, where: Range, names: Iterable[str], held: Holding) -> None:
        """Write down what is handed out, and say where nobody could vouch for it.

        Raises:
            ProvenanceChanged: it is not made as the pinned report says, or as it was when the
                analysis began.
        """
        replies: dict[int, tuple[Evidence, list[Column]]] = {}
        for name in (n for n in names if n in self._offered):
            evidence = held[name][1]
            replies.setdefault(id(evidence), (evidence, []))[1].append(self._columns[name])
        url, dataset = self.source
        path = self._local.path
        for evidence, columns in replies.values():
            asked, told = [column.name for column in columns], evidence.provenance
            self._demand_as_listed(asked, evidence)
            if self._offer.pin is not None:
                # counts that nobody asked for come with their lists, and their Recipe does not
                said = told.get("recipes", {})
                bound = [c.name for c in columns if c.counts_of is None or c.name in said]
                demand_same(self._offer.pin, dataset, where.uuid, path, bound, told)
            LEDGER.used(url, dataset, where.uuid, path, columns, told, self._offer.key)
        if not all(evidence.verified for _, evidence in held.values()):
            warn_once(
                f"{url} {dataset} unverified",
                f"Columns of dataset {dataset!r} are unverified: nobody could be asked whether its "
                "parent files are unchanged.",
            )

    def _demand_as_listed(self, names: Iterable[str], evidence: Evidence) -> None:
        """Refuse what is made otherwise than when the analysis began.

        Raises:
            ProvenanceChanged: it is.
        """

        def ask() -> Makings:
            return self._offer.service.catalogue(self.source.dataset).makings

        where = f"{self._local.path} (dataset {self.source.dataset!r})"
        told = evidence.provenance
        self._catalogue.makings.demand_same(names, told, where, _BEGIN_ANEW, ask)

    def _lasting(self, evidence: Evidence, values: Mapping[str, Ragged]) -> dict[Made, Ragged]:
        """What of a reply may be remembered: Columns that are what their list says."""
        makings, told = self._catalogue.makings, evidence.provenance
        return {
            Made(name, makings.version(name)): ragged
            for name, ragged in values.items()
            if not makings.changed([name], told)
        }

    def forget(self, where: Range) -> None:
        """Forget a range whose Columns turned out to be wrong or missing."""
        MEMORY.forget(where)
        self._incomplete.forget(where)

    def _recall(self, where: Range) -> Holding:
        found = {**MEMORY.recall(where), **self._incomplete.recall(where)}
        version = self._catalogue.makings.version
        return {
            made.name: held for made, held in found.items() if version(made.name) == made.version
        }

    def _memory(self, where: Range, evidence: Evidence) -> Memory:
        """Where a reply is kept: for the whole process only if no event lacks a parent."""
        if evidence.present.all():
            self._incomplete.forget(where)
            return MEMORY
        MEMORY.forget(where)
        return self._incomplete

    def _fetch(
        self, where: Range, wanted: list[str], more: list[str], meanwhile: Meanwhile
    ) -> tuple[Evidence, dict[str, Ragged]]:
        """Columns that are needed, with more if that does no harm."""
        if set(more) - set(wanted):
            try:
                reply = self._ask(where, [*wanted, *more], meanwhile)
                return self._read(reply, [*wanted, *more])
            except TransportError:
                raise
            except ColumnServiceError:
                pass  # Perhaps because of what nobody has asked for on these rows.
        return self._read(self._ask(where, wanted, meanwhile), wanted)

    def _expected(self) -> list[str]:
        """Columns that this analysis is known to use, with what shows that their objects match."""
        told = (*self._offer.prefetch, *MEMORY.touched(self.source))
        names = [n for n in dict.fromkeys(told) if n in self._columns]
        return list(dict.fromkeys([*names, *(r for n in names for r in self._shown_by(n))]))

    def _cheapest(self) -> str:
        """A Column to ask for when only ``hasParent`` is wanted, which comes with every reply."""
        return min(self._offered.values(), key=lambda c: (c.depth, len(c.members))).name

    def _look_ahead(self, where: Range, names: Iterable[str]) -> None:
        """Begin to fetch the next range, if there seems to be one."""
        following = AHEAD.pace.follow(where, self._local.entries)
        if following is None or self._recall(following):
            return
        wanted = list(dict.fromkeys(names))

        def fetch() -> None:
            reply = self._request(following, wanted, ahead=True)
            evidence, values = self._read(reply, wanted)
            memory = self._memory(following, evidence)
            memory.keep_ahead(following, evidence, self._lasting(evidence, values))

        if wanted:
            AHEAD.begin(following, fetch)

    def _request(self, where: Range, names: Iterable[str], *, ahead: bool = False) -> Reply:
        file = _digests.get((self.source, where.uuid), where.uuid)
        columns = tuple(dict.fromkeys(names))
        request = DataRequest(
            self.source.dataset, file, where.start, where.stop, columns, known_as=where.uuid
        )
        return self._offer.service.ask(request, ahead=ahead)

    def _ask(self, where: Range, names: Iterable[str], meanwhile: Meanwhile) -> Reply:
        """The service's reply; a file that it does not know is introduced to it once."""
        meanwhile.begin()
        if not self._offer.is_named(self._local.path):
            return self._request(where, names)
        try:
            return self._request(where, names)
        except UnknownFile:
            pass  # The file was named as one of this Dataset: its keys say which events it holds.
        meanwhile.end()  # one thread of this request reads the file at a time
        self._introduce()
        return self._request(where, names)

    def _introduce(self) -> None:
        """Send the file's EventKeys, with what shows that it is of this sample."""
        local = self._local
        keys, names = self.keys(0, local.entries), local.names()
        witnesses = {
            name: values
            for name in self._catalogue.witnesses
            if name in names
            and (values := local.values(name, 0, local.entries)).dtype.kind in "iuf"
        }
        digest = upload(self._offer.service.transport, self.source.dataset, keys, witnesses)
        _digests[self.source, local.uuid] = digest

    def _read(self, reply: Reply, names: Iterable[str]) -> tuple[Evidence, dict[str, Ragged]]:
        """The Columns of a reply, with the counts of the lists among them."""
        proofs = tuple((b.start, b.stop, b.proof) for b in reply.batches)
        values = {name: reply.values(self._columns[name]) for name in dict.fromkeys(names)}
        for name in list(values):
            counts = self._counts.get(self._columns[name].shape or "")
            if counts is not None and counts.name not in values:
                dtype = np.dtype(counts.members[0].dtype)
                values[counts.name] = plain(np.diff(values[name].offsets[0]).astype(dtype))
        claims = (reply.has_parent, reply.unusable_parents, reply.verified, reply.provenance)
        return Evidence(proofs, *claims), values


def _holds(held: Holding, names: list[str]) -> bool:
    """Whether everything is there that is needed."""
    return bool(held) and all(name in held for name in names)
