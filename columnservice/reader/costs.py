"""What a Column costs to read: the compressed bytes of its branches or fields, from the open file.

Knows where a file keeps its baskets and pages, and reads none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from columnservice.formats.discovery import Readable
from columnservice.formats.ntuple import Field, NTuple
from columnservice.model import OfferedColumn
from columnservice.reader.pages import pages_of

DIGITS = 2


def with_costs(offered: Sequence[OfferedColumn], tree: Any) -> tuple[OfferedColumn, ...]:
    """Columns with their ``cost_bytes``: compressed bytes per event of all that they are read from.

    What several Columns are read from counts for each of them in full: whoever asks for all of
    them together reads it once. Columns that are not read have no cost, nor has any in a tree
    without events.

    Args:
        offered: the Columns of the tree.
        tree: a TTree of uproot, or our NTuple.
    """
    entries = int(tree.num_entries)
    if not entries:
        return tuple(offered)
    sizes = _sizes(tree)

    def cost(one: OfferedColumn) -> OfferedColumn:
        how = one.recipe or one.unlisted
        paths = {read.path for read in how.reads} if how else set()
        if not paths or not paths <= sizes.keys():
            return one
        each = round(sum(sizes[path] for path in paths) / entries, DIGITS)
        return replace(one, column=replace(one.column, cost_bytes=each))

    return tuple(cost(one) for one in offered)


def _sizes(tree: Any) -> Mapping[str, int]:
    """Compressed bytes by path, of branches with those below them, or of readable fields."""
    if isinstance(tree, NTuple):
        return _field_sizes(tree)
    found: dict[str, int] = {}
    for path, branch in tree.iteritems(recursive=True, full_paths=True):
        own = 0 if branch.branches else int(branch.member("fZipBytes"))
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            above = "/".join(parts[:depth])
            found[above] = found.get(above, 0) + own
    return found


def _field_sizes(ntuple: NTuple) -> dict[str, int]:
    columns: dict[int, int] = {}

    def size(field: int, axes: Any) -> int:
        if field not in columns:
            clusters = range(len(ntuple.cluster_starts) - 1)
            columns[field] = sum(pages_of(ntuple, c, field, axes).size_bytes for c in clusters)
        return columns[field]

    def whole(field: Field) -> int:
        stored = {leaf.field: field.axes for leaf in field.leaves}
        for depth, axis in enumerate(field.axes):
            if axis.field is not None:
                stored[axis.field] = field.axes[:depth]
        return sum(size(number, axes) for number, axes in stored.items())

    fields = ntuple.fields.items()
    return {path: whole(field) for path, field in fields if isinstance(field.found, Readable)}
