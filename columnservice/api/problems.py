"""Errors as RFC 9457 problem documents, for every failure that a route can meet.

An unexpected failure is logged with its traceback and answered with an id only.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from columnservice.errors import ColumnServiceError, RequestError, problem

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"


class Unexpected(ColumnServiceError):
    """A failure that nobody foresaw; the log has the traceback."""


def unexpected(error: BaseException) -> ColumnServiceError:
    """Log an unforeseen failure and name it by an id."""
    name = uuid.uuid4().hex[:12]
    log.error("unexpected failure %s", name, exc_info=error)
    return Unexpected(f"The service failed unexpectedly (failure {name}).")


def respond(error: ColumnServiceError) -> JSONResponse:
    """The reply for an error."""
    headers = {"Retry-After": "2"} if error.status == 503 else {}
    return JSONResponse(
        problem(error), status_code=error.status, media_type=MEDIA_TYPE, headers=headers
    )


def _first_fault(error: RequestValidationError) -> str:
    faults: Any = error.errors()
    if not faults:
        return "The request is malformed."
    where = ".".join(str(part) for part in faults[0]["loc"] if part not in ("body", "query"))
    return f"{where or 'The body'}: {faults[0]['msg']}."


def install(app: FastAPI) -> None:
    """Answer every failure of a route with a problem document."""

    @app.exception_handler(ColumnServiceError)
    def known(_: Request, error: ColumnServiceError) -> JSONResponse:
        return respond(error)

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return respond(RequestError(_first_fault(error)))

    @app.exception_handler(HTTPException)
    def routing(_: Request, error: HTTPException) -> JSONResponse:
        document = problem(RequestError(f"{error.detail}.", "The paths are listed at /docs."))
        document["status"] = error.status_code
        return JSONResponse(document, status_code=error.status_code, media_type=MEDIA_TYPE)

    @app.exception_handler(Exception)
    def unforeseen(_: Request, error: Exception) -> JSONResponse:
        return respond(unexpected(error))
