"""Versions of a model in a running service: side by side, and exchanged under load."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from lexiseg_service.cli import app
from tests.integration.load import load, rest_client
from tests.integration.processes import Gateway, Worker
from tests.model.catalogue.test_models import SMALL_INPUT, copy_of_tiny
from tests.waiting import SOON

CLIENTS = 2
THINK = 0.05  # seconds between two questions of a client: what is loaded needs the processor, too


class Service:
    """A worker with two versions of `cats` and one of `dogs`, and its gateway."""

    def __init__(self, folder: Path) -> None:
        self.models = folder / "models"
        for name in ("cats@1", "cats@2", "dogs@1", "dogs@2"):
            copy_of_tiny(self.models, name, input=SMALL_INPUT)
        (self.models / "dogs").symlink_to("dogs@1")
        self.worker = Worker(
            folder / "worker.jsonl",
            model="cats@1,cats@2,dogs",
            LEXISEG_MODELS_DIR=str(self.models),
            LEXISEG_RUNTIME="torch",  # `auto` would first export each of them
        )
        self.gateway = Gateway(folder / "gateway.jsonl", self.worker.address)
        self.gateway.wait_for_workers(1)

    def answered(self, name: str) -> Counter[str]:
        """By version, so far."""
        metric = 'lexiseg_model_answers_total{{model="{}",version="{}"}}'
        return Counter({version: int(self.worker.metric(metric.format(name, version))) for version in ("1", "2")})

    def version(self, name: str) -> str:
        """Of the model that is called NAME now."""
        return str(httpx.get(f"{self.gateway.url}/models/{name}", timeout=SOON).json()["version"])

    def stop(self) -> None:
        for process in (self.gateway, self.worker):
            process.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("versions"))
    try:
        yield running
    finally:
        running.stop()


def run(*words: object) -> None:
    app(list(map(str, words)), standalone_mode=False)


def test_a_version_is_exchanged_for_another_and_back_and_no_request_fails(service: Service) -> None:
    dogs = partial(rest_client, service.gateway.url, model="dogs")

    with load(*[dogs] * CLIENTS, pause=THINK) as seen:
        service.gateway.wait_until(lambda: seen["rest"] > 5)
        run("models", "use", "dogs@2", "--models-dir", service.models)
        service.gateway.wait_until(lambda: service.version("dogs") == "2" and service.answered("dogs")["2"] > 5)
        run("models", "back", "dogs", "--models-dir", service.models)
        old = service.answered("dogs")["1"]
        service.gateway.wait_until(lambda: service.version("dogs") == "1" and service.answered("dogs")["1"] > old + 5)

    assert set(seen) == {"rest"}
