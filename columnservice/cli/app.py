"""All commands under one roof.

Knows their names; what they do stands in their own rooms.
"""

from __future__ import annotations

from typing import Annotated

import typer

import columnservice
from columnservice.cli import cache, column, columns, dataset, demo, doctor, fetch, serve

app = typer.Typer(
    name="columnservice",
    help="Columns that compact files lack, joined from their parents and proven.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.add_typer(dataset.app, name="dataset")
app.command("columns")(columns.columns)
app.add_typer(column.app, name="column")
app.command("fetch")(fetch.fetch)
app.add_typer(cache.app, name="cache")
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"columnservice {columnservice.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Columns that compact files lack, joined from their parents and proven."""
