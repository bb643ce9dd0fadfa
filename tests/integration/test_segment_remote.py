"""`lexiseg segment` writes the same files here and by a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import pictures
from tests.integration.server import ROOT, Server

NAMES = ["china", "flower", "coffee"]


def segment(folder: Path, out: str, *options: str) -> None:
    words = [f"{name}.jpg" for name in NAMES] + ["--out", out, *options]
    subprocess.run(
        [sys.executable, "-m", "lexiseg_service.cli", "segment", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )


def without_model(annotations: bytes) -> Any:
    """A server is known by its address, a model in this process by its digest."""
    content = json.loads(annotations)
    assert content["asked"].pop("model")
    return content


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("by", "options"),
    [
        ("grpc", ["-c", "sky", "-c", "flower", "-c", "cup"]),
        ("url", ["--vocabulary", "coco-panoptic", "--task", "panoptic"]),
        ("grpc", ["--vocabulary", "coco-panoptic", "--task", "panoptic"]),
        ("url", ["--point", "120,80", "--prompt", "60,60 150,100 -5,5", "--box", "30,20,200.5,180"]),
        ("grpc", ["--point", "120,80", "-c", "sky", "-c", "flower", "-c", "cup"]),
    ],
)
def test_a_server_and_this_process_write_the_same_files(
    server: Server, tmp_path: Path, by: str, options: list[str]
) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.jpg").write_bytes(pictures.encoded(pictures.small(name, 320), "JPEG"))

    segment(tmp_path, "here", *options)
    segment(tmp_path, "there", *options, "--server", getattr(server, by))

    here, there = files_of(tmp_path / "here"), files_of(tmp_path / "there")
    assert json.loads(here["annotations.json"])["annotations"]
    assert {f"{name}.png" for name in NAMES} <= here.keys()
    assert without_model(there.pop("annotations.json")) == without_model(here.pop("annotations.json"))
    assert there == here
