"""A very short load on a real service that it starts itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.server import ROOT

LIMIT = 300  # seconds; an idle machine needs a tenth of it


@pytest.mark.slow
def test_a_short_load_leaves_figures_of_both_interfaces(tmp_path: Path) -> None:
    options = [
        "--users",
        "4",
        "--streams",
        "1",
        "--run-time",
        "5s",
        "--shape",
        "steps",
        "--repeat",
        "0.5",
        "--check",
        "1",
    ]

    ended = subprocess.run(
        [sys.executable, "-m", "loadtests.run", "--out", str(tmp_path), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["options"]["shape"] == "steps"
    answered = {row["name"]: row for row in report["requests"]}
    assert any(name.startswith("/segment, ") for name in answered)
    assert any(name.startswith("SegmentVideo frame, ") for name in answered)
    for row in answered.values():
        assert row["count"] > 0
        assert row["failures"] == 0
        assert 0 < row["median_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert report["checked"]["answers"] > 1
    assert report["checked"]["wrong"] == 0
    assert report["errors"] == []
    assert "/segment, " in (tmp_path / "report.html").read_text()


def test_no_service_is_a_failure_and_no_hang(tmp_path: Path) -> None:
    options = ["--host", "http://127.0.0.1:9", "--users", "1", "--streams", "0", "--run-time", "1s", "--wait", "0.2"]

    ended = subprocess.run(
        [sys.executable, "-m", "loadtests.run", "--out", str(tmp_path), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert ended.returncode != 0
    assert "did not become ready" in ended.stdout + ended.stderr
