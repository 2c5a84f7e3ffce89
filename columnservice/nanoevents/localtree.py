"""A local TTree as ``friend`` sees it: its own branches only, read by uproot.

Knows uproot's interpretations; nothing of remote Columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from uproot.interpretation.identify import UnknownInterpretation
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype
from uproot.interpretation.objects import AsStridedObjects, CannotBeAwkward

from columnservice.nanoevents.layouts import Kind


class LocalTree:
    """A tree's own branches, as ``friend.LocalFile``.

    Attributes:
        uuid, path: of the file.
        entries: events of the tree.
    """

    def __init__(
        self,
        uuid: str,
        path: str,
        entries: int,
        branches: Mapping[str, Any],
        group_of: Callable[[str], str],
    ) -> None:
        self.uuid, self.path, self.entries = uuid, path, entries
        self._by_path, self._group_of = branches, group_of

    @cached_property
    def _by_name(self) -> dict[str, Any]:
        """Branches by path and, where that is free, by the last part of it."""
        short = {path.rpartition("/")[2]: branch for path, branch in self._by_path.items()}
        return {**short, **self._by_path}

    @cached_property
    def _groups(self) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for path in self._by_path:
            groups.setdefault(self._group_of(path), []).append(path)
        return groups

    def names(self) -> frozenset[str]:
        """Names and full paths of all branches, at any depth."""
        return frozenset(self._by_name)

    def kinds(self, group: str) -> Mapping[str, Kind]:
        """The readable branches of a group, simple lists first."""
        paths = sorted(
            self._groups.get(group, ()),
            key=lambda path: not isinstance(self._by_path[path].interpretation, AsJagged),
        )
        return {p: kind for p in paths if (kind := _kind(self._by_path[p])) is not None}

    def values(self, branch: str, start: int, stop: int) -> NDArray[Any]:
        """A branch with one number per event."""
        values: NDArray[Any] = self._by_name[branch].array(
            entry_start=start, entry_stop=stop, library="np"
        )
        return values

    def objects(self, branch: str, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Offsets and values of a branch with a list of numbers per event."""
        return objects_of(self._by_name[branch].array(entry_start=start, entry_stop=stop))

    def counts(self, branch: str, start: int, stop: int) -> NDArray[np.int64]:
        """Number of objects per event in a jagged branch."""
        return counts_of(self._by_name[branch].array(entry_start=start, entry_stop=stop))


def objects_of(array: ak.Array) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Offsets and values of a list of numbers per event."""
    offsets = np.zeros(len(array) + 1, dtype=np.int64)
    np.cumsum(np.asarray(ak.num(array, axis=1)), out=offsets[1:])
    return offsets, ak.to_numpy(ak.flatten(array, axis=1))


def counts_of(array: ak.Array) -> NDArray[np.int64]:
    """Number of objects per event."""
    while array.fields:
        array = array[array.fields[0]]
    return np.asarray(ak.num(array, axis=1), dtype=np.int64)


def _kind(branch: Any) -> Kind | None:
    """What coffea makes of a local branch; None for what it skips."""
    told = branch.interpretation
    if isinstance(told, UnknownInterpretation):
        return None
    if isinstance(told, AsDtype) and not isinstance(told, AsStridedObjects):
        return "value"
    if isinstance(told, AsJagged):
        return "list"
    try:
        return kind_of_form(told.awkward_form(branch.file))
    except (CannotBeAwkward, UnknownInterpretation):
        return None


def kind_of_form(form: ak.forms.Form) -> Kind | None:
    """What coffea makes of a Form; None for what it skips."""
    if isinstance(form, ak.forms.ListOffsetForm):
        return "list"
    if not isinstance(form, ak.forms.RecordForm):
        return "value"
    if not form.fields:
        return None
    lists = all(isinstance(content, ak.forms.ListOffsetForm) for content in form.contents)
    return "list" if lists else "record"
