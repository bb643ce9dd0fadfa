import builtins
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from lexiseg_service.watch.tracing import ENDPOINTS, Tracing, open_tracing
from tests.command import ended
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rpc.calling import calling, request
from tests.service.gateway.serving import form, serving

TRACE, CLIENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ["decode", "image", "post", "queue", "text"]


@pytest.fixture(autouse=True)
def _no_collector_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Iterator[Tracing]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = Tracing(provider)
    yield made
    made.close()


@pytest.fixture
def backend(tracing: Tracing) -> Iterator[EngineBackend]:
    made = EngineBackend(tracing=tracing)
    yield made
    made.engine.close(20)


async def asked(backend: Any, tracing: Tracing | None, path: str = "/segment", **headers: str) -> httpx.Response:
    async with serving(backend=backend, tracing=tracing) as client:
        if path == "/segment":
            return await client.post(path, files=form("red"), headers=headers)
        return await client.get(path, headers=headers)


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return span.attributes or {}


async def test_a_request_is_a_server_span_below_the_clients_with_a_span_for_each_stage(
    backend: EngineBackend, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    await asked(backend, tracing, traceparent=f"00-{TRACE}-{CLIENT}-01")

    spans = exporter.get_finished_spans()
    (server,) = [span for span in spans if span.kind is SpanKind.SERVER]
    stages = [span for span in spans if span is not server]
    assert server.name == "POST /segment"
    assert sorted(span.name for span in stages) == STAGES
    assert server.context is not None
    assert {span.parent.span_id for span in stages if span.parent} == {server.context.span_id}
    assert server.parent is not None
    assert f"{server.parent.trace_id:032x}" == TRACE
    assert f"{server.parent.span_id:016x}" == CLIENT


def test_without_an_endpoint_nothing_of_it_is_needed() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None; "  # an import of it would now fail
        "from lexiseg_service.watch.tracing import open_tracing; "
        "assert open_tracing() is None"
    )

    answer = ended([sys.executable, "-c", program])

    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("name", ENDPOINTS)
def test_the_standard_variables_switch_it_on_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    opened = open_tracing()

    assert opened is not None
    opened.close()


def test_a_variable_of_the_cluster_without_the_extra_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    without_otel(monkeypatch)
    monkeypatch.setenv(ENDPOINTS[0], "http://127.0.0.1:9")

    assert open_tracing() is None


def test_a_collector_that_does_not_answer_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answering, asked = threading.Event(), threading.Event()

    class Held(SimpleSpanProcessor):
        def shutdown(self) -> None:
            asked.set()
            answering.wait()

    monkeypatch.setattr("lexiseg_service.watch.tracing.CLOSING_SECONDS", 0.01)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Held(InMemorySpanExporter()))

    Tracing(provider).close()  # would never return if it waited for the answer

    assert asked.wait(60)
    answering.set()


def without_otel(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def failing(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", failing)


async def test_a_grpc_call_is_a_server_span_below_the_clients_with_its_stages(
    backend: EngineBackend, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    async with calling(backend=backend, tracing=tracing) as gateway:
        answer = await gateway.stub.Segment(request("red"), metadata=(("traceparent", f"00-{TRACE}-{CLIENT}-01"),))

    spans = exporter.get_finished_spans()
    (server,) = [span for span in spans if span.kind is SpanKind.SERVER]
    assert server.name == "lexiseg.v1.Segmentation/Segment"
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == CLIENT
    assert sorted(span.name for span in spans if span is not server) == STAGES
    assert attributes(server) == {
        "rpc.system.name": "grpc",
        "rpc.method": "lexiseg.v1.Segmentation/Segment",
        "rpc.response.status_code": "OK",
        "lexiseg.request_id": answer.id,
    }


async def test_a_call_that_fails_by_our_fault_is_an_error_of_the_span_and_one_by_the_clients_is_not(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    async with calling(backend=KnownBackend(failure=RuntimeError("gone")), tracing=tracing) as gateway:
        for question in (request("red"), request()):
            with pytest.raises(grpc.aio.AioRpcError):
                await gateway.stub.Segment(question)

    ours, theirs = exporter.get_finished_spans()
    assert (ours.status.status_code, attributes(ours)["error.type"]) == (StatusCode.ERROR, "INTERNAL")
    assert theirs.status.status_code is not StatusCode.ERROR
