"""``columnservice serve``: checks that the service can work here, then runs it.

Knows the port and the home; what is served is the api's business.
"""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from columnservice.errors import SetupError

if TYPE_CHECKING:
    from columnservice.settings import Settings

BACKLOG = 2048


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; loopback only.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port; 0 takes any free one.", show_default=False),
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Directory of all state.", show_default=False)
    ] = None,
) -> None:
    """Run the column service until it is interrupted; all other settings are COLUMNSERVICE_*."""
    told = {"host": host, "port": port, "home": home and home.expanduser().absolute()}
    settings = read_settings({name: value for name, value in told.items() if value is not None})
    from columnservice.api.auth import demand_loopback

    demand_loopback(settings.host)
    demand_writable(settings.home)
    # Read when Numba is loaded: compiled once under the home, then found there by every process.
    os.environ["NUMBA_CACHE_DIR"] = str(settings.kernel_cache_dir)
    from columnservice.delivery.process import start_template

    start_template()  # it loads while this process does
    from columnservice.api.app import create_app
    from columnservice.api.server import DrainingServer

    app = create_app(settings)
    with listen(settings.host, settings.port) as listener:
        demand_catalogue(settings)
        server = DrainingServer(app, settings.drain_seconds)
        server.run(sockets=[listener])
    if not server.started:
        raise SetupError("The service did not start.", "The lines above say why.")


def read_settings(told: dict[str, object]) -> Settings:
    """Settings from the environment, those that were told on the command line first.

    Raises:
        SetupError: a value makes no sense; names the variable.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from columnservice.settings import Settings

    try:
        return Settings(**told)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"][:1]).upper()
        raise SetupError(
            f"COLUMNSERVICE_{name} is wrong: {first['msg']}.", "Correct the variable or the option."
        ) from None
    except SettingsError as error:
        raise SetupError(f"The environment is wrong: {error}.", "Correct the variable.") from None


def demand_writable(home: Path) -> None:
    """Make the home, readable by its owner only.

    Raises:
        SetupError: it cannot be made or written.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise SetupError(
            f"The home {home} cannot be written: {error.strerror}.",
            "Choose another one with --home or COLUMNSERVICE_HOME.",
        ) from None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        SetupError: the port is in use, or the address is not one of this host.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SetupError(
                f"Port {port} on {host} is in use.",
                "Choose another one with --port, or stop the other service.",
            ) from None
        reason = error.strerror or str(error)
        raise SetupError(
            f"Cannot listen on {host} port {port}: {reason}.", "Choose another --host or --port."
        ) from None


def demand_catalogue(settings: Settings) -> None:
    """Open the catalogue once, so that what is wrong with it is one line and not a traceback.

    Raises:
        SetupError: it cannot be used.
    """
    from columnservice.catalogue.store import Catalogue

    catalogue = Catalogue(settings.catalogue_url)
    try:
        catalogue.migrate()
    finally:
        catalogue.close()
