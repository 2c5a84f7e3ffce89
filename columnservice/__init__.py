"""Columns that compact HEP files lack, joined from their parents and proven, as if they were local.

Importing this loads the client's front door only: no server, no uproot, no awkward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from columnservice.client import connect

__version__ = "0.1.0"
__all__ = ["__version__", "connect"]


def __getattr__(name: str) -> Any:
    if name == "connect":
        from columnservice.client import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
