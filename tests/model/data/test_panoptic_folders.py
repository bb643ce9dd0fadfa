"""Panoptic benchmarks in miniature official layouts, and errors about damaged ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.data.benchmark import panoptic_benchmark
from lexiseg_model.data.read_scenes import read_panoptic
from lexiseg_model.data.scenes import PanopticTruth, SceneSet, TruthSegment
from lexiseg_model.errors import DatasetError
from tests.model.data.panoptic_trees import (
    Drawn,
    write_ade_panoptic,
    write_cityscapes_panoptic,
    write_coco_panoptic,
)
from tests.model.data.trees import colour

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


def test_an_unknown_category_is_reported_with_its_image(tmp_path: Path) -> None:
    write_coco_panoptic(tmp_path, [drawn("000000000139", (1, 12, 200))])

    with pytest.raises(
        DatasetError, match=r"the image '139' has a segment of the unknown category 12; expected one of"
    ):
        read("coco-panoptic", tmp_path)
