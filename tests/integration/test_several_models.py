"""`lexiseg serve` with more models than its memory may hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lexiseg_model import catalogue
from tests import pictures
from tests.integration.server import Server, form
from tests.model.catalogue.test_models import copy_of_tiny
from tests.waiting import until

CLASSES = ("cat", "wall")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `second`: the bundled model under another name."""
    return copy_of_tiny(tmp_path_factory.mktemp("models"), "second").parent


@pytest.fixture(scope="module")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Room for one model and a half."""
    folder = tmp_path_factory.mktemp("server")
    room = 3 * catalogue.load("tiny").nbytes // 2
    # The room is counted for torch. Elsewhere than on a processor with bf16, `auto` would first export `second`.
    environment = {
        "LEXISEG_MODEL": "tiny,second",
        "LEXISEG_MODELS_DIR": str(models_dir),
        "LEXISEG_RUNTIME": "torch",
        "LEXISEG_DEADLINE_SECONDS": "120",  # a model is loaded within it, however busy the machine
    }
    with Server(folder / "log.jsonl", LEXISEG_MODEL_MEMORY_BYTES=str(room), **environment) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=150) as client:
        yield client


SOON = 60.0  # seconds that nothing here should need


def photograph(side: int) -> bytes:
    return pictures.encoded(pictures.small("chelsea", side))


def ask(client: httpx.Client, image: bytes, **fields: Any) -> dict[str, Any]:
    answer = client.post("/segment", files=form(image, *CLASSES, threshold=0, **fields))
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def loaded(client: httpx.Client) -> dict[str, bool]:
    return {model["name"]: model["loaded"] for model in client.get("/models").json()["models"]}


def until_loaded(client: httpx.Client, *names: str) -> None:
    """The gateway hears from its worker twice a second."""
    until(lambda: {name for name, there in loaded(client).items() if there} == set(names), SOON)


def test_models_take_turns_in_memory_and_answer_alike(client: httpx.Client, server: Server) -> None:
    first = ask(client, photograph(97))
    until_loaded(client, "tiny")
    second = ask(client, photograph(96), model="second")
    until_loaded(client, "second")
    again = ask(client, photograph(96))
    until_loaded(client, "tiny")

    assert first["model"] == again["model"] == "tiny"
    assert second["model"] == "second"
    assert second["segments"] == again["segments"] != []
    assert server.metric('lexiseg_model_unloads_total{model="tiny"}') >= 1
    assert server.metric('lexiseg_model_loaded{model="second",version="1"}') == 0
