"""Finding the user's bearer token, as WLCG Bearer Token Discovery (v1.0.3) prescribes.

Order: ``BEARER_TOKEN``, ``BEARER_TOKEN_FILE``, ``$XDG_RUNTIME_DIR/bt_u<uid>``, ``/tmp/bt_u<uid>``.
The token is looked for at each request, since agents renew the file; no message holds its text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from columnservice.errors import Unauthenticated

_WELL_FORMED = re.compile(r"[A-Za-z0-9._~+/=-]+")
"""RFC 6750, section 2.1: what a bearer token may consist of."""


def find_token() -> str | None:
    """The token to send, or None where there is none.

    Raises:
        Unauthenticated: a place that must hold a token cannot be read or holds something else.
    """
    if text := os.environ.get("BEARER_TOKEN", "").strip():
        return _checked(text, "BEARER_TOKEN")
    if told := os.environ.get("BEARER_TOKEN_FILE", "").strip():
        content = _read(Path(told))
        if content is None:
            raise Unauthenticated(
                f"BEARER_TOKEN_FILE names {told}, which cannot be read.",
                "Make a token there, or unset BEARER_TOKEN_FILE.",
            )
        return _checked(content, told)
    for place in _usual_places():
        # Most people have none: a look costs a tenth of what a failed reading does.
        if os.access(place, os.R_OK) and (content := _read(Path(place))):
            return _checked(content, place)
    return None


def _usual_places() -> Iterator[str]:
    name = f"bt_u{os.geteuid()}"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield f"{runtime}/{name}"
    yield f"/tmp/{name}"  # noqa: S108 (the place that the WLCG profile prescribes)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def _checked(text: str, place: str) -> str:
    """The token, if it can stand in a header; the message names the place, never the text."""
    if not _WELL_FORMED.fullmatch(text):
        raise Unauthenticated(
            f"What stands in {place} is not a bearer token.", "Renew the token there."
        )
    return text
