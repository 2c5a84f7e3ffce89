"""The computations of ``delivery.compute`` that rest on a match of objects, and their version."""

from __future__ import annotations

MATCH_VERSION = 2
MATCH_INDEX, MATCH_AMBIGUOUS = "match_index", "match_ambiguous"
HAS_MATCH, MATCH_DISTANCE = "has_match", "match_distance"
TAKE_MATCHED, TAKE_RENUMBERED = "take_matched", "take_renumbered"
MATCH_COMPUTES = (
    MATCH_INDEX,
    MATCH_AMBIGUOUS,
    HAS_MATCH,
    MATCH_DISTANCE,
    TAKE_MATCHED,
    TAKE_RENUMBERED,
)
