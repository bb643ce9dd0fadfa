"""`lexiseg segment` with points and boxes, and by the task panoptic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from lexiseg_model.types import Point, Prompt
from tests import pictures
from tests.clients.showing import Served, serving
from tests.service.commands.command_line import CommandLine

SIZE = (160, 240)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with capture_logs(), serving() as served:
        yield served


@pytest.fixture
def photograph(tmp_path: Path, served: Served) -> Path:
    served.backend.asked.clear()
    path = tmp_path / "china.jpg"
    path.write_bytes(pictures.encoded(pictures.photograph("china").resize(SIZE[::-1]), "JPEG"))
    return path


def written(photograph: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((photograph.parent / "out" / "annotations.json").read_text())
    return content


def test_points_and_boxes_go_to_the_server(lexiseg: CommandLine, photograph: Path, served: Served) -> None:
    outcome = lexiseg(
        "segment", photograph, "--point", "120,80", "--box", "10,20,200,150", "--prompt", "5,6 -7,8.5",
        "--server", served.url, "--out", photograph.parent / "out",
    )  # fmt: skip

    assert outcome.status == 0, outcome.err
    (asked,) = served.backend.asked
    assert asked.task == "prompt"
    assert asked.vocabulary.classes == ()
    assert asked.prompts == (
        Prompt((Point(120, 80),)),
        Prompt((), (10, 20, 200, 150)),
        Prompt((Point(5, 6), Point(7, 8.5, False))),
    )


@pytest.mark.parametrize(
    ("classes", "extra"), [(["object"], "object-2"), (["object-2", "object"], "object-3"), (["objects"], "object")]
)
def test_a_class_named_like_the_category_without_a_label_keeps_its_name(
    lexiseg: CommandLine, photograph: Path, served: Served, classes: list[str], extra: str
) -> None:
    options = [part for name in classes for part in ("-c", name)]

    outcome = lexiseg(
        "segment", photograph, "--point", "120,80", *options, "--server", served.url, "--out", photograph.parent / "out"
    )

    assert outcome.status == 0, outcome.err
    assert [category["name"] for category in written(photograph)["categories"]] == [*classes, extra]


def test_a_task_that_the_server_cannot_do_is_told_before_a_file_is_sent(
    lexiseg: CommandLine, photograph: Path, served: Served
) -> None:
    for model in ((), ("--model", "colours")):
        outcome = lexiseg("segment", photograph, "-c", "sky", "--task", "panoptic", "--server", served.url, *model)

        assert (outcome.status, outcome.err.count("\n")) == (1, 1)
        assert "do panoptic; there is: prompt, semantic" in outcome.err
    assert served.backend.asked == []


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--point", "120;80"], 2, "expected X,Y in pixels"),
        (["--box", "1,2,3"], 2, "expected LEFT,TOP,RIGHT,BOTTOM"),
        (["--prompt", ""], 2, "expected points X,Y"),
        (["--point", "1,2", "--task", "semantic"], 2, "not semantic"),
        (["--point", "1,2", "-c", "sky", "--vocabulary", "voc20"], 2, "either classes or --vocabulary"),
        (["--task", "prompt", "-c", "sky"], 2, "'prompt' is not one of"),
        (["--box", "50,20,10,90"], 2, "'--box': expected LEFT,TOP,RIGHT,BOTTOM with LEFT < RIGHT"),
        (["--prompt", "-1,2"], 2, "'--prompt': expected at least one point X,Y on the object"),
        (["--point", "1,2", "--no-background"], 2, "'--no-background': without classes"),
        ([], 2, "give either classes or --vocabulary NAME, or prompts"),
    ],
)
@pytest.mark.parametrize("by_server", [True, False])
def test_a_wrong_prompt_is_refused_before_anything_is_done(
    lexiseg: CommandLine, photograph: Path, served: Served, options: list[str], status: int, said: str, by_server: bool
) -> None:
    where = ["--server", served.url] if by_server else []

    outcome = lexiseg("segment", photograph, *options, *where, "--out", photograph.parent / "out")

    assert outcome.status == status
    assert said in " ".join(outcome.err.split())
    assert served.backend.asked == []
