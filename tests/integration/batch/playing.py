"""Start bulk jobs and a Ray cluster, wait for their files, and check the rows."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from fsspec.core import url_to_fs

from lexiseg_service.batch.rows import OK, open_parquet

ROOT = Path(__file__).resolve().parents[3]
LONGEST = 600.0  # seconds; only a fault takes so long
LOOK = 0.1  # seconds between two looks at the rows
LOOK_INTO_BUCKET = 0.3  # its server runs in this process
PATHS = os.pathsep.join(str(ROOT / part) for part in (".", "model", "service", "clients/python"))


def environment() -> dict[str, str]:
    """Of this moment: where buckets are may stand in it."""
    return os.environ | {"PYTHONPATH": PATHS, "RAY_ADDRESS": ""}


def start(source: Path | str, out: Path | str, *options: str) -> subprocess.Popen[str]:
    """A job."""
    return subprocess.Popen(
        [sys.executable, "-m", "lexiseg_service.cli", "bulk", str(source), str(out), "-c", "sky", *options],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def files_of(out: Path | str) -> int:
    """Files of rows that are in a folder or a bucket."""
    return len(_row_files(out)[1])


def _row_files(out: Path | str) -> tuple[Any, list[str]]:
    store, path = url_to_fs(str(out), skip_instance_cache=True)
    return store, store.glob(f"{path}/rows/*.parquet")


def wait_for_rows(out: Path | str, files: int, job: subprocess.Popen[str]) -> bool:
    """Until so many files of rows are there; False where the job ended before."""
    deadline = time.monotonic() + LONGEST
    while files_of(out) < files:
        if job.poll() is not None:
            return False
        assert time.monotonic() < deadline, f"{files_of(out)} of {files} files after {LONGEST:.0f} s"
        time.sleep(LOOK if isinstance(out, Path) else LOOK_INTO_BUCKET)
    return True


def assert_each_once(out: Path | str, inputs: int) -> None:
    """Each input of `jobs.folder` has one row, with an answer."""
    store, files = _row_files(out)
    rows = [row for file in files for row in open_parquet(store.cat_file(file)).read().to_pylist()]
    assert sorted(row["id"] for row in rows) == sorted(f"day-{n % 2}/{n:03d}.jpg" for n in range(inputs))
    assert {row["status"] for row in rows} == {OK}


def finished(job: subprocess.Popen[str], inputs: int) -> None:
    """Waits for the end of a job that loses nothing."""
    said, errors = job.communicate(timeout=LONGEST)
    assert job.returncode == 0, errors
    assert_none_lost(said, inputs)


def assert_none_lost(said: str, inputs: int) -> None:
    """By what a job says at its end."""
    assert f"{inputs:,} inputs, {inputs:,} rows, none lost and none twice" in said


class Nodes(NamedTuple):
    """A cluster: its address, where to tell it to kill one, and where it says that it did."""

    address: str
    told: IO[str]
    said: IO[str]

    def kill_one(self) -> None:
        """A machine that is gone, with its actor; another one joins."""
        self.told.write("kill\n")
        self.told.flush()
        assert self.said.readline() == "killed\n"


@contextmanager
def cluster() -> Iterator[Nodes]:
    """Of two nodes on this machine."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.batch.nodes"],
        env=environment(),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Nodes(process.stdout.readline().strip(), process.stdin, process.stdout)
        finally:
            process.stdin.close()
            process.wait(LONGEST)
