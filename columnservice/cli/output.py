"""How commands write: tables for people, tab-separated lines for pipes, sizes with units.

Standard output carries results only; progress and errors go to standard error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNITS = ("B", "kB", "MB", "GB", "TB")


def stdout() -> Console:
    """Where results go (made anew, so that a redirected stream is the one that is used)."""
    return Console(highlight=False)


def stderr() -> Console:
    """Where progress and remarks go."""
    return Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line of result, never wrapped and never read as markup."""
    typer.echo(text)


def shown(text: object) -> str:
    """A text in one line, without what would steer the terminal."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def show_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None
) -> None:
    """A table on a terminal; in a pipe one line per row, cells parted by tabs, without header."""
    console = stdout()
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(shown(cell) for cell in row))
        return
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    console.print(table)


def size(count_bytes: float) -> str:
    """A number of bytes for people: ``1.2 GB``."""
    for unit in _UNITS:
        if count_bytes < 1000 or unit == _UNITS[-1]:
            break
        count_bytes /= 1000
    return f"{count_bytes:.0f} {unit}" if unit == "B" else f"{count_bytes:.1f} {unit}"


def share(part: int, whole: int) -> str:
    """``975 of 1000 (97.5 %)``, never rounded up to a 100 % that is none."""
    if not whole:
        return f"{part} of {whole}"
    percent = int(1000 * part / whole) / 10
    return f"{part} of {whole} ({percent:g} %)"
