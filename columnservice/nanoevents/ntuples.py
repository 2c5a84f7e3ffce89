"""Virtual friend fields: an uproot RNTuple that shows remote Columns after its own fields.

The counterpart of ``branches`` for RNTuples, of whose interface uproot and coffea use less. ATLAS
writes colons in field names where its TTrees have dots; fields are found by either. Knows uproot's
fields; what is fetched, and whether it is right, is decided in ``friend``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray
from uproot._util import no_filter, unset

from columnservice.errors import RequestError, UnsupportedColumn
from columnservice.nanoevents.answers import refuse_everything
from columnservice.nanoevents.layouts import Kind, Layout
from columnservice.nanoevents.localtree import counts_of, kind_of_form, objects_of
from columnservice.nanoevents.offer import Offer
from columnservice.nanoevents.remotebranch import entry_range
from columnservice.nanoevents.shown import Shown

RNTUPLE = "ROOT::RNTuple"
_STORE = "_collection"
"""Begins the names of the fields in which ROOT's importer stores lists; coffea skips them."""


def dotted(name: str) -> str:
    """A field's name as a TTree would have it."""
    return name.replace(":", ".")


def ntuple_with_columns(offer: Offer) -> Any:
    """uproot's RNTuple with remote Columns."""
    base = uproot.classes[RNTUPLE]
    names = {"_columnservice_offer": offer, "__module__": base.__module__}
    return type(base.__name__, (_ColumnNTuple, base), names)


class _ColumnNTuple(Shown):
    """Mixed into uproot's RNTuple: its own fields first, then the Columns of the service."""

    def _columnservice_local(self: Any, layout: Layout) -> LocalNTuple:
        return LocalNTuple(self, self._columnservice_fields, layout.group_of)

    @cached_property
    def _columnservice_fields(self: Any) -> dict[str, Any]:
        """The top fields by their dotted names."""
        return {dotted(f.name): f for f in self.fields if not f.name.startswith(_STORE)}

    def iteritems(
        self: Any,
        *,
        filter_name: Any = no_filter,
        filter_typename: Any = no_filter,
        filter_field: Any = no_filter,
        filter_branch: Any = unset,
        **how: Any,
    ) -> Iterator[tuple[str, Any]]:
        """(name, field) pairs, remote ones last; arguments as in uproot."""
        chosen = filter_field if filter_branch is unset else filter_branch
        chosen = None if chosen is no_filter else chosen
        yield from super().iteritems(  # type: ignore[misc]
            filter_name=filter_name, filter_typename=filter_typename, filter_field=chosen, **how
        )
        yield from self.columnservice_wanted(filter_name, filter_typename, chosen).items()

    def __getitem__(self: Any, where: Any) -> Any:
        if isinstance(where, str):
            name = where.removeprefix("/")
            own = self._columnservice_fields.get(name)
            if own is not None:
                return own
            branch = self.columnservice_branches.get(name)
            if branch is not None:
                return branch
            friend = self.columnservice_friend
            if friend is not None and name in friend.refused and not self._has_local(where):
                raise UnsupportedColumn(
                    f"{name} cannot be offered for {self.file.file_path}: {friend.refused[name]}."
                )
        return super().__getitem__(where)  # type: ignore[misc]

    def __contains__(self: Any, where: Any) -> bool:
        if isinstance(where, str):
            name = where.removeprefix("/")
            if name in self._columnservice_fields or name in self.columnservice_branches:
                return True
        return bool(self._has_local(where))

    def _has_local(self: Any, where: Any) -> bool:
        try:
            super().__getitem__(where)  # type: ignore[misc]
        except KeyError:
            return False
        return True

    def to_akform(
        self: Any,
        *,
        filter_name: Any = no_filter,
        filter_typename: Any = no_filter,
        filter_field: Any = no_filter,
        filter_branch: Any = unset,
        ak_add_doc: Any = False,
    ) -> Any:
        """uproot's Form and path, the Form with those remote Columns that the filters choose."""
        chosen = filter_field if filter_branch is unset else filter_branch
        form, path = super().to_akform(  # type: ignore[misc]
            filter_name=filter_name,
            filter_typename=filter_typename,
            filter_field=chosen,
            ak_add_doc=_documented(ak_add_doc),
        )
        wanted = self.columnservice_wanted(
            filter_name, filter_typename, None if chosen is no_filter else chosen
        )
        if not wanted:
            return form, path
        forms = [branch.interpretation.awkward_form(None) for branch in wanted.values()]
        whole = ak.forms.RecordForm(
            [*form.contents, *forms],
            [*form.fields, *wanted],
            parameters=form.parameters,
            form_key=form.form_key,
        )
        return whole, path

    def arrays(
        self: Any,
        expressions: Any = None,
        cut: Any = None,
        *,
        filter_name: Any = no_filter,
        filter_typename: Any = no_filter,
        filter_field: Any = no_filter,
        filter_branch: Any = unset,
        entry_start: int | None = None,
        entry_stop: int | None = None,
        library: Any = "ak",
        ak_add_doc: Any = False,
        how: Any = None,
        virtual: bool = False,
        **more: Any,
    ) -> Any:
        """Many fields at once, local and remote; all remote Columns come in one request.

        Raises:
            RequestError: neither names nor a filter nor ``columns=`` say which are wanted, or
                remote Columns are wanted in a form that RNTuples do not give.
        """
        chosen = filter_field if filter_branch is unset else filter_branch
        chosen = None if chosen is no_filter else chosen
        names = filter_name if expressions is None else expressions
        asked = names not in (no_filter, None) or filter_typename is not no_filter or chosen
        everything = not asked and not virtual and self._columnservice_offer.patterns is None
        if everything and self.columnservice_branches:
            refuse_everything()
        wanted = {} if virtual else self.columnservice_wanted(names, filter_typename, chosen)

        def is_local(field: Any) -> bool:
            return field.name not in wanted and (chosen is None or bool(chosen(field)))

        own = super().arrays(  # type: ignore[misc]
            None,
            cut,
            filter_name=names,
            filter_typename=filter_typename,
            filter_field=is_local,
            entry_start=entry_start,
            entry_stop=entry_stop,
            library=library,
            ak_add_doc=_documented(ak_add_doc),
            how=how,
            virtual=virtual,
            **more,
        )
        if not wanted:
            return own
        if library != "ak" or how not in (None, dict):
            raise RequestError(
                f"Remote columns of an RNTuple cannot be given with library={library!r} and "
                f"how={how!r}.",
                "Ask with library='ak', one field at a time, or open a TTree.",
            )
        start, stop = entry_range(self.num_entries, entry_start, entry_stop)
        found = self.columnservice_friend.read(list(wanted), start, stop, explicit=True)
        remote = {
            name: branch.present(found[name], start, library, ak_add_doc)
            for name, branch in wanted.items()
        }
        if how is dict:
            return {**own, **remote}
        return ak.zip({**{f: own[f] for f in own.fields}, **remote}, depth_limit=1)

    def common_entry_offsets(self: Any) -> list[int]:
        """Where clusters begin, as TTrees tell it: coffea's ``preprocess`` aligns steps to them."""
        starts = {int(cluster.num_first_entry) for cluster in self.cluster_summaries}
        return sorted(starts | {0, int(self.num_entries)})


def _documented(ak_add_doc: Any) -> Any:
    """What a field is asked for where coffea, in dask mode, asks for what a branch has."""
    if not isinstance(ak_add_doc, dict):
        return ak_add_doc
    return {k: "description" if v == "title" else v for k, v in ak_add_doc.items()}


class LocalNTuple:
    """An RNTuple's own fields, as ``friend.LocalFile``.

    Attributes:
        uuid, path: of the file.
        entries: events of the RNTuple.
    """

    def __init__(
        self, ntuple: Any, fields: Mapping[str, Any], group_of: Callable[[str], str]
    ) -> None:
        self.uuid, self.path = str(ntuple.file.uuid), str(ntuple.file.file_path)
        self.entries = int(ntuple.num_entries)
        self._ntuple, self._fields, self._group_of = ntuple, fields, group_of

    @cached_property
    def _groups(self) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for name in self._fields:
            groups.setdefault(self._group_of(name), []).append(name)
        return groups

    def _field(self, name: str) -> Any:
        """A field, or the member of a store by the store's name: ``EventInfoAux.runNumber``."""
        if name in self._fields:
            return self._fields[name]
        store, _, member = name.partition(".")
        return self._fields[f"{store}."][member]

    def names(self) -> frozenset[str]:
        """Names of all top fields, and of the members of ATLAS's stores."""
        members = [
            f"{n}{f.name}" for n, top in self._fields.items() if n.endswith(".") for f in top
        ]
        return frozenset([*self._fields, *members])

    def kinds(self, group: str) -> Mapping[str, Kind]:
        """The readable fields of a group."""
        found = {name: _kind(self._fields[name]) for name in self._groups.get(group, ())}
        return {name: kind for name, kind in found.items() if kind is not None}

    def values(self, branch: str, start: int, stop: int) -> NDArray[Any]:
        """A field with one number per event."""
        values: NDArray[Any] = self._field(branch).array(
            entry_start=start, entry_stop=stop, library="np"
        )
        return values

    def objects(self, branch: str, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Offsets and values of a field with a list of numbers per event."""
        return objects_of(self._field(branch).array(entry_start=start, entry_stop=stop))

    def counts(self, branch: str, start: int, stop: int) -> NDArray[np.int64]:
        """Number of objects per event in a jagged field."""
        return counts_of(self._field(branch).array(entry_start=start, entry_stop=stop))


def _kind(field: Any) -> Kind | None:
    """What coffea makes of a local field; None for what it cannot."""
    try:
        form, _ = field.to_akform()
    except (NotImplementedError, RuntimeError):
        return None
    return kind_of_form(form.contents[0])
