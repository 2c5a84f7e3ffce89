"""Reading ROOT files: replicas, open files, baskets. Knows no joins and no cache."""

from columnservice.reader.baskets import Read, read_rows
from columnservice.reader.parts import Demand, read_parts
from columnservice.reader.pool import FilePool
from columnservice.reader.replicas import configure_xrootd, lfn_of, location_of, replicas_of
from columnservice.reader.rootfile import OpenTree

__all__ = [
    "Demand",
    "FilePool",
    "OpenTree",
    "Read",
    "configure_xrootd",
    "lfn_of",
    "location_of",
    "read_parts",
    "read_rows",
    "replicas_of",
]
