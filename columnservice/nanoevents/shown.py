"""What TTrees and RNTuples share when they show remote Columns: which there are, and are wanted.

Knows a local file through its tree; what is fetched, and whether it is right, is decided in
``friend``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from uproot._util import regularize_filter

from columnservice.errors import RequestError, UnsupportedColumn
from columnservice.nanoevents import eager
from columnservice.nanoevents.eager import eager_loading
from columnservice.nanoevents.friend import Friend, LocalFile
from columnservice.nanoevents.layouts import LAYOUTS, Layout
from columnservice.nanoevents.offer import Offer
from columnservice.nanoevents.remotebranch import RemoteBranch


class Shown:
    """Mixed into uproot's trees: the remote Columns of the file that a tree stands in."""

    _columnservice_offer: Offer

    def _columnservice_local(self, layout: Layout) -> LocalFile:
        """The tree's own branches or fields."""
        raise NotImplementedError

    @cached_property
    def columnservice_friend(self: Any) -> Friend | None:
        """The file's remote Columns; None where it is offered none.

        Raises:
            RequestError: the file has no UUID, or the Datasets that hold it are several.
        """
        offer = self._columnservice_offer
        if not any(self.name in layout.trees for layout in LAYOUTS.values()):
            return None
        path = str(self.file.file_path)
        if not self.file.uuid.int and offer.is_named(path):
            raise RequestError(
                f"{path} has no UUID, so it cannot be told from other files.",
                "Write the RNTuple into a TFile (RNTupleWriter::Append).",
            )
        catalogue = offer.catalogue_for(str(self.file.uuid), path)
        if catalogue is None or self.name not in catalogue.layout.trees:
            return None
        return Friend(offer, catalogue, self._columnservice_local(catalogue.layout))

    def __contains__(self: Any, where: Any) -> bool:
        if isinstance(where, str) and where.removeprefix("/") in self.columnservice_branches:
            return True
        return bool(self.columnservice_has_local(where))

    def columnservice_has_local(self: Any, where: Any) -> bool:
        """Whether uproot finds something of its own there."""
        try:
            super().__getitem__(where)  # type: ignore[misc]
        except KeyError:
            return False
        return True

    def columnservice_offered(self: Any, where: str) -> RemoteBranch | None:
        """The Column of a name; None where there is none.

        Raises:
            UnsupportedColumn: there is one that the file cannot be offered, and no local branch.
        """
        name = where.removeprefix("/")
        branch: RemoteBranch | None = self.columnservice_branches.get(name)
        friend = self.columnservice_friend
        if branch is not None or friend is None or name not in friend.refused:
            return branch
        if self.columnservice_has_local(where):
            return None
        raise UnsupportedColumn(
            f"{name} cannot be offered for {self.file.file_path}: {friend.refused[name]}."
        )

    @cached_property
    def columnservice_branches(self: Any) -> dict[str, RemoteBranch]:
        """The Columns as branches, by name."""
        friend = self.columnservice_friend
        if friend is None:
            return {}
        return {name: RemoteBranch(self, c) for name, c in friend.columns.items()}

    def columnservice_wanted(
        self: Any, filter_name: Any, filter_typename: Any, filter_branch: Any
    ) -> Mapping[str, RemoteBranch]:
        """Those that uproot's filters choose; eager mode has them fetched in one request.

        Raises:
            RequestError: eager mode would fetch everything, or too much.
        """
        remote: dict[str, RemoteBranch] = self.columnservice_branches
        if not remote:
            return {}
        loading = eager_loading()
        if loading is not None and self._columnservice_offer.patterns is None:
            eager.refuse_everything()
        name_wanted = regularize_filter(filter_name)
        type_wanted = regularize_filter(filter_typename)
        wanted = {
            name: branch
            for name, branch in remote.items()
            if (name_wanted(name) or name_wanted(f"/{name}"))
            and type_wanted(branch.typename)
            and (filter_branch is None or filter_branch(branch))
        }
        if loading is not None and loading.forms:
            limit_bytes = self._columnservice_offer.eager_limit_bytes
            eager.load(self.columnservice_friend, list(wanted), loading, limit_bytes)
        return wanted
