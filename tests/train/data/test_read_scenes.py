"""Panoptic and instance sets in their official layouts."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.benchmark import panoptic_benchmark
from lexiseg_train.data.read_scenes import read_instance_scenes, read_panoptic
from lexiseg_train.data.scenes import PanopticTruth, SceneSet, TruthSegment
from tests.train.data.panoptic_trees import (
    Drawn,
    write_ade_panoptic,
    write_cityscapes_panoptic,
    write_coco_instances,
    write_coco_panoptic,
)
from tests.train.data.trees import colour

LARGE = 5 + 256 * 7 + 65536 * 9  # an id that needs all three channels
IDS = np.array([[0, 3, 3, 300], [0, 3, 300, 300], [LARGE] * 4])
Writer = Callable[[Path, Sequence[Drawn]], object]
# the writer, names of two images, category ids of the three segments and the labels that they stand for
CASES: dict[str, tuple[Writer, tuple[str, str], tuple[int, int, int], tuple[int, int, int]]] = {
    "coco-panoptic": (write_coco_panoptic, ("000000000139", "000000000285"), (1, 92, 200), (0, 80, 132)),
    "ade20k-panoptic": (write_ade_panoptic, ("ADE_val_00000001", "ADE_val_00000002"), (0, 7, 149), (0, 7, 149)),
    "cityscapes-panoptic": (
        write_cityscapes_panoptic, ("frankfurt_000000_000294", "munster_000001_000019"), (7, 26, 33), (0, 13, 18),
    ),
}  # fmt: skip


def drawn(name: str, categories: tuple[int, int, int]) -> Drawn:
    return Drawn(name, IDS, dict(zip((3, 300, LARGE), categories, strict=True)), crowds=(300,))


def read(name: str, root: Path) -> SceneSet[PanopticTruth]:
    return read_panoptic(panoptic_benchmark(name), root, "val")


@pytest.mark.parametrize("name", CASES)
def test_images_ids_and_segments_are_read(name: str, tmp_path: Path) -> None:
    write, names, categories, labels = CASES[name]
    write(tmp_path, [drawn(image, categories) for image in names])

    data = read(name, tmp_path)

    assert [scene.name.zfill(12) if name == "coco-panoptic" else scene.name for scene in data.scenes] == list(names)
    assert (data.split, data.source, data.background) == ("val", "annotated", False)
    truth = data.scenes[1].read_truth()
    assert truth.ids.tolist() == IDS.tolist()
    assert truth.segments == (
        TruthSegment(3, labels[0], 3),
        TruthSegment(300, labels[1], 3, crowd=True),
        TruthSegment(LARGE, labels[2], 4),
    )
    picture = data.scenes[1].read_image()
    assert picture.shape == (3, 4, 3)
    assert abs(picture[0, 0].astype(int) - colour(1)).max() < 8


@pytest.mark.parametrize("missing", ["val2017/000000000139.jpg", "panoptic_val2017/000000000139.png"])
def test_a_missing_file_is_reported(missing: str, tmp_path: Path) -> None:
    write_coco_panoptic(tmp_path, [drawn(name, (1, 92, 200)) for name in ("000000000139", "000000000285")])
    (tmp_path / "coco" / missing).unlink()

    with pytest.raises(DatasetError, match=rf"coco-panoptic: 1 of 4 files are missing, such as .*{missing}"):
        read("coco-panoptic", tmp_path)


@pytest.mark.parametrize("content", [0.5, b"", b"[]", b'{"images": []}'])
def test_a_bad_annotation_file_is_refused(content: bytes | float, tmp_path: Path) -> None:
    write_coco_panoptic(tmp_path, [drawn("000000000139", (1, 92, 200))])
    path = tmp_path / "coco/annotations/panoptic_val2017.json"
    whole = path.read_bytes()
    path.write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])

    with pytest.raises(DatasetError, match=r"panoptic_val2017\.json is not .*; expected JSON with the lists"):
        read("coco-panoptic", tmp_path)


def test_an_unknown_category_is_reported_with_its_image(tmp_path: Path) -> None:
    write_coco_panoptic(tmp_path, [drawn("000000000139", (1, 12, 200))])

    with pytest.raises(
        DatasetError, match=r"the image '139' has a segment of the unknown category 12; expected one of"
    ):
        read("coco-panoptic", tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"area": math.nan}, "nan is not a whole number"),
        ({"area": math.inf}, "inf is not a whole number"),
        ({"category_id": "dog"}, "'dog' is not a whole number"),
        ({"category_id": None}, "None is not a whole number"),
        ({"id": None}, "None is not a whole number"),
        ({"id": -1}, "an id of -1; expected one of its own, 1 to 16777215"),
        ({"id": 3}, "an id of 3; expected one of its own, 1 to 16777215"),
    ],
)
def test_an_unusable_segment_costs_itself_and_its_pixels_are_void(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    listing = write_coco_panoptic(tmp_path, [drawn("000000000139", (1, 92, 200))])
    content = json.loads(listing.read_text())
    content["annotations"][0]["segments_info"][1] |= changes
    listing.write_text(json.dumps(content))

    data = read("coco-panoptic", tmp_path)

    truth = data.scenes[0].read_truth()
    assert [segment.id for segment in truth.segments] == [3, LARGE]
    assert truth.ids.tolist() == np.where(IDS == 300, 0, IDS).tolist()
    assert data.warnings == (
        f"1 of 3 annotations in {listing} cannot be used, their pixels are ignored: "
        f"segment 2 of the image 139: {reason}",
    )


def test_a_png_with_an_id_that_no_segment_lists_is_refused(tmp_path: Path) -> None:
    listing = write_coco_panoptic(tmp_path, [drawn("000000000139", (1, 92, 200))])
    content = json.loads(listing.read_text())
    del content["annotations"][0]["segments_info"][1]
    listing.write_text(json.dumps(content))

    with pytest.raises(DatasetError, match=r"holds the ids \[300\], which its segments_info does not list"):
        read("coco-panoptic", tmp_path).scenes[0].read_truth()


def polygon(number: int, image: int, category: int, crowd: int = 0) -> dict[str, Any]:
    shape: Any = (
        {"size": [40, 60], "counts": [0, 400, 2000]} if crowd else [[0.0, 0.0, 10.0, 0.0, 10.0, 20.0, 0.0, 20.0]]
    )
    return {
        "id": number, "image_id": image, "category_id": category, "segmentation": shape,
        "area": 200.0, "bbox": [0, 0, 10, 20], "iscrowd": crowd,
    }  # fmt: skip


def test_coco_has_eighty_things_and_all_images(tmp_path: Path) -> None:
    write_coco_instances(tmp_path, {285: (40, 60), 139: (40, 60)}, [polygon(1, 285, 90), polygon(2, 285, 1, crowd=1)])

    data = read_instance_scenes("coco-instance", tmp_path, "val")

    assert (len(data.classes), data.classes[79].name, data.official) == (80, "toothbrush", 5000)
    assert data.background
    assert [scene.name for scene in data.scenes] == ["000000000139.jpg", "000000000285.jpg"]
    assert data.scenes[0].read_truth() == []
    assert [(entry["category_id"], entry["iscrowd"]) for entry in data.scenes[1].read_truth()] == [(80, 0), (1, 1)]
    assert data.scenes[1].read_image().shape == (40, 60, 3)
