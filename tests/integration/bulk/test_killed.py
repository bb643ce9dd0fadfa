"""Bulk jobs whose processes are killed: every input still has exactly one row."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import s3fs

from lexiseg_service.commands.bulk.job import OK, decode
from tests.command import run, start
from tests.integration.bulk import playing
from tests.s3_server import bucket
from tests.service.commands.bulk import jobs

INPUTS, EACH = 60, 4


class Place(NamedTuple):
    """A cluster, and a bucket that its nodes reach."""

    nodes: playing.Nodes
    bucket: str


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with bucket("mine") as address, playing.cluster() as nodes:
        yield Place(nodes, address)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return jobs.folder(tmp_path / "in", INPUTS)


def test_a_killed_job_goes_on_where_it_was(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("bulk", str(source), str(out), "-c", "sky", "--local", "--rows-per-file", str(EACH))
    with start(command, {}, tmp_path / "log") as first:
        assert playing.wait_for_rows(out, 2, first)
        first.kill()
        assert first.wait(playing.LONGEST) == -signal.SIGKILL

    done = playing.files_of(out)
    second = run(*command)

    assert second.returncode == 0, second.stderr
    assert done * EACH < INPUTS
    assert f"pictures: {done * EACH} of {INPUTS} were done before" in second.stderr
    playing.assert_none_lost(second.stdout, INPUTS)
    playing.assert_each_once(out, INPUTS)


@pytest.mark.slow
def test_a_driver_and_a_node_with_its_actor_that_die_lose_nothing(source: Path, tmp_path: Path, place: Place) -> None:
    out = tmp_path / "out"
    options = ("--ray", place.nodes.address, "--actors", "2", "--cpus", "1", "--rows-per-file", str(EACH))
    with playing.start(source, out, *options) as first:
        assert playing.wait_for_rows(out, 2, first)
        place.nodes.kill_one()
        assert playing.wait_for_rows(out, playing.files_of(out) + 2, first)
        first.kill()
        first.communicate()

    with playing.start(source, out, *options) as second:
        playing.finished(second, INPUTS)

    playing.assert_each_once(out, INPUTS)


@pytest.mark.slow
def test_actors_read_and_write_a_bucket(tmp_path: Path, place: Place) -> None:
    store = s3fs.S3FileSystem(skip_instance_cache=True)
    store.put(f"{jobs.folder(tmp_path / 'in', 6)}/", f"{place.bucket}/in/", recursive=True)
    out = f"{place.bucket}/out"

    with playing.start(f"{place.bucket}/in", out, "--ray", place.nodes.address, "--rows-per-file", "2") as job:
        playing.finished(job, 6)

    rows = [row for file in store.ls(f"{out}/rows", detail=False) for row in decode(store.cat_file(file))]
    assert len(rows) == len({row["id"] for row in rows}) == 6
    assert {row["status"] for row in rows} == {OK}
