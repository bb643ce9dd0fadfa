"""`lexiseg bulk --job FILE`: the description of `POST /v1/jobs`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.http_server import serving_files
from tests.service.batch.bulk import jobs
from tests.service.commands.command_line import CommandLine

QUESTION = {"classes": ["sky", "flower"]}


def described(place: Path, /, **fields: Any) -> Path:
    path = place / "job.json"
    path.write_text(json.dumps({"question": QUESTION, **fields}))
    return path


@pytest.mark.parametrize(
    ("question", "options"),
    [
        (
            {"classes": [{"name": "sky"}, "flower"], "task": "semantic", "threshold": None},
            ("-c", "sky", "-c", "flower"),
        ),
        (
            {"classes": ["sky"], "background": True, "threshold": 0.6},
            ("-c", "sky", "--background", "--threshold", 0.6),
        ),
    ],
)
def test_a_description_and_the_same_command_line_are_one_job(
    lexiseg: CommandLine, tmp_path: Path, question: Any, options: tuple[Any, ...]
) -> None:
    source = jobs.folder(tmp_path / "in", 2)
    described_job = ("--job", described(tmp_path, folder=f"{source}/", question=question, to="coco"), tmp_path / "out")
    typed_job = (source, tmp_path / "out", *options, "--to", "coco")
    files = []

    for job in (described_job, typed_job):
        outcome = lexiseg("bulk", *job, "--local")
        assert outcome.status == 0, outcome.err
        made = {path: path.read_bytes() for path in sorted((tmp_path / "out").rglob("*")) if path.is_file()}
        files.append(made)

    assert files[0] == files[1]


@pytest.mark.parametrize("option", [("-c", "sky"), ("--threshold", 0.5), ("--no-background",), ("--task", "instance")])
def test_a_question_beside_a_description_is_refused(
    lexiseg: CommandLine, tmp_path: Path, option: tuple[object, ...]
) -> None:
    outcome = lexiseg("bulk", "--job", described(tmp_path, folder=str(tmp_path)), tmp_path / "out", *option)

    assert outcome.status == 2
    assert "the file has the rest" in " ".join(outcome.err.split())


def test_the_urls_of_a_description_are_fetched_and_its_webhook_is_left_out(
    lexiseg: CommandLine, tmp_path: Path
) -> None:
    source = jobs.folder(tmp_path / "in", 2)
    webhook = {"url": "https://example.org/done", "secret": "s" * 32}

    with serving_files(source) as address:
        urls = [f"{address}/day-0/000.jpg", f"{address}/day-1/001.jpg"]
        description = described(tmp_path, urls=urls, webhook=webhook)
        outcome = lexiseg("bulk", "--job", description, tmp_path / "out", "--local")

    assert outcome.status == 0, outcome.err
    assert [(row["id"], row["status"]) for row in jobs.rows(tmp_path / "out")] == [(url, "ok") for url in urls]
    assert f"lexiseg: bulk calls no webhook; that of {description} is left out\n" in outcome.err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"question": {"classes": ["sky"', "cannot be parsed"),
        ('{"question": {"classes": ["sky"]}}', "one of folder and urls"),
        ('{"question": {"classes": ["sky"], "overlay": true}, "folder": "in"}', "got overlay"),
        (
            '{"question": {"classes": ["sky"]}, "folder": "in", "to": "cut-outs"}',
            "to: expected one of coco, coco-panoptic, yolo, voc, cvat, labelme, label-studio",
        ),
        ('{"question": {"classes": ["sky"]}, "folder": "in", "more": 1}', "no field of that name"),
        (
            '{"question": {"classes": [{"name": "mug", "examples": [{"box": [0, 0, 5, 5]}]}]}, "folder": "in"}',
            "question.classes: expected words alone; POST /v1/jobs takes examples",
        ),
        ('{"question": {"task": "prompt"}, "folder": "in"}', "prompts: expected at least one prompt for the task"),
    ],
)
def test_a_description_that_cannot_be_done_is_refused(
    lexiseg: CommandLine, tmp_path: Path, content: str, expected: str
) -> None:
    path = tmp_path / "job.json"
    path.write_text(content)

    outcome = lexiseg("bulk", "--job", path, tmp_path / "out", "--local")

    assert outcome.status == 2
    assert expected in " ".join(outcome.err.split())
