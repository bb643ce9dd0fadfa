"""A class by words and examples, asked over REST of a model that fuses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue.method import methods
from lexiseg_model.methods.tipsv2.import_ import Options
from tests import pictures
from tests.integration.processes import Gateway, Worker
from tests.integration.server import form
from tests.model.methods.tipsv2 import small

SHOWN = {"name": "red", "examples": [{"box": [2, 2, 20, 20]}]}


def test_a_class_by_words_and_examples_is_neither_alone(tmp_path: Path) -> None:
    hub, models = tmp_path / "hub", tmp_path / "models"
    small.save(hub)
    importing.import_model(methods()["tipsv2"], "small", Options(checkpoint=hub), models)

    with (
        Worker(tmp_path / "worker.jsonl", model="small", LEXISEG_MODELS_DIR=str(models)) as worker,
        Gateway(tmp_path / "gateway.jsonl", worker.address) as gateway,
    ):
        gateway.wait_for_workers(1)
        sent = form(pictures.encoded(pictures.small()), "red", "wall", background="false")
        words = httpx.post(f"{gateway.url}/v1/segment", files=sent, timeout=60)

        def ask(entry: dict[str, Any]) -> dict[str, float]:
            image = {"id": words.json()["image_id"]}
            question = {"image": image, "classes": [entry, "wall"], "background": False}
            answer = httpx.post(f"{gateway.url}/v1/segment", json=question, timeout=60)
            assert answer.status_code == 200, answer.text
            assert answer.json()["cache"]["features"] is True
            return {segment["label"]: segment["score"] for segment in answer.json()["segments"]}

        examples, both, again = (ask(SHOWN | {"words": named}) for named in (False, True, True))

    assert words.status_code == 200, words.text
    assert both == again
    assert both not in (examples, {segment["label"]: segment["score"] for segment in words.json()["segments"]})
