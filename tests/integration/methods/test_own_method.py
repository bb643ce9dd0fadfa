"""Install the example method by pip and serve it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue.method import methods
from lexiseg_model.methods.sam3.import_ import Options
from tests import coco, pictures
from tests.integration.processes import Gateway, Worker
from tests.integration.server import ROOT, Server, form
from tests.model.methods.sam3 import small

SECONDS = 120


def test_a_package_that_names_a_method_is_served(tmp_path: Path) -> None:
    site, source = tmp_path / "site", tmp_path / "source"
    subprocess.run(["cp", "-R", str(ROOT / "examples/palette"), str(source)], check=True)  # building leaves files
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, timeout=SECONDS)
    flag = np.zeros((40, 60, 3), np.uint8)
    flag[:, :20], flag[:, 40:] = (255, 99, 71), (70, 130, 180)
    search = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(site)])

    with Server(tmp_path / "log.jsonl", LEXISEG_MODEL="palette", PYTHONPATH=search) as running:
        picture = pictures.encoded(Image.fromarray(flag))
        answer = httpx.post(f"{running.url}/segment", files=form(picture, "tomato", "steelblue", "gold"), timeout=60)
        models = httpx.get(f"{running.url}/models", timeout=60).json()["models"]

    assert answer.status_code == 200, answer.text
    found = {segment["label"]: (segment["area"], segment["bbox"]) for segment in answer.json()["segments"]}
    assert found == {"tomato": (800, [0, 0, 20, 40]), "steelblue": (800, [40, 0, 20, 40])}
    assert answer.json()["absent"] == ["gold"]
    assert (models[0]["name"], models[0]["loaded"]) == ("palette", True)


WORDS = ("red", "wall", "boat")


def by_example(image_id: str) -> list[dict[str, Any]]:
    """Questions about a picture: a box in it, a box in another, a point."""
    other = base64.b64encode(pictures.encoded(pictures.small("flower"))).decode()
    examples: list[dict[str, Any]] = [
        {"box": [2, 2, 20, 20]},
        {"box": [2, 2, 20, 20], "image": {"base64": other}},
        {"points": [{"x": 4, "y": 4}]},
    ]
    return [
        {
            "image": {"id": image_id},
            "classes": ["red", {"name": "mascot", "examples": [example]}],
            "background": False,
        }
        for example in examples
    ]


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
        shown, elsewhere, clicked = (
            httpx.post(f"{gateway.url}/v1/segment", json=question, timeout=60)
            for question in by_example(first.json()["image_id"])
        )
        (card,) = httpx.get(f"{gateway.url}/v1/models", timeout=60).json()["models"]

    assert (first.status_code, second.status_code) == (200, 200), first.text
    segments = first.json()["segments"]
    assert (card["name"], card["method"], card["loaded"]) == ("small", "sam3", True)
    # The words compete for pixels: each pixel is one word's, and one word's alone.
    assert {segment["label"] for segment in segments} == set(WORDS)
    assert (np.sum([coco.decode(segment["mask"]) for segment in segments], axis=0) == 1).all()
    # A class by example is one word more; boxes of another picture, and points, are refused.
    assert shown.status_code == 200, shown.text
    assert {segment["label"] for segment in shown.json()["segments"]} == {"red", "mascot"}
    assert (elsewhere.status_code, clicked.status_code) == (422, 422)
    assert "only in the image that the examples are from" in elsewhere.json()["detail"]
    assert "not points" in clicked.json()["detail"]
    # A second question of the same picture asks the image pass for nothing.
    assert second.json()["cache"]["features"] is True
    assert second.json()["segments"] == segments
