"""Batches whose processes are killed, by every way in: no picture is lost, none is answered twice.

Environment: `BATCH_PICTURES` and `BATCH_KILLS`, for larger runs of the same.
"""

import os
from itertools import cycle
from pathlib import Path

import pytest
import s3fs

from tests.integration.batch import playing
from tests.integration.batch.doors import DOORS, assert_each_once
from tests.integration.server import TO_START
from tests.service.batch.bulk import jobs
from tests.service.commands.command_line import CommandLine
from tests.waiting import until

COUNT = int(os.environ.get("BATCH_PICTURES", "60"))
KILLS = int(os.environ.get("BATCH_KILLS", "0"))  # 0: as few as show it
EACH = 4


def dues(kills: int) -> list[int]:
    """How many pictures are done before each kill; the last one is in the middle."""
    return [COUNT * number // (2 * kills) for number in range(1, kills + 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jobs.folder(tmp_path_factory.mktemp("photographs"), COUNT)


@pytest.mark.parametrize("door", DOORS)
def test_kills_lose_no_picture_and_repeat_none(door: str, folder: Path, tmp_path: Path, lexiseg: CommandLine) -> None:
    with DOORS[door](tmp_path, folder, lexiseg) as batch:
        kills = KILLS or min(3, 2 * len(batch.kills) - 1)
        for wanted, kill in zip(dues(kills), cycle(batch.kills.values()), strict=False):
            batch.go_on()
            until(lambda wanted=wanted: batch.done() >= wanted, TO_START)  # type: ignore[misc]
            kill()
            assert batch.done() < COUNT, "it ended before the kill"

        assert_each_once(batch.finished(), folder)


@pytest.mark.slow
def test_nodes_with_their_actors_and_drivers_that_die_lose_nothing_of_a_bucket(
    folder: Path, address: str, nodes: playing.Nodes
) -> None:
    photos, out = f"{address}/in", f"{address}/out"
    s3fs.S3FileSystem(skip_instance_cache=True).put(f"{folder}/", f"{photos}/", recursive=True)
    kills = KILLS or 2
    options = ("--ray", nodes.address, "--cpus", "1", "--rows-per-file", str(EACH), "--actors", "2")
    job = playing.start(photos, out, *options)
    try:
        for wanted, victim in zip(dues(kills), cycle(["node", "driver"]), strict=False):
            assert playing.wait_for_rows(out, wanted // EACH, job)
            if victim == "node":
                nodes.kill_one()
            else:
                job.kill()
                job.communicate()
                job = playing.start(photos, out, *options)
        playing.finished(job, COUNT)
    finally:
        job.kill()
        job.communicate()

    playing.assert_each_once(out, COUNT)
