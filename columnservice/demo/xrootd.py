"""XRootD origin and XCache: their configuration as text, and one such server on loopback.

The configurations hold what was seen to work with xrootd 5.5 and what was seen to go wrong: a fixed
origin (a forwarding cache is keyed by path only and mixes up origins), partial files without
prefetch, and client timeouts inside the cache (with the defaults a dead origin hangs a reader for
minutes). Knows nothing of datasets, files or the column service.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import struct
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from columnservice.demo.process import Process, free_port
from columnservice.errors import SetupError

USER = "xrootd"
"""The Unix user that xrootd changes to when root starts it (it refuses to run as root)."""

CACHE_ENVIRONMENT = {
    "XRD_CONNECTIONWINDOW": "3",
    "XRD_CONNECTIONRETRY": "1",
    "XRD_REQUESTTIMEOUT": "10",
    "XRD_STREAMTIMEOUT": "5",
    "XRD_STREAMERRORWINDOW": "0",
    "XRD_TIMEOUTRESOLUTION": "1",
}
"""How long the cache, a client of the origin, waits: shorter than its own clients do (seconds)."""

_HANDSHAKE = struct.pack(">5I", 0, 0, 0, 4, 2012)
_HANDSHAKE_REPLY_BYTES = 16
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


def installed() -> bool:
    """Whether xrootd servers can be started here: the programs, and their user when we are root."""
    if shutil.which("xrootd") is None or shutil.which("xrdfs") is None:
        return False
    with suppress(KeyError):
        return os.geteuid() != 0 or bool(pwd.getpwnam(USER))
    return False


def give_to_server(path: Path) -> None:
    """Make ``path``, and all below it, the server's own, when it will run as another user.

    Raises:
        SetupError: a directory above ``path`` cannot be entered by the server's user.
    """
    if os.geteuid() != 0:
        return
    user = pwd.getpwnam(USER)
    for parent in path.resolve().parents:
        stat = parent.stat()
        if not (stat.st_mode & 0o001 or (stat.st_uid == user.pw_uid and stat.st_mode & 0o100)):
            raise SetupError(
                f"the user {USER} cannot enter {parent}.", f"Run `chmod o+x {parent}`."
            )
    for one in (path, *path.rglob("*")):
        os.chown(one, user.pw_uid, user.pw_gid, follow_symlinks=False)


def answers(port: int, timeout_seconds: float = 2.0) -> bool:
    """Whether an XRootD server answers the initial handshake on loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_seconds) as s:
            s.settimeout(timeout_seconds)
            s.sendall(_HANDSHAKE)
            reply = b""
            while len(reply) < _HANDSHAKE_REPLY_BYTES:
                if not (more := s.recv(_HANDSHAKE_REPLY_BYTES - len(reply))):
                    return False
                reply += more
    except OSError:
        return False
    return reply[:4] == bytes(4)


class XrootdServer:
    """One xrootd on loopback: an origin, or with ``origin`` an XCache in front of that.

    It keeps its port and its directories over ``stop`` and ``start``; ``close`` removes what it
    created. As a context manager it starts and closes.

    Args:
        root: directory to serve (origin: holds ``store/…``; cache: its blocks). None makes one.
            When root runs this, the directory and what is in it are given to the server's user.
        origin: ``host:port`` for a cache, None for an origin.
    """

    def __init__(self, root: Path | None = None, origin: str | None = None) -> None:
        self.name = "origin" if origin is None else "xcache"
        # a short path, since Unix sockets below it may not have paths of more than 107 characters
        self.home = Path(tempfile.mkdtemp(prefix="xrd-"))
        self.root = self.home / "root" if root is None else root
        self.log = self.home / f"{self.name}.log"
        self.port = free_port()
        self._origin = origin
        self.process: Process | None = None
        (self.home / "run").mkdir()
        self.root.mkdir(parents=True, exist_ok=True)
        if origin is None:
            (self.root / "store").mkdir(exist_ok=True)

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """The directory whose files have LFNs ``/store/…``."""
        return self.root / "store"

    def url(self, path: str) -> str:
        """The URL of ``/store/<path>``."""
        return f"root://{self.address}//store/{path}"

    @property
    def config(self) -> str:
        """The text of its configuration file."""
        run, allow = self.home / "run", ("127.0.0.1",)
        if self._origin is None:
            return origin_config(OriginConfig(self.port, self.root, run, allow=allow))
        return cache_config(CacheConfig(self.port, self.root, run, self._origin, allow=allow))

    def start(self) -> XrootdServer:
        """Start it and wait until it answers.

        Raises:
            SetupError: it does not start; with the end of its log.
        """
        file = self.home / f"{self.name}.cfg"
        file.write_text(self.config)
        give_to_server(self.home)
        give_to_server(self.root)
        command = ["xrootd", "-I", "v4", "-n", self.name, "-c", str(file)]
        if os.geteuid() == 0:
            command += ["-R", USER]
        env = {} if self._origin is None else CACHE_ENVIRONMENT
        said_before = len(self._log_text())
        self.process = Process(self.name, command, self.log, env)

        def ready() -> bool:
            # the log as well, since on a port in use it is somebody else who answers
            started = f"{self.port} initialization completed" in self._log_text()[said_before:]
            return started and answers(self.port)

        try:
            self.process.wait_until(ready, 20)
        except BaseException:
            self.stop()
            raise
        return self

    def _log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def put(self, source: Path, path: str | None = None) -> str:
        """Copy a file into the origin's ``/store``; returns its URL."""
        target = self.store / (path or source.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        target.chmod(0o644)
        give_to_server(self.store)
        return self.url(path or source.name)

    def freeze(self) -> None:
        """Stop it answering, with its connections open."""
        assert self.process is not None
        self.process.freeze()

    def thaw(self) -> None:
        """Let it answer again."""
        assert self.process is not None
        self.process.thaw()

    def kill(self) -> None:
        """Let it crash."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def stop(self) -> None:
        """End it; its files stay, so that it can be started again."""
        if self.process is not None:
            self.process.stop()
            self.process = None

    def close(self) -> None:
        """End it and remove what it created."""
        self.stop()
        shutil.rmtree(self.home)

    def __enter__(self) -> XrootdServer:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
