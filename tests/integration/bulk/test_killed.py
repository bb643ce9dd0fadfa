"""Whatever is killed in the middle of a job: at the end each input has one row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.service.commands.bulk import jobs

ROOT = Path(__file__).resolve().parents[3]
INPUTS, EACH = 60, 4
LONGEST = 300.0  # seconds; only a fault takes so long
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "model", "service", "clients/python")),
    "RAY_ADDRESS": "",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return jobs.folder(tmp_path / "in", INPUTS)


def start(source: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """A job of several files; its own process group, as a shell gives it."""
    command = ["bulk", str(source), str(out), "-c", "sky", "--rows-per-file", str(EACH), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "lexiseg_service.cli", *command],
        env=ENVIRONMENT,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_rows(out: Path, files: int, process: subprocess.Popen[str]) -> None:
    """Until so many files of rows are there, and not all."""
    deadline = time.monotonic() + LONGEST
    while len(list((out / "rows").glob("*.parquet"))) < files:
        if process.poll() is not None:
            pytest.fail(f"ended too early: {process.communicate()[1]}")
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_each_once(out: Path) -> None:
    ids = [row["id"] for row in jobs.rows(out)]
    assert sorted(ids) == sorted(f"day-{n % 2}/{n:03d}.jpg" for n in range(INPUTS))


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    said, errors = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, errors
    assert f"{INPUTS} inputs, {INPUTS} rows, none lost and none twice" in said
    return said, errors


def test_a_killed_job_goes_on_where_it_was(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with start(source, out, "--local") as first:
        wait_for_rows(out, 2, first)
        first.send_signal(signal.SIGKILL)

    done = len(list((out / "rows").glob("*.parquet")))
    with start(source, out, "--local") as second:
        _, errors = finished(second)

    assert done * EACH < INPUTS
    assert f"{done * EACH} of {INPUTS} pictures were done before" in errors
    assert_each_once(out)


@pytest.fixture
def nodes() -> Iterator[tuple[str, IO[str], IO[str]]]:
    """The address of a cluster of two nodes, where to tell it to kill one, and where it says that it did."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.bulk.nodes"],
        env=ENVIRONMENT,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        try:
            yield cluster.stdout.readline().strip(), cluster.stdin, cluster.stdout
        finally:
            cluster.stdin.close()
            cluster.wait(LONGEST)


@pytest.mark.slow
def test_a_node_that_dies_and_a_driver_that_dies_lose_nothing(
    source: Path, tmp_path: Path, nodes: tuple[str, IO[str], IO[str]]
) -> None:
    out = tmp_path / "out"
    address, told, said = nodes
    options = ("--ray", address, "--actors", "2", "--cpus", "1")
    with start(source, out, *options) as first:
        wait_for_rows(out, 2, first)
        first.send_signal(signal.SIGKILL)  # the driver

    with start(source, out, *options) as second:
        wait_for_rows(out, len(list((out / "rows").glob("*.parquet"))) + 2, second)
        told.write("kill\n")  # a node, with its actor
        told.flush()
        assert said.readline() == "killed\n"
        finished(second)

    assert_each_once(out)
