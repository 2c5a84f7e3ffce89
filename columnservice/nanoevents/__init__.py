"""The coffea plugin: remote Columns as branches, and schemas that know them."""

from __future__ import annotations

from typing import Any

from columnservice.client.client import Service
from columnservice.client.fetching import ColumnServiceWarning
from columnservice.nanoevents.branches import ColumnClasses
from columnservice.nanoevents.offer import make_offer
from columnservice.nanoevents.running import run
from columnservice.nanoevents.schemas import schema_for

__all__ = ["ColumnServiceWarning", "options", "run", "schema_for"]


def options(service: Service, schema: Any, **choice: Any) -> dict[str, Any]:
    """What ``Service.nanoevents`` returns; see there."""
    offer = make_offer(service, **choice)
    return {
        "schemaclass": schema_for(schema, service.url),
        "uproot_options": {"custom_classes": ColumnClasses(offer)},
    }
