"""``columnservice columns``: what a dataset offers, as a table to read or to filter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from columnservice.cli import output
from columnservice.cli.remote import Url, connect

if TYPE_CHECKING:
    from columnservice.model import Column

# As in ``model`` and ``search``, which load NumPy: every command would wait for that.
ORIGINS = Literal["local", "parent", "reference", "derived", "servicex"]
ORDERS = Literal["name", "cost"]
_SHOWN = ("name", "type", "description", "from", "cost/event", "support")


def columns(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", show_default=False)],
    match: Annotated[
        str | None,
        typer.Option(
            help="Only names like this pattern, or with this text in name, description or source.",
            show_default=False,
        ),
    ] = None,
    origin: Annotated[
        ORIGINS | None, typer.Option(help="Only those from there.", show_default=False)
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option(help="Only fields of this collection, or of those like this pattern."),
    ] = None,
    unsupported: Annotated[
        bool, typer.Option("--unsupported", help="Only those that cannot be delivered, with why.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also local columns, and those that cannot be delivered.")
    ] = False,
    sort: Annotated[
        ORDERS | None, typer.Option(help="By name, or by cost: the dearest first.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All that is known, as JSON.")] = False,
    url: Url = None,
) -> None:
    """List the columns that the service adds to a dataset's files.

    The cost is in compressed bytes per event, as in the first file of its layout that was
    registered. What several columns are read from counts for each of them in full.
    """
    from columnservice.search import ColumnFilter, cost_text, source_text
    from columnservice.wire import column_to_json

    wanted = ColumnFilter(
        match,
        origin,
        collection,
        "unsupported" if unsupported else None,
        sort,
    ).choose(connect(url).columns(dataset))
    told = everything or unsupported or origin is not None
    shown = [c for c in wanted if told or is_added(c)]
    if as_json:
        output.say(json.dumps([column_to_json(c) for c in shown], indent=1))
        return
    output.show_table(
        _SHOWN,
        [(c.name, c.type, c.doc, source_text(c), cost_text(c), support_of(c)) for c in shown],
    )
    remark = left_out(wanted, shown)
    if remark:
        output.stderr().print(remark, markup=False)


def is_added(column: Column) -> bool:
    """Whether the service can deliver a Column that the local files lack."""
    return column.origin not in ("local", "reference") and column.support == "ok"


def support_of(column: Column) -> str:
    """Whether a Column can be delivered, and if not, why."""
    return column.support if not column.reason else f"{column.support}: {column.reason}"


def left_out(wanted: Sequence[Column], shown: Sequence[Column]) -> str:
    """What a table without ``--all`` does not show; empty when it shows everything."""
    hidden = [c for c in wanted if c not in set(shown)]
    local = sum(c.origin == "local" for c in hidden)
    if not hidden:
        return ""
    return (
        f"{len(shown)} columns; --all shows {local} local ones and "
        f"{len(hidden) - local} that cannot be delivered, too."
    )
