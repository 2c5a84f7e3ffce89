"""The demo, told: generate, serve, analyse cold and warm, check against a direct read, plot.

Everything that is printed was measured: bytes by relays between the servers, seconds by clocks, and
the result by a second reading of the parents that does not know the service.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from columnservice.demo.analysis import Report, Task
from columnservice.demo.blocks import Sample
from columnservice.demo.generate import Experiment, Pair, generate
from columnservice.demo.isolation import Result, largest_difference
from columnservice.demo.plot import save_plot
from columnservice.demo.reference import reference
from columnservice.demo.show import Run, columns_table, doing, size_of, steps, traffic_table
from columnservice.demo.stage import Stage
from columnservice.errors import ColumnServiceError, ProofMismatch, RequestError, SetupError

DEFAULT_EVENTS, DEFAULT_EVENTS_HL_LHC = 2000, 500
AGREEMENT = 1e-4
"""Relative; the service decodes in single precision and the direct read in double."""

_CHUNK_EVENTS, _CHUNK_EVENTS_HL_LHC = 2000, 250
_LOCAL, _PARENT = "demo_local", "demo_parent"


@dataclass(frozen=True)
class Outcome:
    """What the demo found.

    Attributes:
        runs: cold, warm, and with the service's own cache emptied.
        local_bytes, parent_bytes: sizes of the files.
        worst: where the result differs most from the direct read.
        difference: by how much (relative).
        plot: the picture.
        stop: script that ends what was kept running; None when nothing was.
    """

    runs: tuple[Run, ...]
    local_bytes: int
    parent_bytes: int
    worst: str
    difference: float
    plot: Path
    stop: Path | None


def run(
    experiment: Experiment = "cms",
    events: int | None = None,
    keep: bool = False,
    hl_lhc: bool = False,
    output_dir: Path = Path("demo-output"),
) -> Outcome:
    """Tell the whole story on the terminal.

    Args:
        experiment: whose formats.
        events: in the local file; None takes as many as make a quick demo.
        keep: leave servers and files in place, and say how to use and how to end them.
        hl_lhc: parents of 250 kB and locals of 2 kB an event.
        output_dir: gets the plot and the numbers.

    Raises:
        SetupError: coffea or matplotlib are not installed.
        ProofMismatch: the result is not that of a direct read.
        ColumnServiceError: something did not start or did not answer.
    """
    for package in ("coffea", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise SetupError(
                f"the demo needs {package}.", 'Install it with `pip install "columnservice[demo]"`.'
            )
    if events is None:
        events = DEFAULT_EVENTS_HL_LHC if hl_lhc else DEFAULT_EVENTS
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(
            f"{output_dir} cannot be made: {error.strerror}.", "Choose another --output."
        ) from None
    console = Console()
    with Stage() as stage:
        told = _tell(console, stage, experiment, Sample(events=events, hl_lhc=hl_lhc), output_dir)
        if keep:
            told = Outcome(**{**vars(told), "stop": stage.keep()})
            _say_how_to_go_on(console, stage, experiment, told)
    numbers = output_dir / f"{experiment}.json"
    numbers.write_text(json.dumps(asdict(told), default=str, indent=1) + "\n")
    if not told.difference <= AGREEMENT:
        raise ProofMismatch(
            f"the analysis differs from a direct read of the parents in {told.worst} "
            f"by {told.difference:.2g}."
        )
    return told


def _tell(
    console: Console, stage: Stage, experiment: Experiment, sample: Sample, out: Path
) -> Outcome:
    console.rule(f"columnservice demo: {experiment.upper()}, SYNTHETIC events")
    with steps(console, "generating events") as step:
        pair = generate(experiment, stage.directory, sample, step, stage.parents)
    local_bytes = pair.local.stat().st_size
    parent_bytes = sum(path.stat().st_size for path in pair.parents)
    console.print(
        f"local: {sample.events} events, {size_of(local_bytes)}; "
        f"{len(pair.parents)} parents: {size_of(parent_bytes)}"
    )
    if stage.origin is None:
        console.print(
            "[yellow]no xrootd server programs here: the parents are read from local paths "
            "(scripts/system-packages installs them)"
        )
    with doing(console, "starting origin, XCache and service"):
        stage.open_storage()
        stage.open_service()
    console.print(Text(f"parents: {stage.place}"))
    _register(console, stage, pair)
    runs, result = _analyse(console, stage, pair)
    known = {column.name: column for column in stage.service.columns(_LOCAL)}
    console.print(columns_table(runs[0].columns, known))
    console.print(traffic_table(runs, parent_bytes))
    with doing(console, "reading the parents directly, to check the result"):
        worst, difference = largest_difference(result, reference(pair))
    good = difference <= AGREEMENT
    verdict = "[green]equal to" if good else "[red]DIFFERENT from"
    console.print(
        f"result: {verdict}[/] a direct read of the parents "
        f"(largest relative difference {difference:.1g}, in {worst})"
    )
    plot = out / f"{experiment}.png"
    what = "PF candidates" if experiment == "cms" else "tracks"
    size = ", HL-LHC sizes" if sample.hl_lhc else ""
    save_plot(result, plot, f"{experiment.upper()}-like toy events{size}: {what} from the parent")
    console.print(Text(f"plot: {plot}"))
    return Outcome(tuple(runs), local_bytes, parent_bytes, worst, difference, plot, None)


def _register(console: Console, stage: Stage, pair: Pair) -> None:
    before, started = stage.traffic, time.monotonic()
    for name, kind, files, parent in (
        (_PARENT, pair.parent_format, [stage.url_of(p) for p in pair.parents], None),
        (_LOCAL, pair.local_format, [str(pair.local)], _PARENT),
    ):
        with steps(console, f"registering {name}") as step:
            info = stage.register(name, kind, files, parent, step)
    covered, witnesses = info["coverage"], info["witnesses"]
    agreed = ", ".join(f"{w['name']} {w['agreed']}/{w['compared']}" for w in witnesses or [])
    passed = stage.traffic - before
    read = "" if passed.from_origin is None else f", {size_of(passed.from_origin)} from the origin"
    console.print(
        f"registered in {time.monotonic() - started:.1f} s{read}: "
        f"{covered['with_parent']} of {covered['events']} events have a parent; "
        f"witnesses: {agreed or 'none'}"
    )


def _analyse(console: Console, stage: Stage, pair: Pair) -> tuple[list[Run], Result]:
    chunk = _CHUNK_EVENTS_HL_LHC if pair.sample.hl_lhc else _CHUNK_EVENTS
    task = Task(
        stage.service.url,
        pair.experiment,
        _LOCAL,
        str(pair.local),
        pair.local_tree,
        pair.sample.events,
        chunk,
    )
    runs = []
    results = []
    for name in ("cold", "warm", "warm, service cache emptied"):
        if "emptied" in name:
            if stage.origin is None:
                continue
            stage.forget_pieces()
        before = stage.traffic
        with doing(console, f"analysis with coffea, {name}"):
            result, report = _in_fresh_process(task, stage.directory / "result.npz")
        runs.append(Run(name, report.seconds, stage.traffic - before, report.columns))
        results.append(result)
        console.print(f"analysis, {name}: {report.seconds:.2f} s")
    for one, other in zip(runs[1:], results[1:], strict=True):
        where, difference = largest_difference(other, results[0])
        if difference > 0:
            raise ProofMismatch(f"the {one.name} run differs from the cold one in {where}.")
    return runs, results[0]


def _in_fresh_process(task: Task, result: Path) -> tuple[Result, Report]:
    command = [sys.executable, "-m", "columnservice.demo.analysis"]
    command += [json.dumps(asdict(task)), str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (ours)
    if done.returncode:
        raise ColumnServiceError("the analysis failed:", "\n" + done.stderr)
    report = Report(**json.loads(result.with_suffix(".json").read_text()))
    return Result.load(result), report


def _say_how_to_go_on(console: Console, stage: Stage, experiment: str, told: Outcome) -> None:
    local = stage.directory / "local.root"
    schema, tree = {
        "cms": ("NanoAODSchema", "Events"),
        "atlas": ("PHYSLITESchema", "CollectionTree"),
    }[experiment]
    console.rule("kept running; in a notebook")
    console.print(
        Text(
            f"import columnservice\n"
            f"from coffea.nanoevents import NanoEventsFactory, {schema}\n\n"
            f"service = columnservice.connect({stage.service.url!r})\n"
            f"events = NanoEventsFactory.from_root(\n"
            f"    {{{str(local)!r}: {tree!r}}},\n"
            f"    **service.nanoevents({schema}, dataset={_LOCAL!r}),\n"
            f").events()\n"
        )
    )
    console.print(Text(f"to end it and remove its files: {told.stop}"))
