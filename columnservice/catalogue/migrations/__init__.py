"""The catalogue's history: Alembic revisions, run in this process by ``Catalogue.migrate``."""

from __future__ import annotations

import threading

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from columnservice.errors import SetupError

# Alembic keeps the running migration in module globals.
_ONE_AT_A_TIME = threading.Lock()


def upgrade(connection: sa.Connection) -> None:
    """Bring a database to the newest revision, inside the connection's own transaction.

    Raises:
        SetupError: the database comes from a newer columnservice.
    """
    config = Config()
    # Alembic reads a percent sign in an option as the start of an interpolation.
    config.set_main_option("script_location", __path__[0].replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        with _ONE_AT_A_TIME:
            command.upgrade(config, "head")
    except CommandError as error:
        raise SetupError(
            f"The catalogue was made by a newer columnservice: {error}.",
            "Upgrade columnservice, or choose another home.",
        ) from None
