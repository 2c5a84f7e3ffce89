"""``columnservice dataset …``: register, list, show, check, refresh and remove datasets."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from columnservice.cli import output
from columnservice.cli.remote import Url, ask, follow, path_of
from columnservice.errors import RequestError

if TYPE_CHECKING:
    from columnservice.catalogue.manifest import ManifestEntry

FILES_PER_REQUEST = 10_000
_ADD_EPILOG = (
    "FILE is a path, a root:// URL, a directory, or a quoted pattern. Registering is resumable: "
    "the same command again goes on where it was."
)

app = typer.Typer(help="Register and look after datasets.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@app.command("add", epilog=_ADD_EPILOG)
def add(
    name: Name,
    format_name: Annotated[
        str,
        typer.Option(
            "--format", help="nanoaod, miniaod, aod, physlite or daod.", show_default=False
        ),
    ],
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", show_default=False)] = None,
    parent: Annotated[
        str | None,
        typer.Option(help="Dataset that holds the same events upstream.", show_default=False),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="JSON, JSON lines or CSV of files with size and lumis; nothing is opened.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    url: Url = None,
) -> None:
    """Register a dataset: find its files, read what they hold, compare them with the parent."""
    declared = [] if manifest is None else read_manifest(manifest)
    if not files and not declared:
        raise typer.BadParameter("no file is named", param_hint="FILE or --manifest")
    requests = _requests([absolute(file) for file in files or ()], declared)
    first = {"name": name, "format": format_name, "parent": parent, **next(requests)}
    ask(url, "POST", "/v1/datasets", first)
    for more in requests:
        ask(url, "POST", path_of(name, "/files"), more)
    _watch(url, name)


def absolute(file: str, base: Path | None = None) -> str:
    """A path as the service must see it, which does not know where the user stands.

    Args:
        file: a path or pattern, or a URL, which is left as it is.
        base: what a relative path is relative to; the working directory if not told.
    """
    if "://" in file:
        return file
    return os.path.normpath((base or Path.cwd()) / Path(file).expanduser())


def read_manifest(path: Path) -> list[ManifestEntry]:
    """The files of a manifest; relative paths in it are relative to the manifest.

    Raises:
        RequestError: it cannot be read or is no manifest.
    """
    from columnservice.catalogue.manifest import parse_manifest

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"Cannot read {path}: {error}.", "Name a readable text file.") from None
    base = path.absolute().parent
    return [replace(e, url=absolute(e.url, base)) for e in parse_manifest(text)]


def _requests(files: Sequence[str], declared: Sequence[ManifestEntry]) -> Iterator[dict[str, Any]]:
    """The bodies that register these files, each of bounded length; at least one."""
    from columnservice.catalogue.manifest import entry_to_json

    parts = [("files", _chunks(files)), ("manifest", _chunks([entry_to_json(e) for e in declared]))]
    for key, chunks in parts:
        for chunk in chunks:
            yield {key: chunk}


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, FILES_PER_REQUEST)):
        yield chunk


def _watch(url: str | None, name: str) -> None:
    """Show progress until the service has dealt with all files; exit 1 when one failed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = output.stderr()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    info: dict[str, Any] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)
        for kind, data in follow(url, name):
            if kind == "done":
                info = data
            elif kind == "progress":
                progress.update(task, completed=data["done"], total=data["total"])
                if data["error"]:
                    progress.console.print(f"{data['url']}: {data['error']}", markup=False)
    show_info(info)
    if info["failures"] or info["files"]["pending"]:
        raise typer.Exit(1)


def show_info(info: dict[str, Any]) -> None:
    """What is known of a Dataset, one line each, and a table of the files that cannot be used."""
    parent = f", parent {info['parent']}" if info["parent"] else ""
    files = ", ".join(f"{n} {status}" for status, n in info["files"].items() if n) or "none"
    output.say(f"{info['name']}: {info['format']}{parent}")
    output.say(f"files: {files}")
    output.say(f"events: {info['entries']}")
    if info["parent"]:
        output.say(f"coverage: {coverage_of(info)}")
        output.say(f"witnesses: {witnesses_of(info)}")
        for match in info.get("matches") or ():
            output.say(f"match of {match['local']} with {match['parent']}: {match['told']}")
        if info["duplicates"]:
            output.say(f"duplicates: {info['duplicates']} events have several parents")
        if info.get("local_duplicates"):
            repeats = info["local_duplicates"]
            output.say(f"warning: {repeats} events stand more than once in the local files")
    if info["failures"]:
        rows = [(f["url"], f["error"], f["remedy"]) for f in info["failures"]]
        output.show_table(("file", "error", "remedy"), rows, title="Files that cannot be used")


def coverage_of(info: dict[str, Any]) -> str:
    """How many events have a parent."""
    coverage = info["coverage"]
    if coverage is None:
        return "not known yet"
    return f"{output.share(coverage['with_parent'], coverage['events'])} events have a parent"


def witnesses_of(info: dict[str, Any]) -> str:
    """What was compared to know that both datasets are the same sample; ``none`` is said aloud."""
    if info["witnesses"] is None:
        return "not compared yet"
    return (
        ", ".join(f"{w['name']} {w['agreed']}/{w['compared']}" for w in info["witnesses"]) or "none"
    )


@app.command("list")
def list_datasets(url: Url = None) -> None:
    """List the registered datasets."""
    rows = [
        (
            info["name"],
            info["format"],
            info["parent"] or "-",
            sum(info["files"].values()),
            info["entries"],
            len(info["failures"]),
        )
        for info in ask(url, "GET", "/v1/datasets")["datasets"]
    ]
    output.show_table(("name", "format", "parent", "files", "events", "failed"), rows)


@app.command("show")
def show(name: Name, url: Url = None) -> None:
    """Show a dataset: files, events, coverage, witnesses, and what could not be read."""
    show_info(ask(url, "GET", path_of(name)))


@app.command("check")
def check(name: Name, url: Url = None) -> None:
    """Compare a dataset with its parent anew: coverage, witnesses, duplicates."""
    ask(url, "POST", path_of(name, "/check"))
    _watch(url, name)


@app.command("refresh")
def refresh(name: Name, url: Url = None) -> None:
    """Open every file anew, because some were replaced or updated."""
    ask(url, "POST", path_of(name, "/refresh"))
    _watch(url, name)


@app.command("remove")
def remove(
    name: Name,
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", show_default=False)] = None,
    url: Url = None,
) -> None:
    """Forget a dataset, or only some of its files; the files themselves stay where they are."""
    if not files:
        ask(url, "DELETE", path_of(name))
        output.say(f"{name} is removed; its files were not touched.")
        return
    named = [absolute(file) for file in files]
    info = ask(url, "DELETE", path_of(name, "/files"), {"files": named})
    output.say(f"{len(named)} files of {name} are forgotten; they were not touched.")
    show_info(info)
