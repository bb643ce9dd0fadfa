"""Prometheus metrics, named as in Triton and TEI where they mean the same; one registry per process."""

from __future__ import annotations

import asyncio
import platform
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from lexiseg_service.errors import ServiceError
from lexiseg_service.watch.collectors import Gauges, Values, gather

# From a cached text row (tenths of a millisecond) to the default deadline.
SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
LOAD_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0)
# The overhead of gateway and network.
HOP_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
TILES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

# Other HTTP methods are counted as `other`: clients could create unlimited series.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

WorkerState = Literal["ready", "loading", "leaving", "away", "missing"]


# Label values of the counters with one label, by attribute.
KNOWN_VALUES = {
    "questions": ("rest", "grpc", "stream"),
    "failures": ("rejected", "canceled", "timeout", "decode", "backend", "other"),
    "worker_retries": ("away", "full", "model"),
    "frames": ("ok", "error", "dropped"),
    "decodes": ("cpu",),
    "job_pictures": ("ok", "failed"),
    "webhooks": ("sent", "given up"),
    "head_solves": ("ok", "refused", "stopped"),
}


class Metrics:
    """Every metric of the process; docs/observability.md explains them."""

    def __init__(self, workers: Sequence[Path] = ()) -> None:
        """`workers`: sockets of workers on this machine; their metrics are shown, too."""
        self._workers = workers
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"lexiseg_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"lexiseg_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: Sequence[float] = SECONDS) -> Histogram:
            return Histogram(f"lexiseg_{name}", text, labels, buckets=buckets, registry=registry)

        build = gauge("build_info", "1; what runs is in the labels", "version", "python")
        build.labels(version("lexiseg"), platform.python_version()).set(1)
        self.worker_states: Callable[[], Mapping[str, WorkerState]] = dict  # of a gateway, read at each scrape
        self.requests = counter("requests", "Answered HTTP requests", "route", "method", "code")
        head_to_end = "From the head of an HTTP request to the end of its answer"
        self._request_seconds = histogram("request_seconds", head_to_end, "route", "method")
        self.questions = counter("questions", "Requests for masks, by rest or grpc, and frames of streams", "by")
        self.calls = counter("grpc_requests", "Answered gRPC calls", "method", "code")
        self._call_seconds = histogram("grpc_request_seconds", "From the beginning of a gRPC call to its end", "method")
        self.active_calls = gauge("grpc_active", "gRPC calls that are not over, streams included")
        self.failures = counter("request_failures", "Requests for masks that failed", "reason")
        self.model_answers = counter("model_answers", "Answered questions and frames by model", "model", "version")
        again = "Requests that were asked once more, of another worker: away, full or model"
        self.worker_retries = counter("worker_retries", again, "reason")
        self.stream_failovers = counter("stream_failovers", "Video streams that went on with another worker")
        beyond = "What asking a worker took beyond its own time"
        self.hop = histogram("worker_hop_seconds", beyond, buckets=HOP_SECONDS)
        self._stages = histogram("stage_seconds", "Time in each stage", "stage")
        self.batch_size = histogram("batch_size", "Tiles per image pass", buckets=TILES)
        self.decodes = counter("images_decoded", "Images decoded", "decoder")
        self.queue_depth = gauge("queue_depth", "Planned requests waiting for the device")
        self.waiting = gauge("stage_waiting", "Work that waits for a thread of its stage", "stage")
        self.longest_wait = gauge("stage_longest_wait_seconds", "How long the oldest of it has waited", "stage")
        self.in_flight = gauge("inflight", "Requests accepted and not yet answered")
        self._texts = counter("text_cache", "Texts looked up", "tier", "result")
        self.breakers = gauge("redis_breaker_state", "0 closed, 1 half-open, 2 open: Redis is left alone", "link")
        self._features = counter("feature_cache", "Requests by whether the image's features were kept", "result")
        self.streams = gauge("stream_active", "Video streams that are open")
        self.frames = counter("stream_frames", "Frames of video streams: ok, error or dropped", "result")
        self.job_pictures = counter("job_pictures", "Pictures of jobs: ok or failed", "result")
        self.heads = gauge("heads", "Heads that are kept")
        self.head_bytes = gauge("head_bytes", "Bytes of their lessons")
        self.head_bytes_limit = gauge("head_bytes_limit", "Bytes of lessons up to which pictures are taken")
        self.head_solves = counter("head_solves", "Solves of heads: ok, refused or stopped", "result")
        self.webhooks = counter("jobs_webhooks", "Notices to webhooks of jobs: sent or given up", "result")
        self._cache_bytes = gauge("cache_bytes", "Bytes held in memory", "cache")
        self.loaded = gauge("model_loaded", "1 while in memory", "model", "version")
        self.model_bytes = gauge("model_bytes", "Bytes of the weights in memory", "model")
        self.load_seconds = histogram("model_load_seconds", "Time to load a model", "model", buckets=LOAD_SECONDS)
        self.load_failures = counter("model_load_failures", "Models that could not be loaded", "model")
        self.unloads = counter("model_unloads", "Models unloaded to make room for another", "model")
        self.gpu_memory = gauge("gpu_memory_bytes", "Device memory held by this process", "device")
        self.gpu_memory_free = gauge("gpu_memory_free_bytes", "Device memory that nobody holds", "device")
        self._begin()

    def _worker_gauges(self) -> Values:
        states = self.worker_states()
        tally = Tally(states.values())
        return {
            "lexiseg_worker_ready": {worker: state == "ready" for worker, state in states.items()},
            "lexiseg_workers": {state: tally[state] for state in get_args(WorkerState)} if tally else {},
        }

    def _begin(self) -> None:
        """Register the gauges of workers, and begin the series of alerts: a rate needs a first sample."""
        ready = {"lexiseg_worker_ready": "1 while the gateway may ask the worker"}
        self.registry.register(Gauges(ready, self._worker_gauges, "worker"))
        workers = {"lexiseg_workers": "Workers of the gateway by their state"}
        self.registry.register(Gauges(workers, self._worker_gauges))
        for name, values in KNOWN_VALUES.items():
            for value in values:
                getattr(self, name).labels(value)

    def request(self, route: str, method: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        """Count an answered HTTP request; a sampled trace becomes the exemplar of its bucket."""
        method = method if method in METHODS else "other"
        self.requests.labels(route, method, status).inc()
        self._request_seconds.labels(route, method).observe(seconds, _exemplar(trace_id))

    def call(self, method: str, code: str, seconds: float, trace_id: str | None = None) -> None:
        """Count a finished gRPC call."""
        self.calls.labels(method, code).inc()
        self._call_seconds.labels(method).observe(seconds, _exemplar(trace_id))

    def stage(self, stage: str, seconds: float) -> None:
        """Time one run of a stage: decode, queue, text, image, post or total."""
        self._stages.labels(stage).observe(seconds)

    def observe_answer(self, text: float, post: float, total: float, *, from_cache: bool) -> None:
        """Seconds of a request's last stages, and whether the image's features were kept."""
        self.stage("text", text)
        self.stage("post", post)
        self.stage("total", total)
        self._features.labels("hit" if from_cache else "miss").inc()

    def texts(self, tier: str, **counts: int) -> None:
        """Texts that one tier of the cache (l1, redis) was asked for, by result: hit, miss or error."""
        for result, count in counts.items():
            if count:
                self._texts.labels(tier, result).inc(count)

    def watch_cache(self, cache: str, nbytes: Callable[[], float]) -> None:
        """Show the bytes of a cache, read at each scrape."""
        self._cache_bytes.labels(cache).set_function(nbytes)

    async def rendered(self, accept: str) -> tuple[bytes, str]:
        """The exposition in the format of an `Accept` header, and its media type; only OpenMetrics has exemplars."""
        encode, media_type = choose_encoder(accept)
        # In a thread: counting the bytes of some caches takes tens of milliseconds.
        registry = await gather(self.registry.collect(), self._workers) if self._workers else self.registry
        return await asyncio.to_thread(encode, registry), media_type


def failure_reason(error: Exception) -> str:
    """The reason of a failed request in `Metrics.failures`: rejected, timeout, decode, backend or other."""
    return error.reason if isinstance(error, ServiceError) else "backend"


def _exemplar(trace_id: str | None) -> dict[str, str] | None:
    return None if trace_id is None else {"trace_id": trace_id}
