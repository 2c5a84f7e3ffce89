"""``columnservice cache …``: look at, check and empty the service's cache of columns."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from columnservice.cli import output
from columnservice.cli.remote import Url, ask

app = typer.Typer(help="Look at, check and empty the cache.", no_args_is_help=True)


def _show(document: dict[str, Any]) -> None:
    for name, value in document.items():
        label = name.removesuffix("_bytes").replace("_", " ")
        output.say(f"{label}: {output.size(value) if name.endswith('_bytes') else value}")


@app.command("stats")
def stats(url: Url = None) -> None:
    """Show what the cache holds and how often it helped."""
    _show(ask(url, "GET", "/v1/cache"))


@app.command("verify")
def verify(url: Url = None) -> None:
    """Read every cached column in full; damaged ones are removed and made anew when asked for."""
    _show(ask(url, "POST", "/v1/cache/verify"))


@app.command("evict")
def evict(
    count_bytes: Annotated[
        int | None,
        typer.Option(
            "--bytes", min=0, help="How much to free; everything if not told.", show_default=False
        ),
    ] = None,
    url: Url = None,
) -> None:
    """Remove the columns that were longest unused."""
    document = None if count_bytes is None else {"bytes": count_bytes}
    _show(ask(url, "POST", "/v1/cache/evict", document))
