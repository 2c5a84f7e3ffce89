"""Configurations of XRootD servers as text: an origin, and an XCache in front of one origin.

They hold what was seen to work with xrootd 5.5 and what was seen to go wrong: a fixed origin (a
forwarding cache is keyed by path only and mixes up origins), partial files without prefetch, and
client timeouts inside the cache (with the defaults a dead origin hangs a reader for minutes).
Starts nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from columnservice.errors import SetupError

CACHE_ENVIRONMENT = {
    "XRD_CONNECTIONWINDOW": "3",
    "XRD_CONNECTIONRETRY": "1",
    "XRD_REQUESTTIMEOUT": "10",
    "XRD_STREAMTIMEOUT": "5",
    "XRD_STREAMERRORWINDOW": "0",
    "XRD_TIMEOUTRESOLUTION": "1",
}
"""How long the cache, a client of the origin, waits: shorter than its own clients do (seconds)."""

_WORD = re.compile(r"[^\s\x00-\x1f#]+")
_GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class OriginConfig:
    """What an origin needs to know.

    Attributes:
        port: TCP port.
        root: directory whose sub-directory ``export`` is served.
        run: existing directory for the server's sockets and pid file; a short path (Unix sockets).
        export: the LFN prefix that is served.
        allow: hosts that may connect; empty means everybody.
    """

    port: int
    root: Path
    run: Path
    export: str = "/store"
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class CacheConfig:
    """What an XCache needs to know.

    Attributes:
        port, run, export, allow: as for the origin.
        root: directory of cached blocks; it must exist or the server does not start.
        origin: the one server behind it, ``host:port``.
        ram_bytes: buffers for blocks under way; at least 1 GiB.
        block_bytes: unit of partial caching.
        disk_low, disk_high: the cache is purged down to ``disk_low`` of the file system when
            ``disk_high`` of it is in use.
    """

    port: int
    root: Path
    run: Path
    origin: str
    export: str = "/store"
    allow: tuple[str, ...] = ()
    ram_bytes: int = _GIBIBYTE
    block_bytes: int = 128 * 1024
    disk_low: float = 0.90
    disk_high: float = 0.95


def _word(text: object, what: str) -> str:
    """One word of a configuration line; blanks or line ends would make it say something else."""
    word = str(text)
    if not _WORD.fullmatch(word):
        raise SetupError(f"{what} {word!r} cannot stand in an xrootd configuration.")
    return word


def _common(config: OriginConfig | CacheConfig) -> list[str]:
    run = _word(config.run, "the run directory")
    return [
        "all.role server",
        f"all.export {_word(config.export, 'the export')}",
        f"xrd.port {config.port:d}",
        "xrd.network nodnr",
        *(f"xrd.allow host {_word(host, 'the host')}" for host in config.allow),
        f"all.adminpath {run}",
        f"all.pidpath {run}",
        f"oss.localroot {_word(config.root, 'the served directory')}",
    ]


def origin_config(config: OriginConfig) -> str:
    """The configuration file of an origin.

    Raises:
        SetupError: a path or name with blanks in it.
    """
    return "\n".join(_common(config)) + "\n"


def cache_config(config: CacheConfig) -> str:
    """The configuration file of an XCache in front of one origin.

    Raises:
        SetupError: a path or name with blanks, an origin that is not ``host:port`` (a cache without
            a fixed origin would mix up files of different origins), or numbers that xrootd refuses.
    """
    if not re.fullmatch(r"[A-Za-z0-9.\-]+:\d+", config.origin):
        raise SetupError(f"the origin of a cache is host:port, not {config.origin!r}.")
    if config.ram_bytes < _GIBIBYTE:
        raise SetupError("an XCache needs at least 1 GiB of memory for buffers (pfc.ram).")
    if not 0 < config.disk_low < config.disk_high < 1:
        raise SetupError("an XCache needs 0 < disk_low < disk_high < 1 (pfc.diskusage).")
    lines = [
        *_common(config),
        "ofs.osslib libXrdPss.so",
        "pss.cachelib libXrdPfc.so",
        f"pss.origin {config.origin}",
        f"pfc.ram {config.ram_bytes // _GIBIBYTE}g",
        f"pfc.blocksize {config.block_bytes // 1024}k",
        "pfc.prefetch 0",
        f"pfc.diskusage {config.disk_low:.2f} {config.disk_high:.2f}",
    ]
    return "\n".join(lines) + "\n"
