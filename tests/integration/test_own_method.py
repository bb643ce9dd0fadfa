"""Install the example method by pip and serve it."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from tests import pictures
from tests.integration.server import ROOT, Server, form

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
