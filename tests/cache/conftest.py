"""A cache for tests of it in one process."""

from __future__ import annotations

import pytest

from columnservice.cache import PieceCache


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "home" / "cache"


@pytest.fixture
def cache(directory):
    """A cache that uses every means at once: no batching of touches, no trust in held maps."""
    opened = PieceCache(directory, 1_000_000, recheck_seconds=0, touch_entries=1)
    yield opened
    opened.close()
