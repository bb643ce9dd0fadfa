"""Versions of a model in a running service: shares of traffic, and an exchange under load."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from lexiseg_model.types import ModelName
from lexiseg_service.cli import app
from lexiseg_service.fleet.rollouts import Rollout
from lexiseg_service.image.header import image_id_of
from tests.integration.load import PICTURE, SIDE, load, rest_client
from tests.integration.processes import Gateway, Worker
from tests.integration.server import TO_START, form
from tests.model.catalogue.test_models import SMALL_INPUT, copy_of_tiny

IMAGES = [PICTURE + bytes([number]) for number in range(12)]
CLIENTS = 2
THINK = 0.05  # seconds between two questions of a client: what is loaded needs the processor, too


class Service:
    """A worker with two versions of `cats` and one of `dogs`, and its gateway."""

    def __init__(self, folder: Path) -> None:
        self.models, self.rollouts = folder / "models", folder / "rollouts.txt"
        for name in ("cats@1", "cats@2", "dogs@1", "dogs@2"):
            copy_of_tiny(self.models, name, input=SMALL_INPUT)
        (self.models / "dogs").symlink_to("dogs@1")
        self.rollouts.write_text("cats@2 50 image\n")
        self.worker = Worker(
            folder / "worker.jsonl",
            model="cats@1,cats@2,dogs",
            LEXISEG_MODELS_DIR=str(self.models),
            LEXISEG_RUNTIME="torch",  # `auto` would first export each of them
        )
        self.gateway = Gateway(folder / "gateway.jsonl", self.worker.address, LEXISEG_ROLLOUTS_FILE=str(self.rollouts))
        self.gateway.wait_for_workers(1)

    def ask(self, model: str, image: bytes) -> httpx.Response:
        files = form(image, "sky", max_side=SIDE, mask="none", model=model)
        return httpx.post(f"{self.gateway.url}/segment", files=files, timeout=60)

    def answered(self, name: str) -> Counter[str]:
        """By version, so far."""
        metric = 'lexiseg_model_answers_total{{model="{}",version="{}"}}'
        return Counter({version: int(self.worker.metric(metric.format(name, version))) for version in ("1", "2")})

    def degraded(self) -> list[str]:
        return list(httpx.get(f"{self.gateway.url}/readyz", timeout=60).json()["degraded"])

    def version(self, name: str) -> str:
        """Of the model that is called NAME now."""
        return str(httpx.get(f"{self.gateway.url}/models/{name}", timeout=60).json()["version"])

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


def test_a_share_of_the_images_gets_the_new_version_until_it_is_taken_back(service: Service) -> None:
    rollout = Rollout(ModelName("cats", "2"), 50, "image")
    expected = Counter("2" if rollout.takes(image_id_of(image)) else "1" for image in IMAGES)

    # The share was given before its version is loaded: whoever asks at once gets the one that is there.
    statuses = [service.ask("cats", image).status_code for image in IMAGES]
    service.gateway.wait_until(lambda: service.degraded() == [], TO_START)
    before = service.answered("cats")
    statuses += [service.ask("cats", image).status_code for image in IMAGES]
    shared = service.answered("cats") - before
    run("rollout", "back", "cats", "--file", service.rollouts)
    inside = next(image for image in IMAGES if rollout.takes(image_id_of(image)))

    def gets_the_old_one() -> bool:
        before = service.answered("cats")
        service.ask("cats", inside)
        return (service.answered("cats") - before)["1"] == 1

    service.gateway.wait_until(gets_the_old_one)
    before = service.answered("cats")
    statuses += [service.ask("cats", image).status_code for image in IMAGES]

    assert set(statuses) == {200}
    assert shared == expected
    assert min(expected.values()) > 0
    assert service.answered("cats") - before == Counter({"1": len(IMAGES)})
    assert service.ask("cats@2", inside).status_code == 200


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
