"""Taking in uploaded EventKeys: each upload is examined once, however many send it at a time.

Whoever brings what is being examined already shares the result and needs no place. Knows which
uploads are under way, and so when files of a refused one may go; not how keys are examined.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeAlias

from columnservice.catalogue.store import Catalogue
from columnservice.delivery.examine import Examiner
from columnservice.delivery.uploads import Upload, forget_files, is_noted, recall
from columnservice.errors import UnknownFile, WrongParent
from columnservice.model import Dataset

Told: TypeAlias = dict[str, Any]
Begin: TypeAlias = Callable[[Callable[[], Told]], Future[Told]]


class Intake:
    """Examines uploads, and keeps those that belong to their Dataset.

    Args:
        catalogue, index_dir: where what is kept of them stands.
        examiner: holds them against the parents.
        begin: has work done in a place of its own; Unavailable when there is none.
    """

    def __init__(
        self, catalogue: Catalogue, index_dir: Path, examiner: Examiner, begin: Begin
    ) -> None:
        self._catalogue = catalogue
        self._index_dir = index_dir
        self._examiner = examiner
        self._begin = begin
        self._lock = threading.RLock()
        self._flights: dict[tuple[str, str], Future[Told]] = {}

    def accept(self, dataset: str, upload: Upload) -> Future[Told]:
        """What the client is told of an upload, once it is examined.

        Args:
            dataset: name of the Dataset whose parent holds these events.
            upload: the keys; their digest is checked already.

        Raises:
            UnknownDataset: there is none of that name.
            Unavailable: too many wait already, or the service ends.
        """
        here = self._catalogue.dataset(dataset)
        key = (dataset, upload.digest)
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = self._begin(lambda: self._examined(here, upload))
                flight.add_done_callback(lambda _: self._landed(key))
            return flight

    def _landed(self, key: tuple[str, str]) -> None:
        with self._lock:
            self._flights.pop(key, None)

    def _examined(self, dataset: Dataset, upload: Upload) -> Told:
        digest = upload.digest
        try:
            known = recall(self._catalogue, self._index_dir, dataset.name, digest)
        except UnknownFile:
            pass
        else:
            return {name: known[name] for name in ("digest", "events", "with_parent")}
        try:
            return self._examiner.accept(dataset, upload)
        except WrongParent:
            # The files are named by their digest alone: they may serve other Datasets, too.
            with self._lock:
                others = any(d == digest and n != dataset.name for n, d in self._flights)
                if not others and not is_noted(self._catalogue, digest):
                    forget_files(self._index_dir, digest)
            raise
