"""``columnservice columns``: what a dataset offers, as a table to read or to filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from columnservice.cli import output
from columnservice.cli.remote import Url, connect

if TYPE_CHECKING:
    from columnservice.model import Column


def columns(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", show_default=False)],
    match: Annotated[
        str | None,
        typer.Option(
            help="Only names like this pattern, or with this text in name or description.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also local columns, and those that cannot be delivered.")
    ] = False,
    url: Url = None,
) -> None:
    """List the columns that the service adds to a dataset's files."""
    found = connect(url).columns(dataset)
    wanted = found if match is None else found.search(match)
    shown = [c for c in wanted if everything or is_added(c)]
    output.show_table(
        ("name", "type", "description", "origin", "support"),
        [(c.name, c.type, c.doc, c.origin, support_of(c)) for c in shown],
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
