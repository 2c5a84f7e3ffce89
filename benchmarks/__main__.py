"""Measure side by side what users would do otherwise; see benchmarks/README.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from benchmarks import registry, report
from benchmarks.measure import Options, Row, Target
from benchmarks.running import RoomFailed, run

RESULTS = Path(__file__).parent / "results"


def parser() -> argparse.ArgumentParser:
    """The command line; every size of the registry is an option."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("names", nargs="*", metavar="NAME", help="rows: join-natural, 'warm-*', …")
    made.add_argument("--list", action="store_true", help="name all rows and their targets")
    made.add_argument("--json", type=Path, metavar="OUT", help="write the rows of this run there")
    made.add_argument("--results", type=Path, metavar="DIR", help="instead of benchmarks/results")
    made.add_argument("--quick", action="store_true", help="tiny inputs: does it work at all?")
    made.add_argument("--pairs", type=int, help="pairs to measure (11)")
    made.add_argument("--patience", type=float, default=45.0, help="seconds per row, about")
    sizes = made.add_argument_group("sizes")
    for name, size in registry.sizes().items():
        flag = f"--{name.replace('_', '-')}"
        sizes.add_argument(flag, type=int, metavar="N", help=f"{size.help} ({size.normal})")
    return made


def options_of(told: argparse.Namespace, targets: Sequence[Target]) -> Options:
    """What rooms are told, from the command line."""
    sizes = {
        name: next(n for n in (getattr(told, name), size.quick if told.quick else size.normal) if n)
        for name, size in registry.sizes().items()
    }
    return Options(
        targets={t.name: t for t in targets},
        sizes=sizes,
        pairs=told.pairs or (2 if told.quick else 11),
        patience_seconds=told.patience,
        quick=told.quick,
    )


def show(console: Console, row: Row) -> None:
    """One line for a finished row."""
    sign, colour = ("≥" if row.direction == ">=" else "≤"), ("green" if row.met else "red")
    console.print(
        f"[{colour}]{row.name:32}[/] {row.ratio:8.3g} ({row.low:.3g} to {row.high:.3g}), "
        f"target {sign} {row.target:g}; {row.seconds:.3g} s, peer {row.peer_seconds:.3g} s",
        highlight=False,
        soft_wrap=True,
    )
    if row.note:
        console.print(f"  [dim]{row.note}[/]", highlight=False, soft_wrap=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 where every row was measured, whether it meets its target or not."""
    told = parser().parse_args(words)
    console = Console()
    try:
        chosen = registry.selected(told.names)
    except LookupError as error:
        console.print(f"No row is called {error}; --list names them.", highlight=False)
        return 2
    if told.list:
        for target in (t for targets in chosen.values() for t in targets):
            console.print(f"{target.name:32} {target.direction} {target.target:g}")
        return 0
    rows: list[Row] = []
    failed = 0
    columns: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    # Drawn seldom: what is measured shares the processor.
    with Progress(*columns, console=console, transient=True, refresh_per_second=1) as progress:
        total = sum(len(targets) for targets in chosen.values())
        bar = progress.add_task("", total=total)
        for room in registry.ROOMS:
            targets = chosen.get(room.module, ())
            if not targets:
                continue
            progress.update(bar, description=room.module)
            try:
                for row in run(
                    room,
                    options_of(told, targets),
                    lambda text: progress.update(bar, description=text),
                ):
                    rows.append(row)
                    show(console, row)
                    progress.advance(bar)
            except RoomFailed as error:
                failed += 1
                console.print(f"[red]{room.module} failed[/]\n{error}", highlight=False)
    if told.json:
        told.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if rows and (told.results or not told.quick):
        order = [t.name for room in registry.ROOMS for t in room.targets]
        report.write(told.results or RESULTS, rows, order)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
