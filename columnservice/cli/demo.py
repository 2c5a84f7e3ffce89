"""``columnservice demo``: the whole story on synthetic files; told in ``columnservice.demo``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Experiment(StrEnum):
    """Whose formats the demo uses."""

    CMS = "cms"
    ATLAS = "atlas"


def demo(
    experiment: Annotated[Experiment, typer.Option(help="Whose formats.")] = Experiment.CMS,
    events: Annotated[
        int | None,
        typer.Option(min=1, help="Events of the local file; few if not told.", show_default=False),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running.")] = False,
    hl_lhc: Annotated[
        bool, typer.Option("--hl-lhc", help="Event sizes as expected for the HL-LHC.")
    ] = False,
    output_dir: Annotated[
        Path, typer.Option("--output", help="Where files, plot and logs go.")
    ] = Path("demo-output"),
) -> None:
    """Make a synthetic pair of datasets, serve it, and run an analysis with remote columns."""
    from columnservice.demo.story import run

    run(
        experiment=experiment.value,
        events=events,
        keep=keep,
        hl_lhc=hl_lhc,
        output_dir=output_dir.absolute(),
    )
