"""Who asks, and what they may read: the one place where a Principal is checked.

Until the token layer exists the service listens on loopback only, and whoever reaches it is the
Principal ``local``, who may read and register everything. The ``Host`` header must name loopback
too, so that a web page cannot reach the service through a name of its own. Knows no dataset's
content.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from columnservice.errors import NotAllowed, SetupError

LOCAL = "local"


@dataclass(frozen=True)
class Principal:
    """The verified holder of the right to ask."""

    name: str


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def demand_loopback(host: str) -> None:
    """Refuse to listen where strangers could reach a service without tokens.

    Raises:
        SetupError: ``host`` is not loopback.
    """
    if not is_loopback(host):
        raise SetupError(
            f"The service does not check tokens yet, so it does not listen on {host}.",
            "Use --host 127.0.0.1, and an SSH tunnel from elsewhere.",
        )


def _host_of(header: str) -> str:
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]


async def principal(request: Request) -> Principal:
    """The Principal of a request; waits for nothing, so it needs no thread.

    Raises:
        NotAllowed: the request did not come over loopback, or names another host.
    """
    # Of headers that come twice the first counts, as everywhere in Starlette.
    headers: dict[bytes, bytes] = dict(reversed(request.scope["headers"]))
    told = headers.get(b"origin")
    origin = urlsplit(told.decode("latin-1")).hostname if told else None
    if (origin is not None and not is_loopback(origin)) or (
        headers.get(b"sec-fetch-site") == b"cross-site"
    ):
        raise NotAllowed("A web page of another site may not use the service.", "Ask it directly.")
    client = request.client.host if request.client else ""
    if not is_loopback(client) or not is_loopback(
        _host_of(headers.get(b"host", b"").decode("latin-1"))
    ):
        raise NotAllowed(
            "The service answers on loopback only.", "Ask it as http://127.0.0.1 on its own host."
        )
    return Principal(LOCAL)


Caller = Annotated[Principal, Depends(principal)]


def demand_read(caller: Principal, dataset: str) -> None:
    """Check the read permission for a Dataset.

    Raises:
        NotAllowed: the Principal may not read it.
    """
    if caller.name != LOCAL:
        raise NotAllowed(f"{caller.name} may not read {dataset}.")


def demand_write(caller: Principal, dataset: str) -> None:
    """Check the permission to register, change or remove a Dataset.

    Raises:
        NotAllowed: the Principal may not change it.
    """
    if caller.name != LOCAL:
        raise NotAllowed(f"{caller.name} may not change {dataset}.")


def demand_define(caller: Principal, dataset: str, author: str | None = None) -> None:
    """Check the permission to define Columns of a Dataset, or to change a definition: its author's.

    Args:
        caller: who asks.
        dataset: name of the Dataset.
        author: who defined the Column that is to be changed; None for a new one.

    Raises:
        NotAllowed: the Principal may not.
    """
    demand_read(caller, dataset)
    if author is not None and author != caller.name:
        raise NotAllowed(
            f"{author} defined this column of {dataset}, and {caller.name} may not change it.",
            "Choose another name.",
        )


def demand_undefine(caller: Principal, dataset: str, author: str | None) -> None:
    """Check the permission to remove a definition: its author's, and of who may change the Dataset.

    Args:
        caller: who asks.
        dataset: name of the Dataset.
        author: who defined the Column; None where nobody did.

    Raises:
        NotAllowed: the Principal may not.
    """
    demand_read(caller, dataset)
    if author is None or author == caller.name:
        return
    try:
        demand_write(caller, dataset)
    except NotAllowed:
        raise NotAllowed(
            f"{author} defined this column of {dataset}, and {caller.name} may not remove it.",
            f"Ask {author}, or who administers {dataset}.",
        ) from None
