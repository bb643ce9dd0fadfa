"""Bulk jobs whose processes are killed: every input still has exactly one row."""

import signal
from pathlib import Path

import pytest
import s3fs

from tests.command import start
from tests.integration.bulk import playing
from tests.service.batch.bulk import jobs
from tests.service.commands.command_line import CommandLine

INPUTS, EACH = 60, 4


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return jobs.folder(tmp_path / "in", INPUTS)


def test_a_killed_job_goes_on_where_it_was(source: Path, tmp_path: Path, lexiseg: CommandLine) -> None:
    out = tmp_path / "out"
    command = ("bulk", str(source), str(out), "-c", "sky", "--local", "--rows-per-file", str(EACH))
    with start(command, {}, tmp_path / "log") as first:
        assert playing.wait_for_rows(out, 2, first)
        first.kill()
        assert first.wait(playing.LONGEST) == -signal.SIGKILL

    done = playing.files_of(out)
    second = lexiseg(*command)

    assert second.status == 0, second.err
    assert done * EACH < INPUTS
    assert f"pictures: {done * EACH} of {INPUTS} were done before" in second.err
    playing.assert_none_lost(second.out, INPUTS)
    playing.assert_each_once(out, INPUTS)


@pytest.mark.slow
def test_a_driver_and_a_node_with_its_actor_that_die_lose_nothing_of_a_bucket(
    source: Path, address: str, nodes: playing.Nodes
) -> None:
    photos, out = f"{address}/in", f"{address}/out"
    s3fs.S3FileSystem(skip_instance_cache=True).put(f"{source}/", f"{photos}/", recursive=True)
    options = ("--ray", nodes.address, "--cpus", "1", "--rows-per-file", str(EACH))
    with playing.start(photos, out, *options, "--actors", "2") as first:
        assert playing.wait_for_rows(out, 2, first)
        nodes.kill_one()
        assert playing.wait_for_rows(out, playing.files_of(out) + 2, first)
        first.kill()
        first.communicate()

    with playing.start(photos, out, *options, "--actors", "1") as second:
        playing.finished(second, INPUTS)

    playing.assert_each_once(out, INPUTS)
