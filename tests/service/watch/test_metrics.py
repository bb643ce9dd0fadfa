import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from lexiseg_service import errors
from lexiseg_service.watch.metrics import Metrics
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import form, serving

MANUAL = Path(__file__).resolve().parents[3] / "docs" / "observability.md"
# A sample once a real request is answered, without Redis and without a GPU.
ALWAYS = [
    'lexiseg_requests_total{code="200",method="POST",route="/segment"} 1.0',
    'lexiseg_text_cache_total{result="miss",tier="l1"} 1.0',
    'lexiseg_feature_cache_total{result="miss"} 1.0',
    'lexiseg_batch_size_bucket{le="1.0"} 1.0',
    "lexiseg_inflight 0.0",
    "lexiseg_queue_depth 0.0",
]


def documented() -> dict[str, str]:
    """Name -> type of every metric in the manual's table."""
    rows = re.findall(
        r"^\| `(lexiseg_\w+)(?:\{[^`]*\})?` \| (\w+) \|", MANUAL.read_text(encoding="utf-8"), re.MULTILINE
    )
    return dict(rows)


def exposed(scrape: str) -> dict[str, str]:
    """Name -> type of every metric in a scrape."""
    return dict(re.findall(r"^# TYPE (lexiseg_\w+) (\w+)$", scrape, re.MULTILINE))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def backend(metrics: Metrics) -> Iterator[EngineBackend]:
    made = EngineBackend(metrics=metrics)
    yield made
    made.engine.close(20)


async def scrape_after_a_request(backend: EngineBackend | KnownBackend, metrics: Metrics, **settings: Any) -> str:
    async with serving(backend=backend, metrics=metrics, **settings) as client:
        await client.post("/segment", files=form("red"))
        return (await client.get("/metrics")).text


async def test_a_scrape_and_the_manual_name_the_same_metrics(
    backend: EngineBackend, metrics: Metrics, tmp_path: Path
) -> None:
    scrape = await scrape_after_a_request(backend, metrics, jobs=True, state_dir=tmp_path, trainings=tmp_path)

    exposed_names = {name: kind for name, kind in exposed(scrape).items() if not name.endswith("_created")}
    assert documented()
    assert documented() == exposed_names


async def test_a_request_leaves_its_traces_and_each_cache_says_what_it_holds(
    backend: EngineBackend, metrics: Metrics
) -> None:
    scrape = await scrape_after_a_request(backend, metrics)

    assert {*ALWAYS} <= {*scrape.splitlines()}
    held = dict(re.findall(r'^lexiseg_cache_bytes\{cache="(\w+)"\} (\S+)$', scrape, re.MULTILINE))
    assert float(held["texts"]) == backend.engine.text_caches.memory.weight > 0
    assert float(held["features"]) == backend.engine.feature_cache.weight > 0
    assert float(held["words"]) > 0
    assert {"asked", "streams", "requests", "fetched", "vocabularies"} <= held.keys()


def test_methods_that_no_route_has_are_counted_together(metrics: Metrics) -> None:
    for method in ("GET", "MKCOL", "PROPFIND", "UNLINK"):
        metrics.request("/v1/models", method, 405, 0.001)

    scrape = generate_latest(metrics.registry).decode()

    counted = re.findall(r'^lexiseg_requests_total\{code="405",method="(\w+)",\S+ (\S+)$', scrape, re.MULTILINE)
    assert dict(counted) == {"GET": "1.0", "other": "3.0"}


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (errors.QueueFull("full", 1), "rejected"), (errors.DeadlineExceeded("late"), "timeout"),
        (errors.TooLarge("large"), "decode"),
        (errors.UnsupportedImage("gif"), "decode"), (errors.UndecodableImage("damaged"), "decode"),
        (errors.NotReady("loading"), "backend"), (RuntimeError("the device is gone"), "backend"),
        (errors.InvalidValue.of("threshold", 7, "less"), "other"), (errors.UnknownModel("no"), "other"),
    ],
)  # fmt: skip
async def test_a_failure_counts_under_its_reason(
    failure: errors.ServiceError | RuntimeError, reason: str, metrics: Metrics
) -> None:
    scrape = await scrape_after_a_request(KnownBackend(failure=failure), metrics)

    assert f'lexiseg_request_failures_total{{reason="{reason}"}} 1.0' in scrape
