"""SAM 3 of random weights, imported by the command line's way, in a worker of its own behind a gateway."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np

from lexiseg_model import importing
from lexiseg_model.method import methods
from lexiseg_model.methods.sam3.import_ import Options
from tests import coco, pictures
from tests.integration.processes import Gateway, Worker
from tests.integration.server import form
from tests.model.methods.sam3 import small

WORDS = ("red", "wall", "boat")


def test_a_worker_serves_an_imported_sam3(tmp_path: Path) -> None:
    hub, models = tmp_path / "hub", tmp_path / "models"
    small.save(hub)
    importing.import_model(methods()["sam3"], "small", Options(checkpoint=hub), models)
    asked = form(pictures.encoded(pictures.small()), *WORDS, background="false")

    with (
        Worker(tmp_path / "worker.jsonl", model="small", LEXISEG_MODELS_DIR=str(models)) as worker,
        Gateway(tmp_path / "gateway.jsonl", worker.address) as gateway,
    ):
        gateway.wait_for_workers(1)
        first, second = (httpx.post(f"{gateway.url}/v1/segment", files=asked, timeout=60) for _ in range(2))
        (card,) = httpx.get(f"{gateway.url}/v1/models").json()["models"]

    assert (first.status_code, second.status_code) == (200, 200), first.text
    segments = first.json()["segments"]
    assert (card["name"], card["method"], card["loaded"]) == ("small", "sam3", True)
    # The words compete for pixels: each pixel is one word's, and one word's alone.
    assert {segment["label"] for segment in segments} == set(WORDS)
    assert (np.sum([coco.decode(segment["mask"]) for segment in segments], axis=0) == 1).all()
    # A second question of the same picture asks the image pass for nothing.
    assert second.json()["cache"]["features"] is True
    assert second.json()["segments"] == segments
