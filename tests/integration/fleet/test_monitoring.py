"""A real Prometheus scrapes a gateway, a worker and HAProxy: it has every metric that a panel or a rule asks for."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from loadtests.ports import free_port
from tests import pictures
from tests.deploy.monitoring.files import MONITORING, metrics_of, panels, rules
from tests.integration import edge
from tests.integration.processes import Gateway, Worker
from tests.integration.server import form
from tests.redis_server import RedisServer
from tests.waiting import SOON, until

SIDE = 64
PICTURE = pictures.encoded(pictures.small("china", SIDE), "JPEG")
OTHERS = ("redis_", "probe_", "certmanager_")  # of exporters beside the service
OF_A_GPU = {"lexiseg_gpu_memory_bytes", "lexiseg_gpu_memory_free_bytes"}  # no series where there is none
pytestmark = pytest.mark.slow


class Prometheus:
    """Scrapes three times a second; stopped at the end."""

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        scrapes = [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()]
        config = {
            "global": {"scrape_interval": "300ms", "evaluation_interval": "300ms"},
            "rule_files": [str(MONITORING / "rules" / "*.yml")],
            "scrape_configs": scrapes,
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._log = (folder / "prometheus.log").open("w")
        self._process = subprocess.Popen(
            [
                "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}", "--enable-feature=exemplar-storage",
            ],
            stdout=self._log,
            stderr=self._log,
        )  # fmt: skip

    def ask(self, expr: str) -> list[dict[str, Any]]:
        """Samples of an expression, now."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expr}, timeout=SOON).raise_for_status()
        samples: list[dict[str, Any]] = answer.json()["data"]["result"]
        return samples

    def until(self, holds: Callable[[], bool]) -> None:
        def said() -> str:
            return Path(self._log.name).read_text()[-2000:]

        def has_come() -> bool:
            assert self._process.poll() is None, said()
            with suppress(httpx.HTTPError):  # it does not listen yet, or reads what it has on its disk
                return holds()
            return False

        until(has_come, told=said)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(SOON)
        self._log.close()


def ask(gateway: Gateway) -> None:
    """A question by each door."""
    assert httpx.post(f"{gateway.url}/segment", files=form(PICTURE, "sky", max_side=SIDE), timeout=SOON).is_success
    classes = [pb.Class(name="sky")]
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = SegmentationStub(channel)
        stub.Segment(pb.SegmentRequest(image=pb.Image(content=PICTURE), classes=classes, max_side=SIDE), timeout=SOON)
        messages = [
            pb.SegmentVideoRequest(config=pb.StreamConfig(classes=classes, max_side=SIDE)),
            pb.SegmentVideoRequest(frame=pb.Frame(image=PICTURE, id="1")),
        ]
        assert [answer.frame_id for answer in stub.SegmentVideo(iter(messages), timeout=SOON)] == ["1"]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has seen some questions answered."""
    folder = tmp_path_factory.mktemp("monitoring")
    redis = RedisServer(folder)
    try:
        shared = {
            "LEXISEG_REDIS_URL": redis.url,
            "LEXISEG_RATE_LIMIT": "1000",
            "LEXISEG_JOBS": "true",
            "LEXISEG_STATE_DIR": str(folder / "state"),
            "LEXISEG_TRAININGS": str(folder / "trainings"),
        }
        with (
            Worker(folder / "worker.log", 0, LEXISEG_REDIS_URL=redis.url) as worker,
            Gateway(folder / "gateway.log", worker.address, **shared) as gateway,
            edge.started(gateway.url.removeprefix("http://"), gateway.grpc, folder / "edge.log") as haproxy,
        ):
            gateway.wait_for_workers(1)
            ask(gateway)
            targets = {
                "lexiseg-gateway": gateway.url,
                "lexiseg-worker": worker.url,
                "lexiseg-edge": f"http://127.0.0.1:{haproxy.metrics}",
            }
            started = Prometheus(folder, {job: url.removeprefix("http://") for job, url in targets.items()})
            try:
                started.until(lambda: len(started.ask("count_over_time(up[1m]) >= 3")) == len(targets))
                ask(gateway)
                counted = 'sum(rate(lexiseg_questions_total{job="lexiseg-gateway"}[30s])) > 0'
                started.until(lambda: bool(started.ask(counted)))
                started.until(lambda: bool(started.ask("lexiseg:failed_share:rate5m and lexiseg:slow_share:rate5m")))
                yield started
            finally:
                started.stop()
    finally:
        redis.kill()


def test_every_metric_that_a_panel_or_rule_names_is_there(prometheus: Prometheus) -> None:
    wanted = set[str]().union(*(metrics_of(expr) for _, _, expr in panels()), *(metrics_of(r["expr"]) for r in rules()))

    there = {name for name in wanted if prometheus.ask(f'count({{__name__="{name}"}})')}

    assert len(wanted) > 40
    assert {name for name in wanted if not name.startswith(OTHERS)} - there == OF_A_GPU


def test_every_panel_has_something_to_show(prometheus: Prometheus) -> None:
    for dashboard, title, expr in panels():
        asked = expr.replace("$__rate_interval", "30s").replace("$job", ".*")
        if not metrics_of(expr) & OF_A_GPU:
            assert prometheus.ask(asked), f"{dashboard}: {title}: {asked}"


def test_every_rule_can_be_evaluated_and_nothing_fires_in_a_quiet_service(prometheus: Prometheus) -> None:
    groups = httpx.get(f"{prometheus.url}/api/v1/rules", timeout=SOON).json()["data"]["groups"]
    evaluated = [rule for group in groups for rule in group["rules"]]

    assert {(rule["name"], rule["health"]) for rule in evaluated} == {
        (rule.get("alert") or rule["record"], "ok") for rule in rules()
    }
    assert [rule["name"] for rule in evaluated if rule.get("state") == "firing"] == []
