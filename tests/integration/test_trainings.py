"""A gateway and a trainer on what clients send: hostile data sets fail in words, and say nothing of the machine."""

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lexiseg_service.commands.serving.trainer import Bounds, Trainer
from lexiseg_service.gateway.trainings.training import UNENDED, TrainingStore
from tests import pictures
from tests.service.batch.http.asking import zipped
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports
from tests.waiting import SOON, until

PASSWORD = "password-of-redis"
ALIASES = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
LABELS = {"images/a.png": pictures.encoded(pictures.small("china", 32)), "labels/a.txt": b"0 .1 .1 .5 .1 .5 .5\n"}
SETS = {
    "environment": b"path: /proc/self\ntrain: environ\nnames: [a]\n",
    "above": b"path: ../..\ntrain: .\nnames: [a]\n",
    "aliases": f"a0: &a0 [x, x, x]\n{ALIASES}names: *a8\ntrain: images\n".encode(),
}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setenv("LEXISEG_REDIS_URL", f"redis://:{PASSWORD}@localhost:1/0")
    store, models = TrainingStore(tmp_path / "trainings"), tmp_path / "models"
    models.mkdir()
    trainer = Trainer(store, models, Bounds(seconds=120.0, memory_bytes=2**31))
    thread = threading.Thread(target=trainer.work)
    thread.start()
    try:
        until(lambda: store.seconds_since_beat() is not None)
        settings = {"trainings": store.root, "redis_url": None}
        with on_ports(KnownBackend(), **settings) as ports, httpx.Client(base_url=ports.url, timeout=SOON) as client:
            yield client
    finally:
        trainer.stop()
        thread.join()


def test_hostile_data_sets_fail_in_words_and_show_nothing_of_the_machine(client: httpx.Client, tmp_path: Path) -> None:
    for name, content in SETS.items():
        files = {"archive": ("set.zip", zipped({"data.yaml": content, **LABELS}))}
        asked = {"name": name, "start": "colours"}
        answer = client.post("/v1/trainings", data={"request": json.dumps(asked)}, files=files)
        assert answer.status_code == 202, answer.text
        at = answer.headers["Location"]

        until(lambda at=at: client.get(at).json()["state"] not in UNENDED)  # type: ignore[misc]

        training = client.get(at).json()
        shown = str(training) + client.get(f"{at}/log").text + client.get(f"{at}/events").text
        assert training["state"] == "failed"
        assert training["detail"]
        for secret in (PASSWORD, "root:x:", "PATH=", str(tmp_path), sys.prefix, "Traceback"):
            assert secret not in shown
