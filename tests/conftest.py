"""What all tests share: where the experiment files are, and the rule that CI skips nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from columnservice.model import ColumnSet, FileRecord

# No example fails for being slow, and a test run has the same examples every time: whoever changes
# a line is not refused for what chance finds elsewhere. `make soak` looks with chance.
settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "search", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

pytest_plugins = ["tests.support.service", "tests.support.xrootd"]

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The experiment files, in place: ``COLUMNSERVICE_TEST_DATA`` or ``../shared/data``."""
    told = os.environ.get("COLUMNSERVICE_TEST_DATA")
    path = (Path(told) if told else REPOSITORY.parent / "shared" / "data").resolve()
    if not (path / "MANIFEST.md").exists():
        pytest.skip(
            "no experiment files: set COLUMNSERVICE_TEST_DATA to the folder that holds them"
        )
    return path


@pytest.fixture(scope="session")
def indexed(data_dir: Path) -> Callable[[str, str], tuple[FileRecord, ColumnSet]]:
    """What the catalogue is told of a file under the data folder; the same one is looked at once.

    For tests of what is made of it: a MiniAOD takes seconds.
    """
    from columnservice.catalogue.indexing import index_file

    @cache
    def index_once(path: str, name: str) -> tuple[FileRecord, ColumnSet]:
        return index_file(str(data_dir / path), name, {})

    return index_once


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a skip is a failure: what was not tested must not look tested."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
