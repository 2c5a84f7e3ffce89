"""Holding a local File against its parents: luminosity blocks, join, Witnesses; what came of it.

The work is done in worker processes. Knows the catalogue; no HTTP, and no Pieces.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from columnservice.alignment.tidy import Indexes
from columnservice.catalogue.store import Catalogue
from columnservice.delivery.check import check
from columnservice.delivery.materialise import make_keys
from columnservice.delivery.outline import Parents, join_task, parents_of
from columnservice.delivery.tasks import CheckResult, CheckTask, KeysTask
from columnservice.delivery.tools import take_path
from columnservice.delivery.uploads import Upload, is_digest, remember, witness_path, write_upload
from columnservice.delivery.workers import Workers
from columnservice.errors import ColumnServiceError, DamagedFile, RequestError
from columnservice.model import Dataset, FileRecord, LumiRange, OfferedColumn
from columnservice.reader import location_of
from columnservice.settings import Settings

log = logging.getLogger(__name__)
CHECKS = "checks"
OpenDeclared = Callable[[Dataset, Sequence[LumiRange]], None]


def covers(known: Sequence[LumiRange], found: Sequence[LumiRange]) -> bool:
    """Whether all luminosity blocks found are known; both merged, so that none is cut in two."""
    return all(
        any(k.run == f.run and k.first <= f.first and f.last <= k.last for k in known)
        for f in found
    )


class Examiner:
    """Examines local Files; a join is kept only where the Witnesses agree."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        workers: Workers,
        open_declared: OpenDeclared,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._workers = workers
        self._open_declared = open_declared
        self.indexes = Indexes(settings.index_dir, settings.index_limit_bytes)

    def examine(
        self,
        dataset: Dataset,
        record: FileRecord,
        columns: tuple[OfferedColumn, ...],
        uploaded: str = "",
    ) -> tuple[FileRecord, CheckResult | None]:
        """Join a local File with its parents and compare Witnesses.

        Args:
            dataset: the File's Dataset.
            record: the File.
            columns: what it holds.
            uploaded: path of its Witness values, where the service cannot read the File.

        Returns:
            The record, with the luminosity blocks of its very events; and the result, None where
            the Dataset has no parent.

        Raises:
            WrongParent: a parent is of another sample.
            DamagedFile: a parent holds events of luminosity blocks that it does not list.
        """
        if dataset.parent is None:
            return record, None
        parent = self._catalogue.dataset(dataset.parent)
        local = location_of(record, self._settings.xcaches)
        keys = self._workers.submit(make_keys, KeysTask(local, dataset.format))
        record = replace(record, lumis=self._workers.result(keys))
        self._open_declared(parent, record.lumis)
        parents = parents_of(self._catalogue, parent.name, record, self._settings.xcaches)
        self._demand_listed_lumis(parent, parents)
        join, _ = join_task(dataset, parent, parents, local)
        above = tuple(self._catalogue.columnset(r.columnset).columns for r in parents.records)
        sizes = (self._settings.witness_events, uploaded, self._settings.match_events)
        task = CheckTask(join, columns, above, *sizes)
        result = self._workers.result(self._workers.submit(check, task))
        self._tidy()
        return record, result

    def _tidy(self) -> None:
        """Every join passes here, so indexes do not grow beyond their limit."""
        removed = self.indexes.tidy()
        if removed:
            log.info("%d indexes that were not used for long are removed", removed)

    def _demand_listed_lumis(self, parent: Dataset, parents: Parents) -> None:
        """Make the parents' EventIndexes; their events must lie where the catalogue looks."""
        tasks = [
            self._workers.submit(make_keys, KeysTask(location, parent.format))
            for location in parents.locations
        ]
        for record, future in zip(parents.records, tasks, strict=True):
            found = self._workers.result(future)
            if record.lumis and not covers(record.lumis, found):
                raise DamagedFile(
                    f"{record.lfn} holds events of luminosity blocks that its own list lacks.",
                    f"Leave it out of {parent.name}, or make the file again.",
                )

    def verify(self, dataset: str, record: FileRecord) -> None:
        """Examine a File that is registered or uploaded, before its first join is used.

        Raises:
            WrongParent: a parent, perhaps one that was added since, is of another sample.
        """
        columns: tuple[OfferedColumn, ...] = ()
        uploaded = ""
        if is_digest(record.identity.uuid):
            uploaded = str(witness_path(self._settings.index_dir, record.identity.uuid))
        else:
            columns = self._catalogue.columnset(record.columnset).columns
        here = self._catalogue.dataset(dataset)
        _, result = self.examine(here, record, columns, uploaded)
        if result is not None and not uploaded:
            self.keep(dataset, record, result)

    def accept(self, dataset: Dataset, upload: Upload) -> dict[str, Any]:
        """Examine uploaded EventKeys with the Witness values that came along.

        Raises:
            RequestError: the Dataset has no parent.
            WrongParent: the file is of another sample; no note of it is kept.
        """
        if dataset.parent is None:
            raise RequestError(f"{dataset.name} has no parent dataset.", "Register one.")
        path = write_upload(self._settings.index_dir, upload)
        _, result = self.examine(dataset, upload.record, (), str(path))
        assert result is not None
        return remember(self._catalogue, dataset.name, upload, result)

    def keep(self, dataset: str, record: FileRecord, result: CheckResult) -> None:
        """Keep what an examination found, by File."""
        self._catalogue.set_note(dataset, f"{CHECKS}/{record.identity.uuid}", asdict(result))

    def keep_failure(self, dataset: str, record: FileRecord, error: ColumnServiceError) -> None:
        """Keep that a registered File failed its examination; its join is not used any more."""
        told = {"url": record.url, "code": error.code, "error": error.message}
        note = {**told, "remedy": error.remedy}
        self._catalogue.set_note(dataset, f"{CHECKS}/{record.identity.uuid}", note)
        above = self._catalogue.dataset(dataset).parent
        if above is not None:
            parents = parents_of(self._catalogue, above, record, self._settings.xcaches)
            take_path(self._settings.index_dir, parents.take).unlink(missing_ok=True)

    def replace(
        self,
        dataset: str,
        known: FileRecord | None,
        record: FileRecord,
        result: CheckResult | None,
    ) -> None:
        """Keep what an examination found, in place of what was found of an earlier File."""
        if known is not None and known.identity != record.identity:
            self.forget(dataset, known)
        if result is not None:
            self.keep(dataset, record, result)

    def forget(self, dataset: str, record: FileRecord) -> None:
        """Forget what was found of a File that is another one now."""
        self._catalogue.remove_notes(dataset, f"{CHECKS}/{record.identity.uuid}")
