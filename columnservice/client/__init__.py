"""The client: where the service is asked, and where its answers are checked before use.

Needs neither the server nor uproot, awkward or coffea.
"""

from __future__ import annotations

from columnservice.client.client import Service, connect
from columnservice.client.dataset import ColumnList, RemoteDataset
from columnservice.client.fetching import ColumnServiceWarning
from columnservice.client.reply import Reply
from columnservice.client.report import Report

__all__ = [
    "ColumnList",
    "ColumnServiceWarning",
    "RemoteDataset",
    "Reply",
    "Report",
    "Service",
    "connect",
]
