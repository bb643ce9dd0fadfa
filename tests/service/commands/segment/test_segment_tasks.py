"""`lexiseg segment` by prompts and by the task panoptic, in this process and by a server, with known answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from lexiseg_model import catalogue
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Task
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import coco
from tests.model.stand_in import ColourSegmenter, picture
from tests.service.commands.command_line import CommandLine
from tests.service.commands.listening import listening
from tests.service.engine_backend import EngineBackend

TASKS: tuple[Task, ...] = ("semantic", "instance", "panoptic", "prompt")
# Two red regions, one blue, and black between them.
PIXELS = np.kron(picture(["rr.rr", "rr.rr", ".....", "bbbbb"]), np.ones((8, 8, 1), np.uint8))
RED = np.kron(np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0] * 5, [0] * 5]), np.ones((8, 8))).astype(bool)


def colours() -> Segmenter:
    return ColourSegmenter(tasks=TASKS)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    backend = EngineBackend(colours())
    with capture_logs(), listening(create_app(Settings(model="colours"), backend, Metrics())) as url:
        yield url
    backend.engine.close(5)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "flag.png"
    Image.fromarray(PIXELS).save(path)
    return path


@pytest.fixture(params=["here", "server"])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, url: str) -> list[str]:
    """The options of a run in this process, whose model is colours, and of one by the server."""
    if request.param == "server":
        return ["--server", url]
    monkeypatch.setattr(catalogue, "load", lambda *_, **__: colours())
    return []


def written(folder: Path, name: str = "annotations.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


def test_a_click_is_answered_with_all_that_it_may_mean(lexiseg: CommandLine, image: Path, where: list[str]) -> None:
    out = image.parent / "out"

    outcome = lexiseg("segment", image, "--point", "4,4", "--out", out, *where)

    assert outcome.status == 0, outcome.err
    found = written(out)["annotations"]
    assert [(entry["prompt_index"], entry["mask_index"], entry["quality"], entry["score"]) for entry in found] == [
        (0, 0, 0.9, 0.9),
        (0, 1, 0.6, 0.6),
        (0, 2, 0.3, 0.3),
    ]
    assert {entry["category_id"] for entry in found} == {1}
    assert np.array_equal(coco.decode(found[0]["segmentation"]).astype(bool), RED)
    with Image.open(out / "flag.png") as painted:
        changed = (np.asarray(painted) != PIXELS).any(-1)
    assert changed[RED].all()
    assert not changed[17:].any()  # below the outline


def test_panoptic_files_hold_things_and_stuff(lexiseg: CommandLine, image: Path, where: list[str]) -> None:
    out = image.parent / "out"

    outcome = lexiseg("segment", image, "-c", "red", "-c", "blue", "--task", "panoptic", "--out", out, *where)

    assert outcome.status == 0, outcome.err
    content = written(out, "panoptic.json")
    (annotation,) = content["annotations"]
    assert annotation["file_name"] == "flag.png"
    with Image.open(out / "panoptic" / "flag.png") as picture_of_ids:
        ids = np.asarray(picture_of_ids).astype(int) @ [1, 256, 65536]
    for info in annotation["segments_info"]:
        assert (ids == info["id"]).sum() == info["area"]
    assert sorted((info["category_id"], info["area"]) for info in annotation["segments_info"]) == [
        (1, 256),
        (1, 256),
        (2, 320),
    ]
    assert set(np.unique(ids)) == {0} | {info["id"] for info in annotation["segments_info"]}
    assert (ids[RED] == ids[0, 0]).all()
    assert ids[0, 39] != ids[0, 0]
    assert len(written(out)["annotations"]) == 3


@pytest.mark.parametrize(("name", "things"), [("coco-panoptic", 80), ("cityscapes", 8)])
def test_categories_of_a_benchmark_are_its_things_and_stuff(
    lexiseg: CommandLine, image: Path, where: list[str], name: str, things: int
) -> None:
    out = image.parent / "out"

    outcome = lexiseg("segment", image, "--vocabulary", name, "--task", "panoptic", "--out", out, *where)

    assert outcome.status == 0, outcome.err
    categories = {category["name"]: category["isthing"] for category in written(out, "panoptic.json")["categories"]}
    assert sum(categories.values()) == things
    assert (categories["car"], categories["building"], categories["fence"]) == (1, 0, 0)


def test_a_task_that_the_model_here_cannot_do_is_one_line(
    lexiseg: CommandLine, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "load", lambda *_, **__: ColourSegmenter())

    for options in (["--point", "1,2"], ["-c", "red", "--task", "panoptic"]):
        outcome = lexiseg("segment", image, *options, "--out", image.parent / "out")

        assert (outcome.status, outcome.err.count("\n")) == (1, 1)
        assert "expected one of semantic for model colours" in outcome.err


def test_a_point_outside_one_picture_is_that_pictures_failure(
    lexiseg: CommandLine, image: Path, where: list[str]
) -> None:
    large = image.parent / "large.png"
    Image.fromarray(np.kron(PIXELS, np.ones((2, 2, 1), np.uint8))).save(large)

    outcome = lexiseg("segment", image, large, "--point", "60,4", "--out", image.parent / "out", *where)

    assert outcome.status == 1
    assert "flag.png: prompts.0.points.0.x: expected pixels inside the image: 0 to 40" in outcome.err
    assert "1 of 2 images" in outcome.out
