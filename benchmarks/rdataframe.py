"""RDataFrame with the parents as indexed friend, in a Python of its own that has ROOT.

ROOT is large and an alpha version on PyPI, so it is optional: ``COLUMNSERVICE_BENCH_ROOT`` names a
Python that has it. Knows how to start it, ask it and get its answer; ``rdataframe_user`` is what
its user wrote.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from benchmarks.truth import branch_of

SETTING = "COLUMNSERVICE_BENCH_ROOT"
USER = Path(__file__).with_name("rdataframe_user.py")
DECODERS: Mapping[str, str] = {
    "PFCands_pt": "half",
    "PFCands_mass": "half",
    "PFCands_eta": "eta",
}
"""Of Columns that are not codes as they are; phi is not among those that scripts are asked for."""
END_SECONDS = 30


class RootFailed(Exception):
    """The process with ROOT ended; says what it said last."""


@dataclass(frozen=True)
class Root:
    """A running Python with ROOT."""

    process: subprocess.Popen[str]
    log: Path

    def ask(self, told: Mapping[str, Any]) -> None:
        """Have something done, and wait for it.

        Raises:
            RootFailed: it ended instead.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(dict(told)) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            said = self.log.read_text(errors="replace").strip().splitlines()[-5:]
            raise RootFailed(f"{USER.name} ended: {' | '.join(said)}")


@dataclass(frozen=True)
class Read:
    """What was read, still in ROOT's memory."""

    root: Root
    columns: tuple[str, ...]

    def arrays(self) -> ak.Array:
        """The Columns side by side."""
        with tempfile.TemporaryDirectory() as folder:
            self.root.ask({"save": folder})
            return ak.zip(
                {
                    name: ak.unflatten(
                        np.load(f"{folder}/{name}.items.npy"),
                        np.load(f"{folder}/{name}.counts.npy"),
                    )
                    for name in self.columns
                },
                depth_limit=1,
            )


def started(stack: ExitStack, folder: Path, user: Path = USER) -> Root | None:
    """A Python with ROOT, which ends with the stack; None where none is named.

    Args:
        stack: ends it.
        folder: for what it says.
        user: the script that it runs.
    """
    python = os.environ.get(SETTING)
    return stack.enter_context(_running(python, folder / "root.log", user)) if python else None


@contextmanager
def _running(python: str, log: Path, user: Path) -> Iterator[Root]:
    with (
        log.open("w") as said,
        subprocess.Popen(
            [python, str(user)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as process,
    ):
        try:
            yield Root(process, log)
        finally:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it has ended already
                process.stdin.close()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def script(root: Root, local: Path, urls: Sequence[str], columns: Sequence[str]) -> Read:
    """Columns in local order, as ``scripts.script`` reads them with uproot.

    Args:
        root: where ROOT is.
        local: the file whose events are wanted.
        urls: of the parents.
        columns: names.
    """
    told = [[name, branch_of(name), DECODERS.get(name, "code")] for name in columns]
    root.ask({"local": str(local), "parents": list(urls), "columns": told})
    return Read(root, tuple(columns))
