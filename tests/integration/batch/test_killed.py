"""Batches whose processes are killed, by every way in: no picture is lost, none is answered twice."""

from itertools import cycle, islice
from pathlib import Path

import pytest
import s3fs

from tests.integration.batch import playing
from tests.integration.batch.doors import DOORS, assert_each_once
from tests.integration.server import TO_START
from tests.service.batch.bulk import jobs
from tests.service.commands.command_line import CommandLine
from tests.waiting import until

COUNT, EACH = 60, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jobs.folder(tmp_path_factory.mktemp("photographs"), COUNT)


@pytest.mark.parametrize("door", DOORS)
def test_kills_lose_no_picture_and_repeat_none(door: str, folder: Path, tmp_path: Path, lexiseg: CommandLine) -> None:
    with DOORS[door](tmp_path, folder, lexiseg) as batch:
        done = 0
        for kill in islice(cycle(batch.kills.values()), min(3, 2 * len(batch.kills) - 1)):
            until(lambda done=done: batch.done() > done, TO_START)  # type: ignore[misc]
            kill()
            done = batch.done()
            assert done < COUNT, "it ended before the kill"

        assert_each_once(batch.finished(), folder)


@pytest.mark.slow
def test_a_driver_and_a_node_with_its_actor_that_die_lose_nothing_of_a_bucket(
    folder: Path, address: str, nodes: playing.Nodes
) -> None:
    photos, out = f"{address}/in", f"{address}/out"
    s3fs.S3FileSystem(skip_instance_cache=True).put(f"{folder}/", f"{photos}/", recursive=True)
    options = ("--ray", nodes.address, "--cpus", "1", "--rows-per-file", str(EACH))
    with playing.start(photos, out, *options, "--actors", "2") as first:
        assert playing.wait_for_rows(out, 2, first)
        nodes.kill_one()
        assert playing.wait_for_rows(out, playing.files_of(out) + 2, first)
        first.kill()
        first.communicate()

    with playing.start(photos, out, *options, "--actors", "1") as second:
        playing.finished(second, COUNT)

    playing.assert_each_once(out, COUNT)
