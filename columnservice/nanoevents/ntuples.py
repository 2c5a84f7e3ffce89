"""Virtual friend fields: an uproot RNTuple that shows remote Columns after its own fields.

The counterpart of ``branches`` for RNTuples, of whose interface uproot and coffea use less. ATLAS
writes colons in field names where its TTrees have dots; fields are found by either. Knows uproot's
fields; what is fetched, and whether it is right, is decided in ``friend``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import awkward as ak
import uproot
from uproot._util import no_filter, regularize_filter, unset

from columnservice.client.makings import some_of
from columnservice.errors import RequestError
from columnservice.nanoevents.answers import refuse_everything
from columnservice.nanoevents.layouts import Layout
from columnservice.nanoevents.localntuple import LocalNTuple
from columnservice.nanoevents.offer import Offer
from columnservice.nanoevents.remotebranch import RemoteBranch, entry_range
from columnservice.nanoevents.shown import Shown

RNTUPLE = "ROOT::RNTuple"
_WORDS = re.compile(r"[\w.]+")
"""The parts of a formula that may be names of Columns."""

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
            own = self._columnservice_fields.get(where.removeprefix("/"))
            if own is not None:
                return own
            branch = self.columnservice_offered(where)
            if branch is not None:
                return branch
        return super().__getitem__(where)  # type: ignore[misc]

    def columnservice_has_local(self: Any, where: Any) -> bool:
        """Whether uproot finds something of its own there, or there is a field of that name."""
        is_field = isinstance(where, str) and where.removeprefix("/") in self._columnservice_fields
        return is_field or bool(super().columnservice_has_local(where))

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
        forms = [_keyed(branch.interpretation.awkward_form(None)) for branch in wanted.values()]
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
                remote Columns are wanted in a form, or in formulas, that RNTuples do not give.
        """
        chosen = filter_field if filter_branch is unset else filter_branch
        chosen = None if chosen is no_filter else chosen
        names = filter_name if expressions is None else expressions
        asked = names not in (no_filter, None) or filter_typename is not no_filter or chosen
        everything = not asked and not virtual and self._columnservice_offer.patterns is None
        if everything and self.columnservice_branches:
            refuse_everything()
        wanted = self.columnservice_wanted(names, filter_typename, chosen)
        self._columnservice_demand_possible(
            wanted, expressions, cut, more.get("aliases"), virtual=virtual
        )

        def is_local(field: Any) -> bool:
            own = not isinstance(field, RemoteBranch)
            return own and (chosen is None or bool(chosen(field)))

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

    def _columnservice_demand_possible(
        self: Any,
        wanted: Mapping[str, RemoteBranch],
        expressions: Any,
        cut: Any,
        aliases: Any,
        *,
        virtual: bool,
    ) -> None:
        """Refuse what would leave remote Columns, or a condition on them, out in silence.

        uproot computes no formulas over RNTuples: it takes expressions for names and skips ``cut``.

        Raises:
            RequestError: that was asked for.
        """
        if virtual and wanted:
            raise RequestError(
                "Remote columns of an RNTuple are not given with virtual=True: "
                f"{some_of([*wanted])}.",
                "Choose local fields only, with filter_name=…; or leave virtual=True out.",
            )
        listed = [expressions] if isinstance(expressions, str) else expressions or ()
        texts = [text for text in listed if isinstance(text, str)]
        names = (*self._columnservice_fields, *self.columnservice_branches)
        formulas = [text for text in texts if not any(map(regularize_filter(text), names))]
        formulas += [cut] if isinstance(cut, str) else []
        formulas += [text for text in (aliases or {}).values() if isinstance(text, str)]
        named = self.columnservice_branches.keys() & set(_WORDS.findall(" ".join(formulas)))
        if named or (wanted and (cut is not None or aliases)):
            raise RequestError(
                "Cuts, aliases and formulas are not computed for RNTuples with remote columns.",
                "Ask for the columns by name, and select and compute with awkward.",
            )

    def iterate(
        self: Any,
        expressions: Any = None,
        cut: Any = None,
        *,
        filter_name: Any = no_filter,
        filter_typename: Any = no_filter,
        step_size: Any = "100 MB",
        **how: Any,
    ) -> Iterator[Any]:
        """``arrays`` range by range; arguments as in uproot."""
        names = filter_name if expressions is None else expressions
        chosen = how.get("filter_field", how.get("filter_branch"))
        chosen = None if chosen in (no_filter, unset) else chosen
        wanted = self.columnservice_wanted(names, filter_typename, chosen)
        self._columnservice_demand_possible(
            wanted, expressions, cut, how.get("aliases"), virtual=bool(how.get("virtual"))
        )
        if wanted and not uproot._util.isint(step_size):
            size_bytes = uproot._util.memory_size(step_size)
            guessed = sum(branch.uncompressed_bytes for branch in wanted.values())
            step_size = max(1, int(size_bytes * self.num_entries // max(guessed, 1)))
        yield from super().iterate(  # type: ignore[misc]
            None,
            cut,
            filter_name=names,
            filter_typename=filter_typename,
            step_size=step_size,
            **how,
        )

    def common_entry_offsets(self: Any) -> list[int]:
        """Where clusters begin, as TTrees tell it: coffea's ``preprocess`` aligns steps to them."""
        starts = {int(cluster.num_first_entry) for cluster in self.cluster_summaries}
        return sorted(starts | {0, int(self.num_entries)})


def _keyed(form: Any) -> Any:
    """A Form with keys, which uproot looks for columns of its own in."""
    document = form.to_dict()

    def name(node: dict[str, Any]) -> None:
        node["form_key"] = "remote"
        for below in (*node.get("contents", ()), node.get("content")):
            if isinstance(below, dict):
                name(below)

    name(document)
    return ak.forms.from_dict(document)


def _documented(ak_add_doc: Any) -> Any:
    """What a field is asked for where coffea, in dask mode, asks for what a branch has."""
    if not isinstance(ak_add_doc, dict):
        return ak_add_doc
    return {k: "description" if v == "title" else v for k, v in ak_add_doc.items()}
