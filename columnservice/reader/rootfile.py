"""One replica of a ROOT file, opened: its identity checked, its event tree by name.

Knows nothing of other replicas, of baskets, of columns.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import uproot

from columnservice.errors import DamagedFile, FileChanged
from columnservice.formats.format import event_tree
from columnservice.formats.ntuple import NTuple
from columnservice.model import FileIdentity, FileLocation
from columnservice.reader.faults import DAMAGED
from columnservice.reader.heldreads import HeldFile, HeldXRootD
from columnservice.reader.progress import tick
from columnservice.reader.replicas import configure_xrootd, is_remote, redact

configure_xrootd()

STAT_TIMEOUT_SECONDS = 20


@dataclass
class OpenTree:
    """An open file and, by name, its event tree.

    Attributes:
        location: what was asked for.
        url: the replica that answered.
        directory: uproot's view of the file.
        identity, mtime_seconds: what the storage and the file itself say.
        opened_seconds: monotonic time of opening.
    """

    location: FileLocation
    url: str
    directory: Any
    identity: FileIdentity
    mtime_seconds: int
    opened_seconds: float = field(default_factory=time.monotonic)

    @cached_property
    def tree(self) -> Any:
        """The event tree named by the location, read once: a TTree of uproot, or our NTuple."""
        found = event_tree(self.directory, self.location.tree)
        if found is None:
            raise KeyError(f"no tree {self.location.tree!r}")
        if isinstance(found, NTuple):
            self._read_page_lists(found)
        tick()
        return found

    def _read_page_lists(self, ntuple: NTuple) -> None:
        """Have all lists of pages, which uproot reads one by one, in one vector read."""
        self.source.hold(ntuple.page_lists)
        try:
            _ = ntuple.cluster_starts
        finally:
            self.source.release()

    @property
    def source(self) -> Any:
        """The uproot source, with ``hold`` and ``release``."""
        return self.directory.file.source

    def close(self) -> None:
        """Close the file."""
        _close(self.directory)


def _close(directory: Any) -> None:
    # A server that is gone does not matter any more, nor does a file that XRootD has closed.
    with contextlib.suppress(OSError, ValueError):
        directory.close()


def stat(directory: Any, url: str) -> tuple[int, int]:
    """Size in bytes and modification time in seconds, as the storage tells them.

    Raises:
        OSError: it does not tell.
    """
    if not is_remote(url):
        status = os.stat(url)  # noqa: PTH116 (a path as text)
        return status.st_size, int(status.st_mtime)
    file = directory.file.source.resource.file
    status, info = file.stat(timeout=STAT_TIMEOUT_SECONDS)
    if status.error:
        raise OSError(f"XRootD error: {status.message}")
    return int(info.size), int(info.modtime)


def open_replica(location: FileLocation, url: str) -> OpenTree:
    """Open one replica of a file and check that it is the file that was registered.

    Raises:
        FileChanged: its UUID or size is not the registered one.
        DamagedFile: it is shorter than its own header says.
        whatever uproot and XRootD raise: it cannot be opened; ``faults`` tells what it means.
    """
    handler = HeldXRootD if is_remote(url) else HeldFile
    directory = None
    try:
        directory = uproot.open({url: None}, handler=handler, object_cache=None, array_cache=None)
        size_bytes, mtime_seconds = stat(directory, url)
        identity = FileIdentity(str(directory.file.uuid), size_bytes)
        _demand_whole(location, url, size_bytes, int(directory.file.fEND))
        _demand_registered(location, url, identity)
    except BaseException:
        if directory is not None:
            _close(directory)
        raise
    tick()
    return OpenTree(location, url, directory, identity, mtime_seconds)


def _demand_registered(location: FileLocation, url: str, found: FileIdentity) -> None:
    known = location.identity
    if known is None or found == known:
        return
    raise FileChanged(
        f"{location.lfn} at {redact(url)} is not the file that was registered: "
        f"UUID {found.uuid} and {found.size_bytes} bytes instead of "
        f"{known.uuid} and {known.size_bytes}."
    )


def _demand_whole(location: FileLocation, url: str, size_bytes: int, end_bytes: int) -> None:
    if size_bytes < end_bytes:
        raise DamagedFile(
            f"{location.lfn} at {redact(url)} is truncated (damaged): "
            f"it has {size_bytes} of {end_bytes} bytes.",
            DAMAGED.remedy,
        )
