"""How the demo looks on a terminal: what is going on, and what was measured, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from columnservice.demo.stage import Traffic
from columnservice.model import Column


@dataclass(frozen=True)
class Run:
    """One run of the analysis.

    Attributes:
        name: cold, warm, ….
        seconds: of the analysis, without the imports of its process.
        traffic: bytes that arrived meanwhile over each hop.
        columns: remote columns that it touched.
    """

    name: str
    seconds: float
    traffic: Traffic
    columns: list[str]


def columns_table(names: Sequence[str], known: Mapping[str, Column]) -> Table:
    """What columns were touched, and what they are made from."""
    table = Table(title="Remote columns that the analysis touched", title_justify="left")
    for heading in ("column", "type", "made from (parent)"):
        table.add_column(heading, overflow="fold")
    for name in names:
        column = known[name]
        table.add_row(*(Text(cell) for cell in (name, column.type, column.source)))
    return table


def traffic_table(runs: Sequence[Run], parent_bytes: int) -> Table:
    """What every run took, from where."""
    table = Table(
        title="What was fetched, from where (measured by relays)",
        caption=f"the parents hold {size_of(parent_bytes)}; every run is a fresh process",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("run")
    for heading in ("seconds", "analysis ← service", "service ← XCache", "XCache ← origin"):
        table.add_column(heading, justify="right")
    for one in runs:
        hops = (one.traffic.from_service, one.traffic.from_xcache, one.traffic.from_origin)
        table.add_row(one.name, f"{one.seconds:.2f}", *(size_of(hop) for hop in hops))
    return table


def size_of(number: int | None) -> str:
    """Bytes for people; a dash where there are none to count."""
    if number is None:
        return "-"
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


@contextmanager
def doing(console: Console, what: str) -> Iterator[None]:
    """Say what is going on: a spinner on a terminal, a line elsewhere."""
    if not console.is_terminal:
        console.print(f"{what} …")
        yield
        return
    with console.status(what):
        yield


@contextmanager
def steps(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """The same with steps, which the caller reports as (done, of)."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    if not console.is_terminal:
        console.print(f"{what} …")
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(what)
        yield lambda done, of: progress.update(task, completed=done, total=of)
