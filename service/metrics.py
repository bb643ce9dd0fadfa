"""Prometheus metrics, named as in Triton and TEI where they mean the same; one registry per process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.messages import WorkerAnswer

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TILES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Every metric of the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "lexiseg_requests", "Answered HTTP requests", ["route", "method", "code"], registry=self.registry
        )
        self.failures = Counter(
            "lexiseg_request_failures", "Requests to a model that failed", ["reason"], registry=self.registry
        )
        self._stages = Histogram(
            "lexiseg_stage_seconds", "Time in each stage", ["stage"], buckets=SECONDS, registry=self.registry
        )
        self.batch_size = Histogram("lexiseg_batch_size", "Tiles per image pass", buckets=TILES, registry=self.registry)
        self.queue_depth = Gauge(
            "lexiseg_queue_depth", "Planned requests waiting for the device", registry=self.registry
        )
        self.in_flight = Gauge("lexiseg_inflight", "Requests accepted and not yet answered", registry=self.registry)
        self._texts = Counter("lexiseg_text_cache", "Texts looked up", ["tier", "result"], registry=self.registry)
        self.redis_breaker = Gauge(
            "lexiseg_redis_breaker_state", "0 closed, 1 half-open, 2 open: Redis is left alone", registry=self.registry
        )
        self._features = Counter(
            "lexiseg_feature_cache",
            "Requests by whether the image's features were kept",
            ["result"],
            registry=self.registry,
        )
        self.cache_bytes = Gauge("lexiseg_cache_bytes", "Bytes held", ["cache"], registry=self.registry)
        self.loaded = Gauge("lexiseg_model_loaded", "1 once warmed up", ["model", "version"], registry=self.registry)

    def stage(self, stage: str, seconds: float) -> None:
        """One pass of a stage: decode, queue, text, image, post or total."""
        self._stages.labels(stage).observe(seconds)

    def answered(self, answer: WorkerAnswer) -> None:
        """What an answer says of its last stages and of the feature cache."""
        self.stage("text", answer.timings.text / 1e3)
        self.stage("post", answer.timings.post / 1e3)
        self.stage("total", answer.timings.total / 1e3)
        self._features.labels("hit" if answer.cache.features else "miss").inc()

    def texts(self, tier: str, result: str, n: int) -> None:
        """Texts that one tier of the cache (l1, redis) was asked for; result is hit, miss or error."""
        if n:
            self._texts.labels(tier, result).inc(n)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
