"""The program as a whole: errors in one line, exit codes, a quick start."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from columnservice.cli import columns
from columnservice.errors import UnknownDataset
from columnservice.model import Origin
from columnservice.search import Order

pytestmark = pytest.mark.fast


def test_an_error_is_one_line_on_stderr_with_its_remedy(run, fake):
    fake.sends("GET", "/v1/datasets/nan", UnknownDataset("No dataset 'nan'; nearest: nano."))
    outcome = run("dataset", "show", "nan")
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err == (
        "error: No dataset 'nan'; nearest: nano. "
        "`columnservice dataset list` shows the registered datasets.\n"
    )


def test_a_service_that_does_not_run_is_one_line(run):
    outcome = run("dataset", "list", "--url", "http://127.0.0.1:9")
    assert outcome.code == 1
    assert outcome.err.startswith("error: No answer from the column service at http://127.0.0.1:9")
    assert "columnservice serve" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["dataset", "add", "nano"],
        ["dataset", "add", "nano", "--format", "nanoaod"],
        ["dataset", "add", "nano", "--format", "nanoaod", "--manifest", "/no/such/file"],
        ["fetch", "f.root", "--dataset", "d", "--columns", "a"],
        ["fetch", "f.root", "--dataset", "d", "--columns", "a", "-o", "x.root", "--start", "-1"],
        ["serve", "--port", "65536"],
        ["nonsense"],
    ],
)
def test_wrong_usage_exits_with_2(run, arguments):
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""


def test_the_version_is_told(run):
    assert run("--version").out.startswith("columnservice ")


def test_choices_of_the_command_line_are_those_of_the_service():
    assert get_args(columns.ORIGINS) == get_args(Origin)
    assert get_args(columns.ORDERS) == get_args(Order)


def test_starting_loads_nothing_heavy():
    heavy = {"pyarrow", "numpy", "sqlalchemy", "uvicorn", "fastapi", "uproot", "awkward", "numba"}
    code = (
        "import sys\n"
        "from columnservice.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print(sorted(set(sys.modules) & {heavy!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
