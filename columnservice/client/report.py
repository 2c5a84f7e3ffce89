"""What an analysis was given: requests, bytes, waiting, and where each column comes from.

A ``Report`` is a JSON record that adds up over chunks, processes and runs. Knows neither HTTP nor
arrays; what happened is told to it.
"""

from __future__ import annotations

import html
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from columnservice.client.makings import behind
from columnservice.model import Column

FORMAT = 2
"""Of the records: digests in those of another one mean other things."""

_MIXED = 0
"""In place of ``FORMAT``: reports of several were added."""

_COUNTERS = ("requests", "bytes", "seconds", "ahead", "from_disk", "resumed", "unverified")
_MOST_RUNS = 16
"""How many analyses of one process are told apart; the oldest are forgotten."""


def _no_traffic() -> dict[str, Any]:
    return {**dict.fromkeys(_COUNTERS, 0), "seconds": 0.0}


def _nothing(service: str) -> dict[str, Any]:
    return {"format": FORMAT, "service": service, "traffic": _no_traffic(), "datasets": {}}


def _no_file() -> dict[str, Any]:
    traffic = _no_traffic()
    return {"path": "", "ranges": [], "columns": [], "parents": [], "takes": [], "traffic": traffic}


def _union(ranges: Iterable[list[int]]) -> list[list[int]]:
    """Row ranges, merged and in order."""
    merged: list[list[int]] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], stop)
        else:
            merged.append([start, stop])
    return merged


def _distinct(entries: Iterable[Any]) -> list[Any]:
    """Entries without repetition, in a stable order."""
    by_text = {json.dumps(e, sort_keys=True): e for e in entries}
    return [by_text[text] for text in sorted(by_text)]


def _added(one: Any, other: Any, key: str = "") -> Any:
    """Two records as one: numbers add, ranges unite, lists and mappings merge."""
    if isinstance(one, dict):
        return {
            k: _added(one[k], other[k], k) if k in one and k in other else one.get(k, other.get(k))
            for k in (*one, *(k for k in other if k not in one))
        }
    if isinstance(one, list):
        return _union([*one, *other]) if key == "ranges" else _distinct([*one, *other])
    if key in _COUNTERS:
        return one + other
    if key == "format":
        return one if one == other else _MIXED
    return one or other


@dataclass(eq=False)
class Report:
    """A record of what was fetched, from where, and the provenance of every column used.

    ``record["traffic"]``: ``requests`` answered by the service, ``bytes`` received, ``seconds`` an
    analysis waited for them, how many were read ``ahead``, came ``from_disk`` (and cost no bytes),
    were ``resumed`` after a break, or hold rows whose parents' origin could not be asked
    (``unverified``). ``record["datasets"]``: per Dataset its ``parent``, the ``columns`` used
    (type, origin, source), digests of their ``recipes`` and of those that they were computed from,
    what was ``derived`` from which other columns, and its ``files`` by UUID: path, rows fetched,
    names of the ``columns`` used, ``parents`` (identity, and the ``servers`` that they are read
    from where the service does not hold the values), digests of how both were joined (``takes``),
    and the file's own ``traffic``. Reports add up with ``+``.
    """

    record: dict[str, Any] = field(default_factory=lambda: _nothing(""))

    def __add__(self, other: Report) -> Report:
        one, two = (json.loads(json.dumps(r.record)) for r in (self, other))
        return Report(_added(one, two))

    @property
    def columns(self) -> list[str]:
        """Names of the columns used: ``service.nanoevents(prefetch=…)`` takes a Report."""
        used = self.record["datasets"].values()
        return list(dict.fromkeys(name for d in used for name in d["columns"]))

    @property
    def is_of_this_format(self) -> bool:
        """Whether its digests can be compared with what is noted today."""
        return bool(self.record.get("format") == FORMAT)

    @property
    def requests(self) -> int:
        """How many requests for values the service answered."""
        return int(self.record["traffic"]["requests"])

    @property
    def received_bytes(self) -> int:
        """Bytes of these answers."""
        return int(self.record["traffic"]["bytes"])

    def of_file(self, uuid: str) -> Report:
        """What one local file was given: its own traffic, and the columns used of it."""
        record = _nothing(self.record["service"])
        for name, dataset in self.record["datasets"].items():
            file = dataset["files"].get(uuid)
            if file is None:
                continue
            record["traffic"] = _added(record["traffic"], file["traffic"])
            columns, derived = dataset["columns"], dataset.get("derived", {})
            wanted = behind(file["columns"], derived)
            record["datasets"][name] = {
                "parent": dataset["parent"],
                "columns": {n: columns[n] for n in file["columns"]},
                "recipes": {n: dataset["recipes"][n] for n in wanted if n in dataset["recipes"]},
                "derived": {n: derived[n] for n in wanted if n in derived},
                "files": {uuid: file},
            }
        return Report(json.loads(json.dumps(record)))

    def to_json(self) -> str:
        """The record as JSON text."""
        return json.dumps(self.record, indent=1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record beside a result."""
        Path(path).write_text(self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """The record that ``save`` wrote."""
        return cls(json.loads(Path(path).read_text()))

    def _lines(self) -> list[str]:
        t = self.record["traffic"]
        told = [
            f"{t['requests']} requests, {t['bytes'] / 1e6:.3f} MB, {t['seconds']:.2f} s of waiting"
            f" ({t['ahead']} read ahead, {t['from_disk']} from disk, {t['resumed']} resumed)"
        ]
        if t["unverified"]:
            told.append(f"{t['unverified']} answers could not be verified against the origin")
        for name, dataset in self.record["datasets"].items():
            files = dataset["files"].values()
            rows = sum(b - a for f in files for a, b in f["ranges"])
            parents = _distinct(p for f in files for p in f["parents"])
            servers = sorted({server for p in parents for server in p.get("servers", ())})
            told.append(f"{name}: {len(files)} files, {rows} events")
            if parents:
                told.append(
                    f"  joined with {len(parents)} files of {dataset['parent']}"
                    + (f" on {', '.join(servers)}" if servers else "")
                )
            told += [
                f"  {column}: {about['type']} from {about['origin']} {about['source']}".rstrip()
                for column, about in dataset["columns"].items()
            ]
        return told

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


@dataclass(frozen=True)
class Fetched:
    """One answered request for values.

    Attributes:
        dataset, file: the Dataset, and the local file's UUID.
        start, stop: its rows.
        size_bytes: received; 0 from disk.
        seconds: how long the analysis waited; 0 for what was read ahead.
        ahead, from_disk, resumed, verified: as in ``Report``.
        provenance: ``Reply.provenance``.
    """

    dataset: str
    file: str
    start: int
    stop: int
    size_bytes: int
    seconds: float
    ahead: bool = False
    from_disk: bool = False
    resumed: int = 0
    verified: bool = True
    provenance: Mapping[str, Any] = field(default_factory=dict)


def _note_provenance(
    dataset: dict[str, Any], file: dict[str, Any], told: Mapping[str, Any]
) -> None:
    """Note what the service says of an answer."""
    for part, said in (
        ("parents", told.get("parents", ())),
        ("takes", [told["take"]] if "take" in told else ()),
    ):
        if any(entry not in file[part] for entry in said):
            file[part] = _distinct([*file[part], *said])
    dataset["parent"] = dataset["parent"] or str(told.get("parent", ""))
    for name, digests in told.get("recipes", {}).items():
        known = dataset["recipes"].get(name)
        if known != digests:
            dataset["recipes"][name] = sorted({*(known or ()), *digests})
    for name, inputs in told.get("derived", {}).items():
        dataset.setdefault("derived", {})[name] = list(inputs)


def _of_columns(told: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """What an answer says of some Columns, down to what they are computed from."""
    recipes, derived = told.get("recipes", {}), told.get("derived", {})
    wanted = behind(names, derived)
    return {
        **told,
        "recipes": {n: recipes[n] for n in wanted if n in recipes},
        "derived": {n: derived[n] for n in wanted if n in derived},
    }


class Ledger:
    """This process's Reports, one per service; thread-safe."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Forget everything, locks of other threads too: for a forked child."""
        self._lock = threading.Lock()
        self._records: dict[str, dict[str, Any]] = {}
        self._computed: OrderedDict[str, set[tuple[str, str, str]]] = OrderedDict()

    def _of(self, service: str) -> dict[str, Any]:
        return self._records.setdefault(service, _nothing(service))

    def _dataset(self, service: str, dataset: str) -> dict[str, Any]:
        empty = {"parent": "", "columns": {}, "recipes": {}, "files": {}}
        found: dict[str, Any] = self._of(service)["datasets"].setdefault(dataset, empty)
        return found

    def fetched(self, service: str, what: Fetched) -> None:
        """Note an answer."""
        with self._lock:
            dataset = self._dataset(service, what.dataset)
            file = dataset["files"].setdefault(what.file, _no_file())
            for traffic in (self._of(service)["traffic"], file["traffic"]):
                traffic["requests"] += not what.from_disk
                traffic["bytes"] += what.size_bytes
                traffic["seconds"] += what.seconds
                traffic["ahead"] += what.ahead
                traffic["from_disk"] += what.from_disk
                traffic["resumed"] += what.resumed
                traffic["unverified"] += not what.verified
            file["ranges"] = _union([*file["ranges"], [what.start, what.stop]])
            if not what.ahead:  # else it may never be used
                _note_provenance(dataset, file, what.provenance)

    def used(
        self,
        service: str,
        dataset: str,
        file: str,
        path: str,
        columns: Iterable[Column],
        provenance: Mapping[str, Any],
        run: str = "",
    ) -> None:
        """Note that an analysis was given Columns of a file, which came with one answer.

        What is still in memory may have come long ago: of that answer, only what concerns these
        Columns is noted.

        Args:
            service, dataset: where the Columns are from.
            file, path: UUID and path of the local file.
            columns: what was given.
            provenance: ``Reply.provenance`` of the answer.
            run: names the analysis, for ``computed``.
        """
        columns = list(columns)
        told = _of_columns(provenance, [column.name for column in columns])
        with self._lock:
            about = self._dataset(service, dataset)
            known = about["files"].setdefault(file, _no_file())
            known["path"] = path
            if told.get("take") in known["takes"]:
                told["parents"] = ()  # noted with it
            _note_provenance(about, known, told)
            self._computed_in(run).update(
                (dataset, name, digest)
                for name in told["derived"]
                for digest in told["recipes"].get(name, ())
            )
            for column in columns:
                if column.name not in known["columns"]:
                    known["columns"].append(column.name)
                about["columns"].setdefault(
                    column.name,
                    {"type": column.type, "origin": column.origin, "source": column.source},
                )

    def _computed_in(self, run: str) -> set[tuple[str, str, str]]:
        found = self._computed.setdefault(run, set())
        self._computed.move_to_end(run)
        while len(self._computed) > _MOST_RUNS:
            self._computed.popitem(last=False)
        return found

    def computed(self, run: str) -> set[tuple[str, str, str]]:
        """(Dataset, computed Column, digest of its Recipe) of all that a run used, here so far."""
        with self._lock:
            return set(self._computed.get(run, ()))

    def absorb(self, report: Report) -> None:
        """Add what another process has noted."""
        with self._lock:
            service = report.record["service"]
            self._records[service] = _added(self._of(service), report.record)

    def report(self, service: str, *, clear: bool = False) -> Report:
        """What was noted of a service so far; ``clear``: and begin anew."""
        with self._lock:
            record = json.loads(json.dumps(self._of(service)))
            if clear:
                del self._records[service]
        return Report(record)


LEDGER = Ledger()
os.register_at_fork(after_in_child=LEDGER.renew)
