"""`lexiseg calibrate --server`: thresholds end in the server's vocabulary, and its answers keep to them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_client import Client
from tests import pictures
from tests.integration.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "log.jsonl") as running:
        yield running


def test_a_class_that_is_nowhere_is_not_found_any_more(server: Server, tmp_path: Path) -> None:
    photo = pictures.small("china", 200)
    for folder, picture in (("photos", photo), ("masks", Image.fromarray(np.zeros(photo.size[::-1], np.uint8)))):
        (tmp_path / folder).mkdir()
        picture.save(tmp_path / folder / "china.png")
    with Client(server.url) as client:
        client.vocabularies.put("mine", ["sky", "building"])
        assert client.segment(photo, vocabulary="mine").segments
        words = ["calibrate", "--vocabulary", "mine", "photos", "--masks", "masks", "--server", server.url]

        ran = subprocess.run(
            [sys.executable, "-m", "lexiseg_service.cli", *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )

        assert ran.returncode == 0, ran.stderr
        assert "2 of 2 classes have a threshold" in ran.stdout
        assert all(entry.threshold for entry in client.vocabularies.get("mine").classes)
        assert not client.segment(photo, vocabulary="mine").segments
    assert "<img" in (tmp_path / "calibration/report.html").read_text()
