"""`lexiseg calibrate --server` stores thresholds in the server's vocabulary, and answers use them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_client import Client
from tests import pictures
from tests.integration.server import Server
from tests.service.commands.command_line import CommandLine


def test_a_class_that_is_nowhere_is_not_found_any_more(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = pictures.small("china", 200)
    for folder, picture in (("photos", photo), ("masks", Image.fromarray(np.zeros(photo.size[::-1], np.uint8)))):
        (tmp_path / folder).mkdir()
        picture.save(tmp_path / folder / "china.png")
    with Client(server.url) as client:
        client.vocabularies.put("mine", ["sky", "building"])
        assert client.segment(photo, vocabulary="mine").segments
        words = ["calibrate", "--vocabulary", "mine", "photos", "--masks", "masks", "--server", server.url]

        ran = CommandLine(monkeypatch, capsys)(*words)

        assert ran.status == 0, ran.err
        assert "2 of 2 classes have a threshold" in ran.out
        assert all(entry.threshold for entry in client.vocabularies.get("mine").classes)
        assert not client.segment(photo, vocabulary="mine").segments
        client.vocabularies.delete("mine")
    assert "<img" in (tmp_path / "calibration/report.html").read_text()
