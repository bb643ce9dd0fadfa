"""JSON lines about the frames of a video."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexiseg_client import FrameAnswer
from lexiseg_service.commands.video.target import JsonLines


def answer() -> FrameAnswer:
    return FrameAnswer("0", 0, None, dropped=True)


def test_a_line_tells_what_is_lost(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "lines.jsonl") as lines:
        lines.write(FrameAnswer("0", 0, None, dropped=True, lost=(3, 7)), 0.0)

    assert json.loads((tmp_path / "lines.jsonl").read_bytes())["lost"] == [3, 7]


def test_a_file_without_a_line_does_not_outlive_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), JsonLines(tmp_path / "lines.jsonl"):
        raise RuntimeError("no server")

    assert not (tmp_path / "lines.jsonl").exists()
