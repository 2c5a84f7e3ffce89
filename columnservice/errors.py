"""Everything that can go wrong, as one tree; each error knows its HTTP status and its remedy.

::

    ColumnServiceError                500
    ├── RequestError                  400   the request itself is wrong
    │   ├── UnknownDataset            404
    │   ├── UnknownFile               404
    │   ├── UnknownColumn             404
    │   ├── UnsupportedColumn         422
    │   ├── BadExpression             400
    │   ├── ColumnExists              409
    │   ├── ColumnInUse               409
    │   ├── OutOfRange                416
    │   ├── DatasetExists             409
    │   ├── DatasetInUse              409
    │   ├── NotAllowed                403
    │   └── Unauthenticated           401
    ├── FileError                     422   a file cannot be used, whatever one asks of it
    │   ├── NotRoot                   422
    │   ├── NoTree                    422
    │   ├── NoEventKeys               422
    │   └── DamagedFile               422
    ├── AlignmentError                409   a wrong join: never skipped, never an OSError
    │   ├── MissingParent             409
    │   ├── DuplicateEvents           409
    │   ├── CountsMismatch            409
    │   ├── ProofMismatch             409
    │   ├── WrongParent               409
    │   ├── ProvenanceChanged         409
    │   └── FileChanged               409
    ├── FunctionFailed                422   a function that the operator installed
    ├── TransportError (OSError)      502   bytes did not arrive: may be retried, may be skipped
    │   ├── Unreachable               502
    │   ├── TruncatedReply            502
    │   └── Unavailable               503
    └── SetupError                    500   the installation is wrong (port in use, home read-only)

Only transport errors are ``OSError``: coffea's ``Runner(skipbadfiles=True)`` swallows an
``OSError`` anywhere in an exception's chain, and an alignment error must never be swallowed. Raise
alignment errors with ``from None``.

This module knows nothing of HTTP beyond a number, and nothing of uproot, XRootD or coffea.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class ColumnServiceError(Exception):
    """Base of all errors of the project.

    Args:
        message: one line that says what is wrong, naming the thing.
        remedy: one line that says what to do about it.
    """

    status: int = 500
    default_remedy: str = "Ask the operator of the column service; the log names the cause."

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = self.default_remedy if remedy is None else remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.message, self.remedy))

    @property
    def code(self) -> str:
        """The name that travels in a problem document: the class's own name."""
        return type(self).__name__


class RequestError(ColumnServiceError):
    """The request is malformed or contradicts itself."""

    status = 400
    default_remedy = "Correct the request."


class UnknownDataset(RequestError):
    """No Dataset of that name."""

    status = 404
    default_remedy = "`columnservice dataset list` shows the registered datasets."


class UnknownFile(RequestError):
    """No registered File has that identity."""

    status = 404
    default_remedy = "Register the file with `columnservice dataset add`."


class UnknownColumn(RequestError):
    """The Dataset offers no Column of that name."""

    status = 404
    default_remedy = "`columnservice columns DATASET` lists what there is."


class UnsupportedColumn(RequestError):
    """The Column exists in the parent, but cannot be delivered correctly."""

    status = 422
    default_remedy = "`columnservice columns DATASET` gives the reason; ask for another column."


class BadExpression(RequestError):
    """The expression of a Column cannot be read, or does not fit the Dataset's Columns."""

    default_remedy = "docs/analysts.md describes the language."


class ColumnExists(RequestError):
    """The Dataset has a Column of that name already."""

    status = 409
    default_remedy = "Choose another name."


class ColumnInUse(RequestError):
    """Other Columns are computed from the Column."""

    status = 409
    default_remedy = "Change or remove the columns that are computed from it first."


class OutOfRange(RequestError):
    """Entries outside the File were asked for."""

    status = 416
    default_remedy = "Ask for 0 <= start <= stop <= entries."


class DatasetExists(RequestError):
    """A Dataset of that name is registered with another Format or parent."""

    status = 409
    default_remedy = "Choose another name, or remove the dataset first."


class DatasetInUse(RequestError):
    """The Dataset is the parent of another one."""

    status = 409
    default_remedy = "Remove the datasets that name it as their parent first."


class NotAllowed(RequestError):
    """The Principal, or the service on its behalf, may not read this."""

    status = 403
    default_remedy = "Ask the operator of the column service for access."


class Unauthenticated(RequestError):
    """No valid token came with the request."""

    status = 401
    default_remedy = "Send a valid bearer token."


class FileError(ColumnServiceError):
    """A file cannot be used."""

    status = 422
    default_remedy = "Check the file; the other files are not affected."


class NotRoot(FileError):
    """The bytes are not a ROOT file."""


class NoTree(FileError):
    """The ROOT file lacks the Format's tree."""


class NoEventKeys(FileError):
    """The tree lacks event-key branches, so nothing can be joined."""


class DamagedFile(FileError):
    """The file is truncated or corrupted."""


class AlignmentError(ColumnServiceError):
    """A join that would give wrong physics; it must reach the user."""

    status = 409
    default_remedy = "Run `columnservice dataset check` on the dataset."


class MissingParent(AlignmentError):
    """Requested local events are absent from the parent dataset."""

    default_remedy = (
        'Add the missing parent files, or pass missing="mask" and select events.hasParent.'
    )


class DuplicateEvents(AlignmentError):
    """A requested event stands more than once in the parent dataset."""

    default_remedy = "Remove one of the parent files that hold the event twice."


class CountsMismatch(AlignmentError):
    """Local and remote collections hold different numbers of objects."""

    default_remedy = "The parent holds other objects under this name: object matching is needed."


class ProofMismatch(AlignmentError):
    """The parent's keys are not the keys of the local events."""

    default_remedy = "Nothing was used. Run `columnservice dataset refresh` and report this."


class WrongParent(AlignmentError):
    """A Witness differs: the parent is not the same sample."""

    default_remedy = "Register the dataset with the parent that it was made from."


class ProvenanceChanged(AlignmentError):
    """A Column is made otherwise than when the analysis began, or than a pinned report says."""

    default_remedy = "Leave out pin=… to take what the service makes now, and compare the results."


class FileChanged(AlignmentError):
    """A file is not the one that was registered."""

    default_remedy = "Run `columnservice dataset refresh` on its dataset."


class FunctionFailed(ColumnServiceError):
    """A Column's function, which the operator installed, failed or gave what it did not promise."""

    status = 422
    default_remedy = "Tell the function's author; the service's log has the traceback."


class TransportError(ColumnServiceError, OSError):
    """Bytes did not arrive; asking again may help."""

    status = 502
    default_remedy = "Try again; if it lasts, check the storage with `columnservice doctor`."


class Unreachable(TransportError):
    """A server did not answer."""


class TruncatedReply(TransportError):
    """A reply of the service ended before its end."""

    default_remedy = "Try again: nothing of the incomplete reply was used."


class Unavailable(TransportError):
    """The service is overloaded or shutting down."""

    status = 503
    default_remedy = "Try again in a few seconds."


class SetupError(ColumnServiceError):
    """The installation cannot work as it is configured."""

    default_remedy = "Correct the setting."


def nearest(name: str, known: Iterable[str], most: int = 3) -> str:
    """The names most like a mistaken one, as a message's tail: ``nearest: Jet_pt, Jet_phi``."""
    close = difflib.get_close_matches(name, sorted(set(known)), n=most, cutoff=0.5)
    return f"nearest: {', '.join(close)}." if close else ""


def _tree(root: type[ColumnServiceError]) -> dict[str, type[ColumnServiceError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


def problem(error: ColumnServiceError) -> dict[str, Any]:
    """An RFC 9457 problem document for an error."""
    return {
        "type": f"urn:columnservice:{error.code}",
        "title": error.code,
        "status": error.status,
        "detail": error.message,
        "remedy": error.remedy,
    }


def from_problem(document: Mapping[str, Any]) -> ColumnServiceError:
    """The error that a problem document describes; an unknown type becomes the base class."""
    name = str(document.get("type", "")).rpartition(":")[2]
    kind = _tree(ColumnServiceError).get(name, ColumnServiceError)
    return kind(str(document.get("detail", "unknown problem")), str(document.get("remedy", "")))
