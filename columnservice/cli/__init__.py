"""The command line: one room per command group; every command but serve and demo speaks HTTP.

Importing this loads nothing; each command imports what it needs when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 failed with one line on stderr, 2 wrong usage.

    Args:
        arguments: without the program's name; None takes the process's own.
    """
    try:
        from columnservice.cli.app import app
    except ModuleNotFoundError as missing:
        sys.exit(
            f"error: The command line needs {missing.name}, which is not installed. "
            'Install it with `pip install "columnservice[server]"`.'
        )
    from columnservice.errors import ColumnServiceError

    try:
        app(args=None if arguments is None else list(arguments), prog_name="columnservice")
    except ColumnServiceError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
