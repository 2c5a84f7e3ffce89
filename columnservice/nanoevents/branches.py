"""Virtual friend branches: an uproot TTree that shows remote Columns after its own branches.

``{"custom_classes": ColumnClasses(offer)}`` is a public option of ``uproot.open``, ``iterate``,
``concatenate`` and ``dask``, and of all of coffea that opens files. Local branches are never
touched: what uproot knows of them is asked of uproot. Knows uproot; what is fetched, and whether it
is right, is decided in ``friend``.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import uproot
from uproot._util import no_filter

from columnservice.nanoevents.answers import Answers, refuse_everything, remote_names
from columnservice.nanoevents.layouts import Layout
from columnservice.nanoevents.localtree import LocalTree
from columnservice.nanoevents.ntuples import RNTUPLE, ntuple_with_columns
from columnservice.nanoevents.offer import Offer
from columnservice.nanoevents.remotebranch import entry_range
from columnservice.nanoevents.shown import Shown


class ColumnClasses(MutableMapping[str, Any]):
    """uproot's classes with ``TTree`` and RNTuple replaced; pickles as its offer."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._own = {"TTree": _with_columns(offer), RNTUPLE: ntuple_with_columns(offer)}

    def __reduce__(self) -> tuple[Any, ...]:
        return (ColumnClasses, (self._offer,))

    def __dask_tokenize__(self) -> Any:
        # With the offer's key: under the same arguments columns may be made otherwise tomorrow.
        return (type(self).__name__, self._offer.service.url, self._offer.key)

    def __repr__(self) -> str:
        return f"<uproot's classes with columns of {self._offer.service.url}>"

    def __getitem__(self, name: str) -> Any:
        return self._own.get(name) or uproot.classes[name]

    def __setitem__(self, name: str, value: Any) -> None:
        uproot.classes[name] = value

    def __delitem__(self, name: str) -> None:
        del uproot.classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(uproot.classes)

    def __len__(self) -> int:
        return len(uproot.classes)


def _with_columns(offer: Offer) -> Any:
    """uproot's dispatcher over versions of TTree, each with remote Columns."""
    base = uproot.classes["TTree"]

    def extend(version: Any) -> Any:
        names = {"_columnservice_offer": offer, "__module__": version.__module__}
        return type(version.__name__, (_ColumnTree, version), names)

    def new_class(cls: Any, file: Any, version: int) -> Any:
        found = base.new_class(file, version)
        if issubclass(found, uproot.behaviors.TTree.TTree):
            found = cls.known_versions[version] = extend(found)
        return found

    names = {
        "known_versions": {v: extend(c) for v, c in base.known_versions.items()},
        "new_class": classmethod(new_class),
        "__module__": base.__module__,
    }
    return type(base.__name__, (base,), names)


class _ColumnTree(Shown):
    """Mixed into uproot's TTree: its own branches first, then the Columns of the service."""

    def _columnservice_local(self: Any, layout: Layout) -> LocalTree:
        own = dict(super().iteritems())  # type: ignore[misc]
        uuid, path = str(self.file.uuid), str(self.file.file_path)
        return LocalTree(uuid, path, int(self.num_entries), own, layout.group_of)

    def iteritems(
        self: Any,
        *,
        filter_name: Any = no_filter,
        filter_typename: Any = no_filter,
        filter_branch: Any = no_filter,
        **how: Any,
    ) -> Iterator[tuple[str, Any]]:
        """(name, branch) pairs, remote ones last; arguments as in uproot."""
        yield from super().iteritems(  # type: ignore[misc]
            filter_name=filter_name,
            filter_typename=filter_typename,
            filter_branch=filter_branch,
            **how,
        )
        yield from self.columnservice_wanted(filter_name, filter_typename, filter_branch).items()

    def __getitem__(self: Any, where: Any) -> Any:
        if isinstance(where, str) and where not in self._lookup:
            branch = self.columnservice_offered(where)
            if branch is not None:
                return branch
        return super().__getitem__(where)  # type: ignore[misc]

    def arrays(
        self: Any,
        expressions: Any = None,
        cut: str | None = None,
        *,
        filter_name: Any = no_filter,
        filter_typename: Any = no_filter,
        filter_branch: Any = no_filter,
        entry_start: int | None = None,
        entry_stop: int | None = None,
        array_cache: Any = "inherit",
        library: Any = "ak",
        ak_add_doc: Any = False,
        virtual: bool = False,
        **how: Any,
    ) -> Any:
        """Many branches at once, local and remote, with everything that uproot offers.

        All remote Columns come in one request.

        Raises:
            RequestError: neither expressions nor a filter nor ``columns=`` say which are wanted.
        """
        filters = {
            "filter_name": filter_name,
            "filter_typename": filter_typename,
            "filter_branch": filter_branch,
        }
        if not virtual and self.columnservice_branches:
            unfiltered = all(f in (no_filter, None) for f in filters.values())
            if expressions is None and unfiltered and self._columnservice_offer.patterns is None:
                refuse_everything()
            array_cache = Answers(self, array_cache, library, ak_add_doc, entry_start, entry_stop)
            array_cache.expect(remote_names(self, expressions, cut, filters, how.get("aliases")))
        return super().arrays(  # type: ignore[misc]
            expressions,
            cut,
            **filters,
            entry_start=entry_start,
            entry_stop=entry_stop,
            array_cache=array_cache,
            library=library,
            ak_add_doc=ak_add_doc,
            virtual=virtual,
            **how,
        )

    def iterate(
        self: Any,
        expressions: Any = None,
        cut: str | None = None,
        *,
        entry_start: int | None = None,
        entry_stop: int | None = None,
        step_size: Any = "100 MB",
        report: bool = False,
        **how: Any,
    ) -> Iterator[Any]:
        """``arrays`` range by range; arguments as in uproot."""
        filters = {
            k: how.get(k, no_filter) for k in ("filter_name", "filter_typename", "filter_branch")
        }
        if not remote_names(self, expressions, cut, filters, how.get("aliases")):
            yield from super().iterate(  # type: ignore[misc]
                expressions,
                cut,
                entry_start=entry_start,
                entry_stop=entry_stop,
                step_size=step_size,
                report=report,
                **how,
            )
            return
        start, stop = entry_range(self.num_entries, entry_start, entry_stop)
        selection = {**filters, "entry_start": start, "entry_stop": stop}
        if "aliases" in how:
            selection["aliases"] = how["aliases"]
        step = (
            int(step_size)
            if uproot._util.isint(step_size)
            else self.num_entries_for(step_size, expressions, cut, **selection)
        )
        for first in range(start, stop, step):
            last = min(first + step, stop)
            arrays = self.arrays(expressions, cut, entry_start=first, entry_stop=last, **how)
            if report:
                yield arrays, uproot.behaviors.TBranch.Report(self, first, last)
            else:
                yield arrays
