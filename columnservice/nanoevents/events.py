"""``events.columnservice_report()``: the account of what one file's events were given.

A method of coffea's top-level array and record, brought along by the behavior of our schemas. Knows
coffea's behaviors and the process's ledger; neither files nor the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from coffea.nanoevents.methods import base, nanoaod
from coffea.util import dask_method

from columnservice.client.report import LEDGER, Report

SERVICE = "columnservice"
"""Parameter of the events' Form that holds the URL of the service."""


class _Reporting:
    """Mixed into coffea's events."""

    @dask_method(no_dispatch=True)  # type: ignore[untyped-decorator]
    def columnservice_report(self: Any) -> Report:
        """What this process was given of the file that these events come from, so far.

        Requests, bytes and seconds, the servers of the parents, and type, source, Recipes and
        parents of every Column used: ``service.report()`` cut down to one file. In dask mode, and
        for events that travelled between processes, the file is not known: it tells of all files of
        the service. Of events concatenated from several files, it tells of the first one's file.
        """
        report = LEDGER.report(self.layout.purelist_parameter(SERVICE) or "")
        factory = self.attrs.get("@events_factory")
        handle = getattr(factory, "file_handle", None)
        if handle is None:
            return report
        return report.of_file(str(getattr(handle, "file", handle).uuid))


class _EventsArray(_Reporting, base.NanoEventsArray):  # type: ignore[misc]
    """coffea's array of events."""


class _EventsRecord(_Reporting, base.NanoEventsRecord):  # type: ignore[misc]
    """coffea's single event."""


_NanoAODEvent: Any = nanoaod.behavior["NanoEvents"]


class _NanoAODRecord(_Reporting, _NanoAODEvent):  # type: ignore[misc]
    """coffea's single NanoAOD event."""


# What has a name in a module pickles as that name; the classes of a user's own behavior do not.
_NAMED = {c.__bases__[1]: c for c in (_EventsArray, _EventsRecord, _NanoAODRecord)}


@lru_cache(maxsize=64)
def _reporting(events: type) -> type:
    """A class of events with the method."""
    named = _NAMED.get(events)
    names = {"__module__": events.__module__, "__doc__": events.__doc__}
    return named or type(events.__name__, (_Reporting, events), names)


def with_report(behavior: Mapping[Any, Any]) -> dict[Any, Any]:
    """A schema's behavior, whose events have ``columnservice_report()``."""
    kinds = ("NanoEvents", ("*", "NanoEvents"))
    return {**behavior, **{k: _reporting(behavior[k]) for k in kinds if k in behavior}}
