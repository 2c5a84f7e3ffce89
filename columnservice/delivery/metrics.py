"""Counts of what the service did, for ``/metrics``. Knows Prometheus and nothing of the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from columnservice.cache import CacheStats
from columnservice.errors import Unavailable


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
        self._uncached = Counter(
            "columnservice_uncached_pieces",
            "Pieces that were served without being cached: too large, or the disk is full",
            registry=self.registry,
        )
        self._deadlines = Counter(
            "columnservice_deadlines",
            "Tasks given up because nothing arrived from the storage",
            registry=self.registry,
        )
        self._deaths = Counter(
            "columnservice_worker_deaths",
            "Worker processes that died or froze",
            registry=self.registry,
        )
        self._turned_away = Counter(
            "columnservice_turned_away",
            "Requests answered 503 because the queue was full or the service was ending",
            registry=self.registry,
        )
        self._broken_streams = Counter(
            "columnservice_broken_streams",
            "Replies that failed after their first batch",
            registry=self.registry,
        )
        self._requests = Counter(
            "columnservice_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "columnservice_request_seconds",
            "Time from a request to the end of its reply",
            ["route"],
            buckets=(0.01, 0.1, 1, 10, 100),
            registry=self.registry,
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

    def uncached(self, count: int) -> None:
        """Count Pieces that the cache did not take."""
        self._uncached.inc(count)

    def deadline(self) -> None:
        """Count a task that made no progress."""
        self._deadlines.inc()

    def worker_died(self) -> None:
        """Count a worker process that died or froze."""
        self._deaths.inc()

    def turned_away(self) -> None:
        """Count a request for which there was no place."""
        self._turned_away.inc()

    def broken_stream(self) -> None:
        """Count a reply that failed on the way."""
        self._broken_streams.inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request, answered or left."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Report a number that is read when somebody asks for the metrics."""
        Gauge(f"columnservice_{name}", about, registry=self.registry).set_function(read)

    def cache(self, stats: Callable[[], CacheStats]) -> None:
        """Report a cache's own counts."""
        self.registry.register(_CacheCollector(stats))

    def text(self) -> bytes:
        """All counters in Prometheus' text format."""
        return generate_latest(self.registry)


class _CacheCollector(Collector):
    """A cache's counts, read once each time; nothing while its index cannot be read."""

    def __init__(self, stats: Callable[[], CacheStats]) -> None:
        self._stats = stats

    def describe(self) -> list[Metric]:
        """Nothing is known without reading the index."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The counts as they are now."""
        try:
            stats = self._stats()
        except Unavailable:
            return
        for name, about, value in (
            ("entries", "Pieces in the cache", stats.entries),
            ("bytes", "Size of the Pieces in the cache", stats.size_bytes),
            ("limit_bytes", "What the Pieces in the cache may take", stats.limit_bytes),
        ):
            yield GaugeMetricFamily(f"columnservice_cache_{name}", about, value=value)
        for name, about, value in (
            ("evictions", "Pieces taken away to make room", stats.evictions),
            ("rejected", "Pieces not admitted: too large, or no room on the disk", stats.rejected),
            ("damaged", "Pieces found damaged and removed", stats.damaged),
        ):
            yield CounterMetricFamily(f"columnservice_cache_{name}", about, value=value)
