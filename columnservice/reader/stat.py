"""Size and modification time of a file at its storage, without opening it as ROOT.

Knows paths and XRootD URLs; nothing of what was registered.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from columnservice.reader.replicas import configure_xrootd, is_remote, redact

STAT_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class FileStat:
    """What a storage says of a file."""

    size_bytes: int
    mtime_seconds: int


def stat_file(url: str) -> FileStat:
    """Ask the storage that a URL names, around any cache.

    Raises:
        OSError: it does not answer, or has no such file.
    """
    if not is_remote(url):
        status = os.stat(url)  # noqa: PTH116 (a path as text)
        return FileStat(status.st_size, int(status.st_mtime))
    configure_xrootd()
    from XRootD import client

    parts = urlsplit(url)
    address = f"{parts.scheme}://{parts.netloc}"
    server: Any = client.FileSystem(address)  # type: ignore[attr-defined,no-untyped-call]
    path = "/" + parts.path.lstrip("/")
    answer, info = server.stat(path, timeout=STAT_TIMEOUT_SECONDS)
    if not answer.ok:
        raise OSError(f"{redact(url)}: {redact(str(answer.message)).strip()}")
    return FileStat(int(info.size), int(info.modtime))
