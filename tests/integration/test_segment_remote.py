"""`lexiseg segment` writes the same files here and by a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import pictures
from tests.integration.server import ROOT, Server

NAMES = ["china", "flower", "coffee"]


def segment(folder: Path, out: str, *options: str) -> None:
    words = [f"{name}.jpg" for name in NAMES] + ["-c", "sky", "-c", "flower", "-c", "cup", "--out", out, *options]
    subprocess.run(
        [sys.executable, "-m", "service.cli", "segment", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )


def test_a_server_and_this_process_write_the_same_files(server: Server, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.jpg").write_bytes(pictures.encoded(pictures.small(name, 320), "JPEG"))

    segment(tmp_path, "here")
    segment(tmp_path, "there", "--server", server.url)

    here, there = (json.loads((tmp_path / out / "annotations.json").read_text()) for out in ("here", "there"))
    assert here["annotations"]
    assert there == here
    for name in NAMES:
        assert (tmp_path / "there" / f"{name}.png").read_bytes() == (tmp_path / "here" / f"{name}.png").read_bytes()
