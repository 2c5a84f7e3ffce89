"""What the tests of several rooms of the reader watch."""

from __future__ import annotations

import pytest

from columnservice.reader import progress


@pytest.fixture
def ticks():
    """One entry for each sign of progress that was told."""
    found = []
    progress.watch(lambda: found.append(1))
    yield found
    progress.watch(None)
