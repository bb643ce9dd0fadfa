"""`lexiseg segment` by prompts and by the task panoptic; panoptic files for panopticapi."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_client import Segment
from lexiseg_labels.folder_sets import LEDGER
from lexiseg_labels.segments import RunLengths
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.types import ClassEntry, Task
from lexiseg_service.commands.image_files import Source
from lexiseg_service.commands.question import question_of
from lexiseg_service.commands.segment.run import Job, Results
from tests import coco
from tests.labels.formats import made
from tests.model.stand_in import ColourSegmenter, picture
from tests.service.commands.command_line import CommandLine, written

TASKS: tuple[Task, ...] = ("semantic", "instance", "panoptic", "prompt")
# Two red regions, one blue, and black between them.
JPEG = b"\xff\xd8\xff"
PIXELS = np.kron(picture(["rr.rr", "rr.rr", ".....", "bbbbb"]), np.ones((8, 8, 1), np.uint8))
RED = np.kron(np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0] * 5, [0] * 5]), np.ones((8, 8))).astype(bool)


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture for a model of colours."""
    monkeypatch.setattr(catalogue, "load", lambda *_, **__: ColourSegmenter(tasks=TASKS))
    path = tmp_path / "flag.png"
    Image.fromarray(PIXELS).save(path)
    return path


def test_a_click_is_answered_with_all_that_it_may_mean(lexiseg: CommandLine, image: Path) -> None:
    out = image.parent / "out"

    outcome = lexiseg("segment", image, "--point", "4,4", "--out", out)

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


def test_panoptic_files_hold_things_and_stuff(lexiseg: CommandLine, image: Path) -> None:
    out = image.parent / "out"

    outcome = lexiseg("segment", image, "-c", "red", "-c", "blue", "--task", "panoptic", "--out", out)

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


def test_categories_of_a_benchmark_are_its_things_and_stuff(lexiseg: CommandLine, image: Path) -> None:
    out = image.parent / "out"

    outcome = lexiseg("segment", image, "--vocabulary", "cityscapes", "--task", "panoptic", "--out", out)

    assert outcome.status == 0, outcome.err
    categories = {category["name"]: category["isthing"] for category in written(out, "panoptic.json")["categories"]}
    assert sum(categories.values()) == 8
    assert (categories["car"], categories["building"], categories["fence"]) == (1, 0, 0)


def test_a_point_outside_one_picture_is_that_pictures_failure(lexiseg: CommandLine, image: Path) -> None:
    large = image.parent / "large.png"
    Image.fromarray(np.kron(PIXELS, np.ones((2, 2, 1), np.uint8))).save(large)

    outcome = lexiseg("segment", image, large, "--point", "60,4", "--out", image.parent / "out")

    assert outcome.status == 1
    assert "flag.png: prompts.0.points.0.x: expected pixels inside the image: 0 to 40" in outcome.err
    assert "images 1 of 2" in outcome.out


CLASSES = (ClassEntry("sky", thing=False), ClassEntry("car", thing=True), ClassEntry("flying saucer"))


def panoptic_json(folder: Path, ids: NDArray[np.uint16], classes: dict[int, tuple[int, bool]]) -> dict[str, Any]:
    """panoptic.json of one image whose segments are the ids of a label map, with their class and if they are things."""
    rles = encode_label_map(ids, int(ids.max()) + 1)
    segments = tuple(
        Segment(
            number, CLASSES[index].name, index, 0.91234, rles[number].area, rles[number].bbox,
            RunLengths(ids.shape, rles[number].counts), is_thing=is_thing,
        )
        for number, (index, is_thing) in classes.items()
    )  # fmt: skip
    job = Job([], question_of((), None, required=False, task="panoptic"), folder, "coco")
    results = Results(job, CLASSES, "a model")
    results.add(Source("street.jpg"), JPEG, made.answer(size=ids.shape, segments=segments))
    return written(folder, "panoptic.json")


def test_the_ids_of_the_map_are_those_of_the_json(tmp_path: Path) -> None:
    ids = np.zeros((20, 30), np.uint16)
    ids[:, 10:20], ids[:5, 20:], ids[5:, 20:] = 1, 2, 700  # more than a byte holds

    content = panoptic_json(tmp_path, ids, {1: (0, False), 2: (1, True), 3: (1, True), 700: (1, True)})

    (annotation,) = content["annotations"]
    with Image.open(tmp_path / "panoptic" / annotation["file_name"]) as picture:
        assert picture.mode == "RGB"
        found = np.asarray(picture).astype(np.int64) @ [1, 256, 65536]
    assert np.array_equal(found, ids)
    assert annotation["image_id"] == content["images"][0]["id"] == 1
    # panopticapi refuses a segment without pixels: 3 is left out.
    assert {info["id"] for info in annotation["segments_info"]} == set(np.unique(found)) - {0}
    for info in annotation["segments_info"]:
        rows, columns = np.nonzero(found == info["id"])
        assert info["area"] == len(rows)
        left, top = int(columns.min()), int(rows.min())
        assert info["bbox"] == [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
        assert info["iscrowd"] == 0
    assert [info["category_id"] for info in annotation["segments_info"]] == [1, 2, 2]


def test_a_disk_that_fills_while_lists_are_written_costs_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job([], question_of((), None, required=False, task="panoptic"), tmp_path / "out", "coco")
    answer = made.answer(size=(20, 30), segments=())
    results = Results(job, CLASSES, "a model")
    results.add(Source("a.jpg"), JPEG, answer)
    results.add(Source("b.jpg"), JPEG, answer)

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="full"):
            results.write()

    resumed = Results(job, CLASSES, "a model")
    assert [resumed.has(Source(name), even_changed=False) for name in ("a.jpg", "b.jpg")] == [True, True]
    resumed.write()
    assert [each["image_id"] for each in written(tmp_path / "out", "panoptic.json")["annotations"]] == [1, 2]


def test_a_line_that_a_kill_cut_short_leaves_its_picture_to_do(tmp_path: Path) -> None:
    job = Job([], question_of(["sky"], None), tmp_path / "out", "yolo")
    answer = made.answer(size=(20, 30), segments=())
    results = Results(job, CLASSES, "a model")
    results.add(Source("a.jpg"), JPEG, answer)
    results.add(Source("b.jpg"), JPEG, answer)
    ledger = tmp_path / "out" / LEDGER
    ledger.write_bytes(ledger.read_bytes()[:-20])

    resumed = Results(job, CLASSES, "a model")
    assert [resumed.has(Source(name), even_changed=False) for name in ("a.jpg", "b.jpg")] == [True, False]
    resumed.add(Source("b.jpg"), JPEG, answer)
    assert Results(job, CLASSES, "a model").has(Source("b.jpg"), even_changed=False)
