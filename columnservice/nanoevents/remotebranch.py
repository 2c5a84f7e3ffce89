"""A remote Column as a branch, by the part of TBranch's interface that uproot and coffea read.

Knows one Column of one tree; what is fetched, and whether it is right, is decided in ``friend``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from uproot.interpretation.library import _regularize_library

from columnservice.model import Column, Ragged
from columnservice.nanoevents.arrays import interpretation, to_library, typename

MARK = "[columnservice: "
"""Begins the tail of a remote branch's title, which says where the Column comes from."""

_BYTES_PER_LIST = 10
"""Assumed items per list where uproot wants to know a branch's size before it is read."""


def entry_range(entries: int, start: int | None, stop: int | None) -> tuple[int, int]:
    """Entries from ``start`` to ``stop`` as uproot takes them: like the bounds of a slice."""
    first, last, _ = slice(start, stop).indices(entries)
    return first, max(first, last)


class RemoteBranch:
    """A Column as a branch: the part of TBranch's interface that uproot and coffea read."""

    branches = ()
    aliases: Mapping[str, str] = {}
    num_baskets = 0
    compressed_bytes = 0

    def __init__(self, tree: Any, column: Column) -> None:
        self.tree = self.parent = tree
        self.column = column
        self.name = column.name
        self.title = f"{column.doc} {MARK}{column.source or column.origin}]".lstrip()
        self.typename = typename(column)
        self.interpretation = interpretation(column)

    def __repr__(self) -> str:
        return f"<RemoteBranch {self.name!r}: {self.column.type}>"

    @property
    def file(self) -> Any:
        """The local file."""
        return self.tree.file

    @property
    def num_entries(self) -> int:
        """Entries of the local tree."""
        return int(self.tree.num_entries)

    @property
    def entry_offsets(self) -> list[int]:
        """As if all entries stood in one basket."""
        return [0, self.num_entries]

    @property
    def uncompressed_bytes(self) -> int:
        """A guess, without asking the service."""
        item = sum(np.dtype(m.dtype).itemsize for m in self.column.members)
        return int(self.num_entries * item * _BYTES_PER_LIST**self.column.depth)

    def basket_uncompressed_bytes(self, _: int) -> int:
        """The guess for the one basket."""
        return self.uncompressed_bytes

    @cached_property
    def cache_key(self) -> str:
        """Names this branch among all branches of all files."""
        return f"{self.tree.cache_key}:columnservice:{self.name}"

    @property
    def object_path(self) -> str:
        """Path of the tree and name of the Column."""
        return f"{self.tree.object_path}:{self.name}"

    @property
    def field_id(self) -> str:
        """Names this branch among the fields of an RNTuple, whose own ones have numbers."""
        return f"columnservice:{self.name}"

    def iteritems(self, **_: Any) -> Iterator[tuple[str, Any]]:
        """It has no branches of its own."""
        return iter(())

    def keys(self, **_: Any) -> list[str]:
        """It has no branches of its own."""
        return []

    def array(
        self,
        interpretation: Any = None,  # noqa: ARG002 (a Column has one only)
        entry_start: int | None = None,
        entry_stop: int | None = None,
        *,
        library: Any = "ak",
        ak_add_doc: Any = False,
        **_: Any,
    ) -> Any:
        """The Column's values for a range of entries, fetched and proven; arguments as in uproot.

        Raises:
            MissingParent, ProofMismatch, CountsMismatch: the events do not match the parent's.
            RequestError, TransportError: as the service says.
        """
        start, stop = entry_range(self.num_entries, entry_start, entry_stop)
        friend = self.tree.columnservice_friend
        ragged = friend.read([self.name], start, stop, explicit=False)[self.name]
        return self.present(ragged, start, library, ak_add_doc)

    def present(self, ragged: Ragged, start: int, library: Any, ak_add_doc: Any) -> Any:
        """Values as one of uproot's libraries shows them, with documentation where asked for."""
        array = to_library(self.column, ragged, _regularize_library(library), self, start)
        if isinstance(array, ak.Array) and ak_add_doc:
            wanted = ak_add_doc if isinstance(ak_add_doc, dict) else {"__doc__": "title"}
            for parameter, attribute in wanted.items():
                array.layout.parameters[parameter] = getattr(self, attribute)
        return array
