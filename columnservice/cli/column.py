"""``columnservice column …``: define columns by expressions over others, list and remove them."""

from __future__ import annotations

from typing import Annotated

import typer

from columnservice.cli import output
from columnservice.cli.remote import Url, ask, connect, path_of

app = typer.Typer(help="Define columns that are computed from others.", no_args_is_help=True)
Dataset = Annotated[str, typer.Argument(metavar="DATASET", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@app.command("define")
def define(
    dataset: Dataset,
    name: Name,
    expression: Annotated[str, typer.Argument(metavar="EXPRESSION", show_default=False)],
    doc: Annotated[str, typer.Option(help="What it is, for readers.", show_default=False)] = "",
    unit: Annotated[str, typer.Option(help="Its unit, such as GeV.", show_default=False)] = "",
    url: Url = None,
) -> None:
    """Define a column, or change one that you defined.

    For example: column define NANO Muon_pfIso "sum(PFCands_pt[dR < 0.4]) / Muon_pt"
    """
    made = connect(url).dataset(dataset).define(name, expression, doc=doc, unit=unit)
    output.say(f"{made.name}: {made.type}, version {made.version}")
    output.say(f"  {made.expression}")


@app.command("list")
def list_columns(dataset: Dataset, url: Url = None) -> None:
    """List the columns that users defined, and those that functions of the operator compute."""
    found = ask(url, "GET", path_of(dataset, "/definitions"))
    rows = []
    for one in (*found["definitions"], *found["functions"]):
        made_by = one.get("expression") or one["source"]
        support = one["support"] if not one["reason"] else f"{one['support']}: {one['reason']}"
        rows.append((one["name"], one["type"], made_by, one["author"], one["version"], support))
    output.show_table(("name", "type", "made by", "author", "version", "support"), rows)
    for one in found["broken"]:
        output.stderr().print(f"{one['source']}: {one['reason']}", markup=False)


@app.command("remove")
def remove(dataset: Dataset, name: Name, url: Url = None) -> None:
    """Remove a column that you defined."""
    connect(url).dataset(dataset).undefine(name)
    output.say(f"Removed {name} of {dataset}.")
