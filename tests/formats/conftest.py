"""Files opened once per session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.formats.support import Opened


@pytest.fixture(scope="session")
def opened_file(data_dir: Path) -> Callable[[str, str], Opened]:
    """Opens a file under the data folder with a format; the same one is opened once."""

    @cache
    def open_once(path: str, name: str) -> Opened:
        return Opened(data_dir / path, name)

    return open_once


@pytest.fixture(scope="session")
def phys14(opened_file) -> Opened:
    """A real MiniAOD of 2015: ten events, everything split."""
    return opened_file("cms/miniaodsim_phys14_10ev.root", "miniaod")


@pytest.fixture(scope="session")
def mini2018(opened_file) -> Opened:
    """A MiniAOD of 2018 without events: the modern layout."""
    return opened_file("cms/miniaodsim_2018_schema_0ev.root", "miniaod")
