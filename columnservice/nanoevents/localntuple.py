"""A local RNTuple as ``friend`` sees it: its own fields only, read by uproot.

Knows uproot's fields; nothing of remote Columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from columnservice.nanoevents.layouts import Kind
from columnservice.nanoevents.localtree import counts_of, kind_of_form, objects_of


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
