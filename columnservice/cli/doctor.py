"""``columnservice doctor``: looks at an installation and says what is wrong and what to do.

Works without a service and without a home. Knows in which order to look and how to show it; what
is looked at stands in ``installation`` and ``storage``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from columnservice.cli import output
from columnservice.cli.findings import Check, Finding, look, look_at_all, unchecked, wrong
from columnservice.cli.remote import Url
from columnservice.errors import SetupError

if TYPE_CHECKING:
    from columnservice.settings import Settings

HERE_SECONDS = 300.0
SERVERS_SECONDS = 45.0
READS_SECONDS = 90.0
"""Limits of the three rounds; each check in them has a shorter one of its own where it can."""

MARKS = {"fine": "✔", "wrong": "✘", "unchecked": "–"}


def doctor(
    home: Annotated[
        Path | None, typer.Option(help="Directory of all state.", show_default=False)
    ] = None,
    url: Url = None,
) -> None:
    """Check this installation and the storage behind it; exits with 1 if something is wrong."""
    findings = examine(home, url)
    rows = [(MARKS[f.state], f.check, f.found, f.remedy) for f in findings]
    output.show_table(("", "check", "found", "what to do"), rows)
    count = sum(finding.state == "wrong" for finding in findings)
    if count:
        output.stderr().print(f"{count} of {len(findings)} checks found something wrong.")
        raise typer.Exit(1)


def examine(home: Path | None, url: str | None) -> list[Finding]:
    """All findings, in the order in which they are shown."""
    from columnservice.cli.serve import read_settings

    told: dict[str, object] = {} if home is None else {"home": home.expanduser().absolute()}
    try:
        settings = read_settings(told)
    except SetupError as error:
        return [wrong("settings", error.message, error.remedy)]
    from columnservice.cli import installation

    with output.stderr().status("Looking at this host …"):
        here = look_at_all(installation.checks(settings, url), HERE_SECONDS)
    states = {finding.check: finding.state for finding in here}
    if states["XRootD client"] != "fine":
        return [*here, unchecked("storage", "needs the XRootD client")]
    return [*here, *_storage(settings, has_catalogue=states["catalogue"] == "fine")]


def _storage(settings: Settings, has_catalogue: bool) -> list[Finding]:
    from columnservice.cli import storage

    samples: list[storage.Sample] = []
    findings: list[Finding] = []

    def list_samples() -> Finding:
        samples.extend(storage.samples(settings))
        return Finding("datasets", "fine", f"{len(samples)} with readable files")

    if has_catalogue:
        findings += look_at_all([Check("datasets", list_samples)], SERVERS_SECONDS)
    named = storage.servers(settings, samples)
    clocks: dict[str, float] = {}
    with output.stderr().status("Asking the storage …"):
        answers = look_at_all(storage.server_checks(named, clocks), SERVERS_SECONDS)
        down = frozenset(_addresses_of_wrong(named, answers))
        reads = look_at_all(storage.read_checks(settings, samples, down), READS_SECONDS)
    if not named:
        findings.append(unchecked("storage", "no XCache and no origin is configured"))
    findings += answers
    if named:
        findings.append(look(Check("clock", lambda: storage.clock(dict(clocks)))))
    return findings + reads


def _addresses_of_wrong(named: dict[str, str], answers: Sequence[Finding]) -> list[str]:
    pairs = zip(named, answers, strict=True)
    return [address for address, finding in pairs if finding.state == "wrong"]
