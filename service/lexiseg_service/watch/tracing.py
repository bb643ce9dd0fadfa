"""OpenTelemetry: one server span for each request, and below it a span for each stage.

Off unless OpenTelemetry's variables name an endpoint. The spans of stages are created afterwards, where the stages run,
from measured times; only a `traceparent` travels with the request.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import structlog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

logger = structlog.get_logger("lexiseg.tracing")
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
CLOSING_SECONDS = 2.0  # a collector that is away must not block the shutdown
INSTALL = "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
UNTRACED = frozenset({"/livez", "/readyz", "/metrics"})  # requested by machines all the time


class StageTime(NamedTuple):
    """One run of a stage; times of time.monotonic()."""

    stage: str
    began: float
    ended: float


class RequestSpan:
    """The span of one HTTP request or gRPC call; without tracing it is `NO_SPAN`, which has no end."""

    def __init__(self, span: Span | None = None) -> None:
        self._span = span
        self.trace_id: str | None = None  # 32 hexadecimal digits
        self.kept_id: str | None = None  # the same if the trace is sampled, for exemplars
        self.traceparent: str | None = None
        self.log_fields: dict[str, str] = {}  # what log lines say of the trace
        if span is not None:
            trace = span.get_span_context()
            self.trace_id = f"{trace.trace_id:032x}"
            self.kept_id = self.trace_id if trace.trace_flags.sampled else None
            self.log_fields["trace_id"] = self.trace_id
            self.traceparent = f"00-{self.trace_id}-{trace.span_id:016x}-{trace.trace_flags:02x}"

    def end(
        self, name: str, attributes: Mapping[str, str | int], fault: str | None, request_id: str, key_id: str | None
    ) -> None:
        """End the span; `fault` is the status where something failed on our side."""
        assert self._span is not None
        from opentelemetry.trace import StatusCode

        self._span.update_name(name)
        self._span.set_attributes({**attributes, "lexiseg.request_id": request_id})
        if key_id is not None:
            self._span.set_attribute("lexiseg.key_id", key_id)
        if fault is not None:
            self._span.set_attribute("error.type", fault)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


NO_SPAN = RequestSpan()


class Tracing:
    """Spans of one process, through one provider."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("lexiseg", version("lexiseg"))
        self._propagator = TraceContextTextMapPropagator()
        self._server = SpanKind.SERVER

    def begin(self, name: str, headers: Mapping[str, str], attributes: Mapping[str, str]) -> RequestSpan:
        """Begin the span of a request, below the client's own if it sent a `traceparent`."""
        context = self._propagator.extract({name: headers[name] for name in self._propagator.fields if name in headers})
        return RequestSpan(self._tracer.start_span(name, context, self._server, attributes))

    def stages(self, traceparent: str | None, stages: Iterable[StageTime]) -> None:
        """Create spans of finished stages, below the request's span."""
        if traceparent is None:
            return
        context = self._propagator.extract({"traceparent": traceparent})
        since_epoch = time.time() - time.monotonic()
        for stage, began, ended in stages:
            start, end = (round(1e9 * (seconds + since_epoch)) for seconds in (began, ended))
            self._tracer.start_span(stage, context, start_time=start).end(end)

    def close(self) -> None:
        """Send what is left, within `CLOSING_SECONDS`; the exporter itself would retry for longer."""
        closing = threading.Thread(target=self._provider.shutdown, name="tracing", daemon=True)
        closing.start()
        closing.join(CLOSING_SECONDS)


def open_tracing() -> Tracing | None:
    """Tracing to the endpoint of OpenTelemetry's own variables; None without one, or without its SDK."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("no tracing: OpenTelemetry is not installed", install=INSTALL)
        return None
    own_name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "lexiseg"}
    resource = Resource.create({"service.version": version("lexiseg"), **own_name})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
