"""`lexiseg bulk --head`: what was taught is found in many pictures."""

import json
from pathlib import Path

import pytest

from tests.service.batch.bulk import jobs
from tests.service.commands.command_line import CommandLine
from tests.service.gateway.heads.labelled import labelme


@pytest.fixture
def here(lexiseg: CommandLine, tmp_path: Path) -> tuple[object, ...]:
    """Options of an installation that keeps the head `gadgets`, taught by the set in `set/`."""
    labelme(tmp_path / "set")
    options = ("--state-dir", tmp_path / "state")
    assert lexiseg("teach", tmp_path / "set", "--name", "gadgets", *options).status == 0
    return (*options, "--local")


def test_bulk_finds_what_was_taught_before_other_words(
    lexiseg: CommandLine, tmp_path: Path, here: tuple[object, ...]
) -> None:
    outcome = lexiseg(
        "bulk", tmp_path / "set", tmp_path / "out", "--head", "gadgets", "-c", "sky", "--to", "coco", *here
    )

    assert outcome.status == 0, outcome.err
    assert all("gadget" in {one["label"] for one in row["segments"]} for row in jobs.rows(tmp_path / "out"))
    document = json.loads((tmp_path / "out/coco/annotations/instances_default.json").read_text())
    assert [category["name"] for category in document["categories"]] == ["gadget", "sky"]


def test_a_description_with_a_head_and_the_same_command_line_are_one_job(
    lexiseg: CommandLine, tmp_path: Path, here: tuple[object, ...]
) -> None:
    description = tmp_path / "job.json"
    description.write_text(json.dumps({"question": {"head": "gadgets"}, "folder": str(tmp_path / "set")}))
    lexiseg("bulk", "--job", description, tmp_path / "out", *here)

    again = lexiseg("bulk", tmp_path / "set", tmp_path / "out", "--head", "gadgets", *here)

    assert again.status == 0, again.err
    assert "3 inputs, 3 rows, none lost and none twice" in again.out


def test_a_head_that_is_not_kept_here_is_refused_before_the_work(lexiseg: CommandLine, tmp_path: Path) -> None:
    source = jobs.folder(tmp_path / "in", 1)

    outcome = lexiseg("bulk", source, tmp_path / "out", "--head", "gadgets", "--local")

    assert outcome.status == 1
    assert "head: there is none called 'gadgets'" in outcome.err
    assert not (tmp_path / "out/rows").exists()
