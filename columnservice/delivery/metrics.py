"""Counts of what the service did, for ``/metrics``. Knows Prometheus and nothing of the work."""

from __future__ import annotations

from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest


def source_label(url: str) -> str:
    """A replica's server (``root://host:port``), or ``local`` for a path: few labels."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 1094}" if parts.netloc else "local"


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._hits = Counter(
            "columnservice_piece_hits", "Pieces found in the cache", registry=self.registry
        )
        self._misses = Counter(
            "columnservice_piece_misses", "Pieces not found in the cache", registry=self.registry
        )
        self._source_bytes = Counter(
            "columnservice_source_bytes",
            "Bytes of baskets read, by server",
            ["source"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "columnservice_materialise_seconds",
            "Time to make the Pieces of one Partition",
            buckets=(0.01, 0.1, 1, 10, 100),
            registry=self.registry,
        )
        self._sent_bytes = Counter(
            "columnservice_sent_bytes", "Bytes of Arrow streams sent", registry=self.registry
        )

    def pieces(self, hits: int, misses: int) -> None:
        """Count look-ups in the cache."""
        self._hits.inc(hits)
        self._misses.inc(misses)

    def materialised(self, source_bytes: dict[str, int], seconds: float) -> None:
        """Count one materialised Partition."""
        for url, count in source_bytes.items():
            self._source_bytes.labels(source_label(url)).inc(count)
        self._seconds.observe(seconds)

    def sent(self, count: int) -> None:
        """Count bytes sent to clients."""
        self._sent_bytes.inc(count)

    def text(self) -> bytes:
        """All counters in Prometheus' text format."""
        return generate_latest(self.registry)
