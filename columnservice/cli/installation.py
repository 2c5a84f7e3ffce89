"""What a service needs on its own host: programs, home, disk, secrets, kernels, catalogue, port.

Looks and never changes anything, but for compiled kernels under a home that exists. Knows no
storage.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import columnservice
from columnservice.cli.findings import Check, Finding, fine, unchecked, wrong
from columnservice.cli.output import size
from columnservice.errors import SetupError

if TYPE_CHECKING:
    from columnservice.settings import Settings

PROGRAM_SECONDS = 20
COMPILE_SECONDS = 240
"""On a slow host all kernels together take a minute or two."""

SERVICE_SECONDS = 5.0
_OTHERS = 0o077
_INSTALL = 'Install it with `pip install "columnservice[server]"`.'
_COMPILE = "import columnservice.delivery.check, columnservice.formats as f; f.compile_kernels()"


def checks(settings: Settings, url: str | None) -> list[Check]:
    """All that can be checked on this host.

    Args:
        settings: as the service would read them.
        url: of a running service to ask whether it is ready; None: none is asked.
    """
    found = [
        Check("versions", _versions),
        Check("XRootD client", xrootd_client),
        Check("XRootD time limits", _time_limits),
        Check("XRootD servers", _xrootd_servers),
        Check("home", lambda: home(settings.home)),
        Check("disk", lambda: disk(settings)),
        Check("secrets", secrets),
        Check("kernels", lambda: kernels(settings)),
        Check("catalogue", lambda: catalogue(settings)),
        Check("port", lambda: port(settings)),
    ]
    if url is not None:
        found.append(Check("service", lambda: service(url)))
    return found


def _versions() -> Finding:
    return fine(
        "versions", f"columnservice {columnservice.__version__}, Python {platform.python_version()}"
    )


def xrootd_client() -> Finding:
    """Whether the XRootD client can be loaded."""
    from columnservice.reader.replicas import configure_xrootd

    configure_xrootd()
    try:
        importlib.import_module("XRootD.client")
    except ImportError as error:
        return wrong("XRootD client", f"cannot be loaded: {error}", _INSTALL)
    return fine("XRootD client", f"xrootd {importlib.metadata.version('xrootd')}")


def _time_limits() -> Finding:
    """Limits longer than ours let a dead server hold up a worker for minutes."""
    from columnservice.reader.replicas import XROOTD_CLIENT_LIMITS

    longer = [
        f"{name}={os.environ[name]}"
        for name, ours in XROOTD_CLIENT_LIMITS.items()
        if not os.environ.get(name, ours).isdigit() or int(os.environ.get(name, ours)) > int(ours)
    ]
    if longer:
        names = " ".join(entry.partition("=")[0] for entry in longer)
        return wrong(
            "XRootD time limits",
            f"longer than the service's own: {', '.join(longer)}",
            f"`unset {names}`, unless a slow storage needs them.",
        )
    return fine("XRootD time limits", f"{XROOTD_CLIENT_LIMITS['XRD_REQUESTTIMEOUT']} s per request")


def _xrootd_servers() -> Finding:
    missing = [name for name in ("xrootd", "xrdfs") if shutil.which(name) is None]
    if missing:
        return unchecked(
            "XRootD servers", f"no {' and '.join(missing)} here; only demo and tests start servers"
        )
    said = subprocess.run(
        ["xrootd", "-v"],  # noqa: S607 (as the demo starts it)
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )
    return fine("XRootD servers", f"xrootd {(said.stdout + said.stderr).strip()}")


def home(directory: Path) -> Finding:
    """Whether the home can be used, by its owner only, or can be made."""
    if not directory.exists():
        above = next(p for p in directory.absolute().parents if p.exists())
        if os.access(above, os.W_OK | os.X_OK) and above.is_dir():
            return unchecked("home", f"{directory} does not exist yet: `serve` makes it")
        return wrong(
            "home",
            f"{directory} does not exist and cannot be made in {above}",
            "Choose another one with --home or COLUMNSERVICE_HOME.",
        )
    if not directory.is_dir() or not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return wrong(
            "home",
            f"{directory} cannot be written",
            "Choose another one with --home or COLUMNSERVICE_HOME, or make it this user's.",
        )
    mode = directory.stat().st_mode & 0o777
    if mode & _OTHERS:
        return wrong(
            "home", f"{directory} is open to others (mode {mode:04o})", f"`chmod 700 {directory}`"
        )
    with tempfile.TemporaryFile(dir=directory):
        return fine("home", f"{directory}, writable, mode {mode:04o}")


def disk(settings: Settings) -> Finding:
    """Whether the cache may grow to its limit."""
    place = next(p for p in (settings.cache_dir, *settings.cache_dir.parents) if p.exists())
    free_bytes = shutil.disk_usage(place).free
    used_bytes = sum(_sizes(settings.cache_dir)) if settings.cache_dir.exists() else 0
    limit = settings.cache_limit_bytes
    said = f"{size(free_bytes)} free; the cache holds {size(used_bytes)} of {size(limit)}"
    if free_bytes + used_bytes < limit:
        return wrong(
            "disk",
            said,
            "Free some space, or lower COLUMNSERVICE_CACHE_LIMIT_BYTES: "
            "columns are not cached on a full disk.",
        )
    return fine("disk", said)


def _sizes(directory: Path) -> Iterator[int]:
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                yield (Path(parent) / name).stat().st_size
            except FileNotFoundError:
                continue  # evicted since it was listed


def secret_files() -> list[Path]:
    """The credentials that the service, or XRootD on its behalf, would read."""
    told = ("BEARER_TOKEN_FILE", "X509_USER_PROXY", "X509_USER_KEY")
    named = [Path(os.environ[name]) for name in told if os.environ.get(name)]
    user = os.geteuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    usual = [Path(runtime) / f"bt_u{user}"] if runtime else []
    temporary = Path(tempfile.gettempdir())
    usual += [temporary / f"bt_u{user}", temporary / f"x509up_u{user}"]
    return list(dict.fromkeys([*named, *(path for path in usual if path.exists())]))


def secrets() -> Finding:
    """Whether credentials can be read by this user, and by nobody else."""
    files = secret_files()
    for path in files:
        if not os.access(path, os.R_OK):
            return wrong(
                "secrets", f"{path} cannot be read", "Renew the credential, or unset its variable."
            )
        mode = path.stat().st_mode & 0o777
        if mode & _OTHERS:
            return wrong(
                "secrets", f"{path} is open to others (mode {mode:04o})", f"`chmod 600 {path}`"
            )
    if not files:
        return fine("secrets", "no credential file is in use")
    return fine("secrets", f"readable by their owner only: {', '.join(map(str, files))}")


def kernels(settings: Settings) -> Finding:
    """Whether Numba compiles our kernels here; what it compiles stays under a home that exists."""
    kept = settings.home.is_dir() and os.access(settings.home, os.W_OK)
    with tempfile.TemporaryDirectory() as scratch:
        where = settings.kernel_cache_dir if kept else Path(scratch)
        begun = time.monotonic()
        try:
            done = subprocess.run(  # noqa: S603 (a fixed command)
                [sys.executable, "-c", _COMPILE],
                env={**os.environ, "NUMBA_CACHE_DIR": str(where)},
                capture_output=True,
                text=True,
                timeout=COMPILE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return wrong(
                "kernels", f"not compiled within {COMPILE_SECONDS} s", "Use a faster host."
            )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return wrong(
            "kernels", f"do not compile: {last[:300]}", "Install the versions of the lock file."
        )
    place = (
        f"in {where}" if kept else f"not kept; `serve` keeps them in {settings.kernel_cache_dir}"
    )
    return fine("kernels", f"ready after {time.monotonic() - begun:.0f} s, {place}")


def catalogue(settings: Settings) -> Finding:
    """Whether the catalogue opens and has the tables that this version needs."""
    if not catalogue_exists(settings):
        return unchecked("catalogue", "there is none yet: `serve` makes it")
    import sqlalchemy as sa
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from columnservice.catalogue import migrations

    try:
        engine = sa.create_engine(settings.catalogue_url)
        where = engine.url.render_as_string(hide_password=True)
        with engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
        engine.dispose()
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        return wrong(
            "catalogue",
            f"does not open: {said}",
            "Check COLUMNSERVICE_DATABASE_URL, or move the damaged file away.",
        )
    newest = ScriptDirectory(migrations.__path__[0]).get_current_head()
    if revision != newest:
        return wrong(
            "catalogue",
            f"{where} has schema {revision}, this version needs {newest}",
            "An older one is upgraded by `columnservice serve`; for a newer one upgrade "
            "columnservice.",
        )
    return fine("catalogue", f"{where}, schema {revision}")


def catalogue_exists(settings: Settings) -> bool:
    """Whether there is a catalogue to open (opening makes one otherwise)."""
    return bool(settings.database_url) or (settings.home / "catalogue.sqlite").exists()


def port(settings: Settings) -> Finding:
    """Whether the service can listen, or does."""
    from columnservice.cli.serve import listen

    where = f"{settings.host} port {settings.port}"
    try:
        listen(settings.host, settings.port).close()
    except SetupError as error:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        running = service(f"http://{host}:{settings.port}")
        if running.state == "fine":
            return fine("port", f"{where}: a service runs there and is ready")
        return wrong("port", error.message, error.remedy)
    return fine("port", f"{where} is free")


def service(url: str) -> Finding:
    """Whether a running service is ready."""
    import urllib3

    timeout = urllib3.Timeout(total=SERVICE_SECONDS)
    with urllib3.PoolManager(timeout=timeout, retries=False) as pool:
        try:
            reply = pool.request("GET", f"{url.rstrip('/')}/readyz")
        except urllib3.exceptions.HTTPError as error:
            return wrong(
                "service",
                f"no answer from {url} ({type(error).__name__})",
                "Check the URL and that `columnservice serve` is running there.",
            )
    if reply.status == 200:
        return fine("service", f"{url} is ready")
    said = " ".join(reply.data.decode(errors="replace").split())[:300]
    return wrong("service", f"{url} is not ready: {said}", "See the service's log.")
