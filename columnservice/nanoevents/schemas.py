"""The user's coffea schema, taught what remote collections are.

Remote branches are known by the mark in their title. Local collections keep the behaviour that
they have without the service: only groups that are remote as a whole get a mixin, and no remote
field may displace a local one. Knows coffea's naming rules (2026.9); neither files nor the service.
"""

from __future__ import annotations

import copyreg
import inspect
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import awkward as ak
import numpy as np
from coffea.nanoevents.methods import nanoaod, physlite
from coffea.nanoevents.schemas import BaseSchema, NanoAODSchema, PFNanoAODSchema, PHYSLITESchema

from columnservice.errors import RequestError
from columnservice.nanoevents.events import SERVICE, with_report
from columnservice.nanoevents.layouts import nanoaod_group, physlite_group
from columnservice.nanoevents.remotebranch import MARK

Form = dict[str, Any]

_NANOAOD_MIXINS = {
    **PFNanoAODSchema.mixins,
    "LostTracks": "PFCand",
    "PackedGenPart": "PtEtaPhiMCollection",
}
"""Collections that the service adds → what they are, where they have the fields for it."""

_INTO = {"pfCandIdx": "PFCands"}
"""Field of one remote index per object → the collection of the events that it points into: the
service gives places in the local one where there is one."""

_VECTOR_FIELDS = {"pt", "eta", "phi", "mass"}
_PHYSLITE_VECTOR_FIELDS = {"pt", "eta", "phi", "m"}
_MADE_BY_PHYSLITE = {"TrackParticle": {"p", "pt", "tau"}, "Muon": {"m"}}
"""Mixin → fields that coffea computes, whatever branches there are."""


class _SchemaWithColumns(type):
    """Type of the schemas made here, so that they pickle as what they were made from."""

    columnservice_url: str


def _reduce_schema(schema: Any) -> tuple[Any, ...]:
    return (schema_for, (schema.__bases__[1], schema.columnservice_url))


copyreg.pickle(_SchemaWithColumns, _reduce_schema)


def schema_for(base: Any, url: str = "") -> Any:
    """A schema class like ``base`` that also builds the collections that the service adds.

    Args:
        base: a coffea schema class, also a user's own, or a classmethod of one such as
            ``NanoAODSchema.v6``. Classes that are neither NanoAOD's nor PHYSLITE's build no
            collections from names; they are only taught to report.
        url: of the service, which the events' Form keeps for ``columnservice_report()``.

    Raises:
        RequestError: it is not a schema.
    """
    if inspect.ismethod(base) and isinstance(base.__self__, type):
        return getattr(schema_for(base.__self__, url), base.__name__)
    if not isinstance(base, type):
        raise RequestError(
            f"schema={base!r} is not a schema class.", "Pass a class, such as NanoAODSchema."
        )
    if isinstance(base, _SchemaWithColumns):
        return base if url in ("", base.columnservice_url) else _extended(base.__bases__[1], url)
    return _extended(base, url)


@lru_cache(maxsize=64)
def _extended(base: type, url: str) -> Any:
    """A subclass of a schema, the same for the same service."""
    known = ((NanoAODSchema, _NanoAOD), (PHYSLITESchema, _Physlite), (BaseSchema, _Reporting))
    for schema, extension in known:
        if issubclass(base, schema):
            about = {"__module__": base.__module__, "__doc__": base.__doc__}
            names = {**about, "columnservice_url": url}
            return _SchemaWithColumns(base.__name__, (extension, base), names)
    return base


def _is_remote(form: Form) -> bool:
    """Whether a branch's Form carries the mark of the service in its documentation."""
    while form.get("class", "").startswith("ListOffset"):
        form = form["content"]
    return MARK in (form.get("parameters") or {}).get("__doc__", "")


def _is_flat(form: Form) -> bool:
    """Whether a branch's Form is one number per object."""
    is_list = str(form.get("class", "")).startswith("ListOffset")
    return is_list and str(form["content"].get("class", "")).startswith("Numpy")


@lru_cache(maxsize=4096)
def _accepts(experiment: str, mixin: str, fields: frozenset[str]) -> bool:
    """Whether coffea lets records with these fields be a ``mixin``: vectors refuse some sets."""
    behavior = {"nanoaod": nanoaod, "physlite": physlite}[experiment].behavior
    contents = [ak.contents.NumpyArray(np.zeros(0, np.float32)) for _ in fields]
    layout = ak.contents.RecordArray(contents, list(fields), parameters={"__record__": mixin})
    try:
        ak.Array(layout, behavior=behavior)
    except ValueError:
        return False
    return True


def _agreeable(
    experiment: str, mixin: str | None, local: frozenset[str], remote: Iterable[str]
) -> set[str]:
    """The remote fields that a local collection can take and remain what it is."""
    if mixin is None or not _accepts(experiment, mixin, local):
        return set(remote)
    taken = local
    for field in remote:
        if _accepts(experiment, mixin, taken | {field}):
            taken = taken | {field}
    return set(taken - local)


def _groups(names: Iterable[str], group_of: Any) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(group_of(name), []).append(name)
    return groups


class _Reporting:
    """Extends every schema: its events know the service and can tell what they were given."""

    columnservice_url: str
    _form: Form

    def __init__(self, base_form: Form, *more: Any, **options: Any) -> None:
        super().__init__(base_form, *more, **options)  # type: ignore[call-arg]
        if self.columnservice_url:
            self._form["parameters"][SERVICE] = self.columnservice_url

    @classmethod
    def behavior(cls) -> dict[Any, Any]:
        """The schema's behavior, whose events have ``columnservice_report()``."""
        return with_report(super().behavior())  # type: ignore[misc]


class _NanoAOD(_Reporting):
    """Extends NanoAODSchema and what users derive from it."""

    mixins: Mapping[str, str]
    cross_references: dict[str, str]
    full_like_items: Mapping[str, Any]
    rename_items: Mapping[str, str]
    alias_items: Mapping[str, str]
    all_cross_references: Mapping[str, str]

    def _build_collections(
        self, field_names: list[str], input_contents: list[Form]
    ) -> tuple[list[str], list[Form]]:
        forms = dict(zip(field_names, input_contents, strict=True))
        remote = {name for name, form in forms.items() if _is_remote(form)}
        local = forms.keys() - remote
        if remote:
            for name in self._displacing(local, remote):
                del forms[name]
            remote &= forms.keys()
            self._name_what_is_new(local, remote)
            self._refer(local, remote, forms)
        names, contents = super()._build_collections(list(forms), list(forms.values()))  # type: ignore[misc]
        # A counter without its collection is an event scalar; it stays one although its
        # collection has now come from afar.
        for group in set(_groups(remote, nanoaod_group)) - {nanoaod_group(name) for name in local}:
            if f"n{group}" in local:
                names.append(f"n{group}")
                contents.append(forms[f"n{group}"])
        return names, contents

    def _displacing(self, local: set[str], remote: set[str]) -> set[str]:
        """Remote branches under names that the schema gives, or that would spoil a collection."""
        present = {nanoaod_group(name) for name in local}
        given = {*self.full_like_items, *self.rename_items, *self.alias_items}
        for name, source in (*self.rename_items.items(), *self.alias_items.items()):
            if nanoaod_group(name) in present:
                given.add(source)
        displacing = remote & given
        made = _groups(self.full_like_items, nanoaod_group)
        theirs, ours = _groups(sorted(local), nanoaod_group), _groups(remote, nanoaod_group)
        for group in ours.keys() & theirs.keys():
            head = len(group) + 1
            fields = frozenset(n[head:] for n in (*theirs[group], *made.get(group, ())))
            offered = sorted(n[head:] for n in ours[group] if n not in displacing)
            taken = _agreeable("nanoaod", self.mixins.get(group), fields, offered)
            displacing |= {f"{group}_{f}" for f in offered if f not in taken}
        return displacing

    def _name_what_is_new(self, local: set[str], remote: set[str]) -> None:
        """Give collections that are remote as a whole the richest mixin that they can carry."""
        present = {nanoaod_group(name) for name in local}
        made = _groups(self.full_like_items, nanoaod_group)
        mixins = dict(self.mixins)
        for group, members in _groups(remote, nanoaod_group).items():
            if group in present:
                continue
            fields = frozenset(
                n[len(group) + 1 :] for n in (*members, *made.get(group, ())) if n != group
            )
            wanted = [m for m in (mixins.get(group), _NANOAOD_MIXINS.get(group)) if m]
            if fields >= _VECTOR_FIELDS:
                wanted.append("PtEtaPhiMCollection")
            fitting = (m for m in wanted if _accepts("nanoaod", m, fields))
            mixins[group] = next(fitting, "NanoCollection")
        self.mixins = mixins

    def _refer(self, local: set[str], remote: set[str], forms: Mapping[str, Form]) -> None:
        """Follow index branches to and from remote collections, without new warnings."""
        references = dict(self.cross_references)
        everything = local | remote
        groups = {name[1:] for name in everything if name.startswith("n")}
        for index in everything:
            target = PFNanoAODSchema.all_cross_references.get(index) or _target(index, groups)
            joins = index in remote or (target is not None and f"n{target}" in remote)
            if target in groups and joins:
                references.setdefault(index, str(target))
            into = _INTO.get(index.partition("_")[2])
            if into in groups and index in remote and _is_flat(forms[index]):
                references.setdefault(index, str(into))
        data = not any(nanoaod_group(name) == "GenPart" for name in local)
        for index, target in self.cross_references.items():
            complete = index in everything and target in groups
            silent = data and target.startswith("Gen")
            if not complete and (silent or index in remote):
                del references[index]
        self.cross_references = references


def _target(index: str, groups: set[str]) -> str | None:
    """The collection that an index branch points into: ``Jet_pFCandsIdx`` → ``PFCands``,
    ``Muon_slimmedMuonsIdx`` → ``slimmedMuons``."""
    _, _, field = index.partition("_")
    head, found, _ = field.partition("Idx")
    if not found or not head:
        return None
    names = (head, head[0].upper() + head[1:], head[0].upper() + head[1:] + "s", head.upper())
    return next((name for name in names if name in groups), None)


class _Physlite(_Reporting):
    """Extends PHYSLITESchema and what users derive from it."""

    mixins: Mapping[str, str]

    def _build_collections(self, branch_forms: dict[str, Form]) -> dict[str, Form]:
        # ATLAS writes colons into the names of RNTuple fields, where coffea looks for dots.
        forms = {name.replace(":", "."): form for name, form in branch_forms.items()}
        remote = {name for name, form in forms.items() if _is_remote(form)}
        if remote:
            local = _groups(forms.keys() - remote, physlite_group)
            self.mixins = dict(self.mixins)
            for group, members in _groups(sorted(remote), physlite_group).items():
                if group in local:
                    fields = frozenset(map(_field, local[group]))
                    for name in self._displacing(group, fields, members):
                        del forms[name]
                else:
                    self._name(group, frozenset(map(_field, members)))
        contents: dict[str, Form] = super()._build_collections(forms)  # type: ignore[misc]
        return contents

    def _displacing(self, group: str, local: frozenset[str], members: list[str]) -> set[str]:
        """Remote branches that a local container cannot take and remain what it is."""
        mixin = self.mixins.get(group)
        made = _MADE_BY_PHYSLITE.get(mixin or "", set())
        offered = {_field(name): name for name in members}
        free = [field for field in offered if field not in made]
        taken = _agreeable("physlite", mixin, local | made, free)
        return {name for field, name in offered.items() if field not in taken}

    def _name(self, group: str, fields: frozenset[str]) -> None:
        """Give a container that is remote as a whole the richest mixin that it can carry."""
        mixin = self.mixins.get(group)
        wanted = [mixin] if mixin else []
        if fields >= _PHYSLITE_VECTOR_FIELDS:
            wanted.append("Particle")
        for candidate in wanted:
            needed = {"TrackParticle": {"qOverP", "theta"}, "Muon": {"pt"}}.get(candidate, set())
            made = _MADE_BY_PHYSLITE.get(candidate, set())
            if fields >= needed and _accepts("physlite", candidate, fields | made):
                self.mixins = {**self.mixins, group: candidate}
                return
        self.mixins = {**self.mixins, group: "NanoCollection"}


def _field(branch: str) -> str:
    """``AnalysisMuonsAuxDyn.pt`` → ``pt``."""
    return branch.rpartition("/")[2].partition(".")[2]
