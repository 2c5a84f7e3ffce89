"""The coffea plugin: remote Columns as branches, and schemas that know them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from columnservice.client.client import Service
from columnservice.nanoevents.branches import ColumnClasses
from columnservice.nanoevents.offer import ColumnServiceWarning, make_offer
from columnservice.nanoevents.schemas import schema_for

__all__ = ["ColumnServiceWarning", "options", "schema_for"]


def options(
    service: Service,
    schema: Any,
    dataset: str | Iterable[str] | None,
    columns: str | Iterable[str] | None,
    missing: str,
) -> dict[str, Any]:
    """What ``Service.nanoevents`` returns; see there."""
    offer = make_offer(service, dataset, columns, missing)
    return {
        "schemaclass": schema_for(schema),
        "uproot_options": {"custom_classes": ColumnClasses(offer)},
    }
