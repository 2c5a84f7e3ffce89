"""Clients that ask for ever, and a service that is killed at random, for the soak tests.

Everybody may die at any moment: a client judges each whole answer against a direct read, and counts
what is wrong; that an answer does not come at all is nobody's fault here.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import urllib3

from columnservice.errors import ColumnServiceError, TransportError
from columnservice.model import Column
from tests.support.pairs import JudgedPair, answer_of

TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 0.2


def ask(
    http: urllib3.PoolManager, url: str, body: dict[str, Any], columns: list[Column]
) -> Any | None:
    """A whole answer; None when there was none, because somebody died or was busy.

    Raises:
        ColumnServiceError: what no death explains.
    """
    try:
        reply = http.request("POST", url, json=body, retries=False, timeout=TIMEOUT_SECONDS)
        if reply.status in (502, 503):
            return None
        assert reply.status == 200, reply.data[:500]
        return answer_of(reply.data, columns)
    except (urllib3.exceptions.HTTPError, TransportError):
        return None


def be_client(
    port_file: Path,
    pair: JudgedPair,
    dataset: str,
    uuid: str,
    columns: list[Column],
    answered: Any,
    seed: int,
) -> None:
    """Ask for random columns for ever; ends with an exit code only when something is wrong.

    Whole and right answers are counted in ``answered``.
    """
    random, http = np.random.default_rng(seed), urllib3.PoolManager()
    while True:
        chosen = [columns[n] for n in random.choice(len(columns), 3, replace=False)]
        body = {"file": uuid, "start": 0, "stop": pair.events, "columns": [c.name for c in chosen]}
        url = f"{port_file.read_text()}/v1/datasets/{dataset}/columns/query"
        try:
            answer = ask(http, url, body, chosen)
            if answer is None:
                time.sleep(
                    PAUSE_SECONDS
                )  # or refused connections take what a service needs to start
                continue
            pair.demand_right(answer)
            answered.value += 1
        except (AssertionError, ColumnServiceError) as error:
            print(f"WRONG: {str(error)[:2000]}", file=sys.stderr, flush=True)
            sys.exit(1)
