"""A very short load on a real service that it starts itself."""

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.serving import CLASSES, MIN_EQUAL, class_map, owners_of, photograph
from loadtests.ports import free_port
from loadtests.shapes import stage_at, steps
from tests.command import ended
from tests.integration.server import ROOT, Server

LIMIT = 300  # seconds; an idle machine needs a tenth of it


def test_users_come_in_steps_until_the_end() -> None:
    at = [stage_at(steps(8, 40.0), seconds) for seconds in (0.0, 10.0, 25.0, 39.9, 40.0)]

    assert [stage and stage.users for stage in at] == [2, 4, 6, 8, None]


@pytest.mark.slow
def test_a_short_load_leaves_figures_of_both_interfaces(tmp_path: Path) -> None:
    options = [
        "--users", "8", "--streams", "1", "--shape", "steps", "--repeat", "0.5", "--check", "1",
        "--answers", "3", "--run-time", f"{LIMIT}s",  # answers end the load, however slow the machine is
    ]  # fmt: skip

    answer = ended([sys.executable, "-m", "loadtests.run", "--out", str(tmp_path), *options], cwd=ROOT, timeout=LIMIT)

    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]
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


@pytest.mark.slow
def test_a_load_of_several_processes_is_one_report(server: Server, tmp_path: Path) -> None:
    locust = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--loglevel", "WARNING"]
    port = str(free_port())
    own = ["--headless", "--only-summary", "--users", "3", "--streams", "1", "--answers", "3", "--stop-timeout", "20"]
    own += ["--run-time", f"{LIMIT}s"]
    own += ["--check", "1", "--repeat", "0", "--fps", "2", "--report", str(tmp_path / "report.json")]
    with ExitStack() as processes:
        of_workers = ["--worker", "--master-host", "127.0.0.1", "--master-port", port]
        workers = [processes.enter_context(subprocess.Popen([*locust, *of_workers], cwd=ROOT)) for _ in range(2)]
        of_master = ["--master", "--master-bind-port", port, "--expect-workers", "2"]
        of_master += ["--host", server.url, "--grpc", server.grpc]
        master = ended([*locust, *of_master, *own], cwd=ROOT, timeout=LIMIT)
        statuses = [worker.wait(LIMIT) for worker in workers]

    assert master.returncode == 0, master.stdout[-3000:] + master.stderr[-3000:]
    assert statuses == [0, 0]
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["options"]["num_users"], report["options"]["streams"]) == (3, 1)
    counts = Counter[str]()
    for row in report["requests"]:
        counts[row["name"].split(",")[0]] += row["count"]
    assert counts["/segment"] > 0
    assert counts["SegmentVideo frame"] > 0
    assert sum(row["failures"] for row in report["requests"]) == 0
    assert report["checked"]["answers"] >= counts["/segment"]
    assert report["checked"]["wrong"] == 0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
def test_the_plain_peer_answers_as_lexiseg_does(server: Server) -> None:
    from loadtests.peers.plain_fastapi import segment  # loads the model

    answer = segment(photograph(), list(CLASSES))

    assert (owners_of(answer["segments"]) == class_map(server.url)).mean() >= MIN_EQUAL
