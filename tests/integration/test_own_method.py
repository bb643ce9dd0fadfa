"""Install the example methods by pip, import weights for one, and serve both."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image

from lexiseg_model import fresh_clip
from tests import pictures
from tests.command import run
from tests.integration.server import ROOT, Server, form
from tests.waiting import SOON

SECONDS = 120
MINI = "lexiseg-mini-16"


def test_packages_that_name_methods_are_served(tmp_path: Path) -> None:
    site, source = tmp_path / "site", tmp_path / "source"
    subprocess.run(["cp", "-R", str(ROOT / "examples"), str(source)], check=True)  # building leaves files
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    packages = [str(source / name) for name in ("maskclip", "palette")]
    subprocess.run([*pip, "--target", str(site), *packages], check=True, timeout=SECONDS)
    flag = np.zeros((40, 60, 3), np.uint8)
    flag[:, :20], flag[:, 40:] = (255, 99, 71), (70, 130, 180)
    picture = pictures.encoded(Image.fromarray(flag))
    search = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(site)])
    models, weights = str(tmp_path / "models"), tmp_path / "clip.pt"
    torch.save(fresh_clip(MINI, quick_gelu=True).state_dict(), weights)
    options = ["--method", "maskclip", "--clip", str(weights), "--architecture", MINI, "--models-dir", models]
    imported = run("models", "import", *options, "mini", PYTHONPATH=search)

    with Server(
        tmp_path / "log.jsonl", LEXISEG_MODEL="palette,mini", LEXISEG_MODELS_DIR=models, PYTHONPATH=search
    ) as running:
        answer = httpx.post(f"{running.url}/segment", files=form(picture, "tomato", "steelblue", "gold"), timeout=SOON)
        covered = httpx.post(
            f"{running.url}/segment", files=form(picture, "sky", "sea", model="mini", background="false"), timeout=SOON
        )

        def loaded() -> dict[str, bool]:
            models = httpx.get(f"{running.url}/models", timeout=SOON).json()["models"]
            return {model["name"]: model["loaded"] for model in models}

        running.wait_until(lambda: loaded()["mini"])  # the gateway hears of it twice a second
        names = list(loaded())

    assert imported.returncode == 0, imported.stderr
    assert answer.status_code == 200, answer.text
    found = {segment["label"]: (segment["area"], segment["bbox"]) for segment in answer.json()["segments"]}
    assert found == {"tomato": (800, [0, 0, 20, 40]), "steelblue": (800, [40, 0, 20, 40])}
    assert answer.json()["absent"] == ["gold"]
    assert sum(segment["area"] for segment in covered.json()["segments"]) == 40 * 60
    assert names[:2] == ["palette", "mini"]
