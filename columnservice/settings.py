"""All settings of the service, read in one place from ``COLUMNSERVICE_*`` and the command line.

Knows names, defaults and units; opens no file and no connection.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MEGABYTE = 1_000_000


def default_home() -> Path:
    """The XDG data directory of the project, where all state lives unless told otherwise."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "columnservice"


class Settings(BaseSettings):
    """Settings of one service process; every field can be set as ``COLUMNSERVICE_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="COLUMNSERVICE_", frozen=True)

    home: Path = Field(default_factory=default_home)
    host: str = "127.0.0.1"
    port: int = 8000
    database_url: str = ""
    """SQLAlchemy URL; empty means SQLite under the home."""

    allowed_roots: tuple[Path, ...] = Field(default_factory=lambda: (Path.home(), Path.cwd()))
    """Directories below which local files may be registered."""
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    """Hosts whose ``root://`` URLs may be registered (``host`` or ``host:port``)."""
    xcaches: dict[str, str] = Field(default_factory=dict)
    """Origin prefix → XCache prefix: ``{"root://origin:1094": "root://xcache:1094"}``."""

    workers: int = Field(default=2, ge=1)
    """Processes that read and join."""
    partition_events: int = Field(default=20_000, ge=1)
    """Target size of a Partition."""
    cache_limit_bytes: int = Field(default=20_000 * MEGABYTE, gt=0)
    index_limit_bytes: int = Field(default=20_000 * MEGABYTE, gt=0)
    """Size of EventIndexes and TakeIndexes (8 and 13 bytes an event); longest unused go first."""
    open_files: int = Field(default=64, ge=1)
    """Parent files kept open per worker."""
    deadline_seconds: float = Field(default=60.0, gt=0)
    """A worker that reports no progress for so long is ended; above the XRootD client's limits."""
    queue_limit: int = Field(default=256, ge=1)
    """Partitions that may wait to be made; beyond that, requests for more are turned away."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """How long running replies may go on after SIGTERM."""
    revalidate_seconds: float = Field(default=300.0, gt=0)
    """How long an origin's word is believed that a parent file is unchanged."""
    revalidate_wait_seconds: float = Field(default=5.0, gt=0)
    """How long a request waits for origins to confirm that; then it is served as unverified."""
    upload_limit_bytes: int = Field(default=512 * MEGABYTE, gt=0)
    """Size of the EventKeys that a client may upload for one file (16 bytes an event)."""
    witness_events: int = Field(default=1000, ge=1)
    """Events compared per local file when a dataset is registered with a parent."""
    match_events: int = Field(default=300, ge=0)
    """Events per local file on which objects are matched, to tell how well that goes; 0: none."""

    @property
    def catalogue_url(self) -> str:
        """The SQLAlchemy URL of the catalogue."""
        return self.database_url or f"sqlite:///{self.home / 'catalogue.sqlite'}"

    @property
    def cache_dir(self) -> Path:
        """Directory of cached Pieces."""
        return self.home / "cache"

    @property
    def index_dir(self) -> Path:
        """Directory of EventIndexes and TakeIndexes."""
        return self.home / "indexes"

    @property
    def kernel_cache_dir(self) -> Path:
        """Directory of compiled kernels."""
        return self.home / "kernels"
