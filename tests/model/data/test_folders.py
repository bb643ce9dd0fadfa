"""Every benchmark with label maps, read from a miniature tree in its official layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.data.annotated import AnnotatedSet
from lexiseg_model.data.labels import IGNORED
from lexiseg_model.data.read import read_benchmark
from lexiseg_model.errors import DatasetError
from tests.model.data import trees

Writer = Callable[[Path, Mapping[str, NDArray[np.integer]]], None]
X = IGNORED

# benchmark, writer, stored values, the labels that they stand for
CASES: dict[str, tuple[str, Writer, list[int], list[int]]] = {
    "voc21": ("voc21", trees.write_voc, [0, 1, 20, 255], [0, 1, 20, X]),
    "voc20": ("voc20", trees.write_voc, [0, 1, 20, 255], [X, 0, 19, X]),
    "context60": ("context60", trees.write_context, [0, 1, 59, 59], [0, 1, 59, 59]),
    "context59": ("context59", trees.write_context, [0, 1, 59, 59], [X, 0, 58, 58]),
    "coco-object as released": ("coco-object", trees.write_coco, [0, 89, 91, 255], [1, 80, 0, 0]),
    "coco-object converted": (
        "coco-object", partial(trees.write_coco, suffix="_instanceTrainIds"), [0, 1, 80, 80], [0, 1, 80, 80],
    ),
    "coco-stuff as released": ("coco-stuff", trees.write_coco, [0, 91, 181, 255], [0, 80, 170, X]),
    "coco-stuff converted": (
        "coco-stuff", partial(trees.write_coco, suffix="_labelTrainIds"), [0, 80, 170, 255], [0, 80, 170, X],
    ),
    "cityscapes as released": ("cityscapes", trees.write_cityscapes, [7, 33, 0, 9], [0, 18, X, X]),
    "cityscapes converted": (
        "cityscapes", partial(trees.write_cityscapes, kind="labelTrainIds"), [0, 18, 255, 255], [0, 18, X, X],
    ),
    "ade20k": ("ade20k", trees.write_ade, [0, 1, 150, 2], [X, 0, 149, 1]),
    "ade847": ("ade847", trees.write_full_ade, [0, 846, 300, 65535], [0, 846, 300, X]),
    "pc459 of CAT-Seg": ("pc459", trees.write_context_459, [0, 458, 300, 65535], [0, 458, 300, X]),
    "pc459 of ODISE": ("pc459", trees.write_context_459_of_odise, [0, 458, 300, 65535], [0, 458, 300, X]),
    "imagenet-s50": ("imagenet-s50", trees.write_imagenet_s, [0, 1, 50, 1000], [0, 1, 50, X]),
    "imagenet-s919": (
        "imagenet-s919", partial(trees.write_imagenet_s, subset=919), [0, 255, 919, 1000], [0, 255, 919, X],
    ),
}  # fmt: skip
NAMES = {
    "voc21": ("2007_000033", "2007_000042"), "voc20": ("2007_000033", "2007_000042"),
    "context60": ("2008_000002", "2008_000003"), "context59": ("2008_000002", "2008_000003"),
    "coco-object": ("000000000139", "000000000285"), "coco-stuff": ("000000000139", "000000000285"),
    "cityscapes": ("frankfurt_000000_000294", "munster_000001_000019"),
    "ade20k": ("ADE_val_00000001", "ADE_val_00000002"), "ade847": ("ADE_val_00000001", "ADE_val_00000002"),
    "pc459": ("2008_000002", "2008_000003"),
    "imagenet-s50": ("n01443537/ILSVRC2012_val_00000236", "n01491361/ILSVRC2012_val_00000252"),
    "imagenet-s919": ("n01440764/ILSVRC2012_val_00000293", "n01443537/ILSVRC2012_val_00000236"),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[AnnotatedSet, list[int]]:
    """A set of two images, and the labels of the first one's rows; the second is as large and of the first value."""
    name, write, stored, labels = CASES[request.param]
    first, second = NAMES[name]
    rows = np.repeat(np.array(stored)[:, None], 5, 1)  # [4, 5]
    write(tmp_path, {first: rows, second: np.full((6, 3), stored[0])})
    return read_benchmark(name, tmp_path), labels


def test_both_images_are_listed_in_order(case: tuple[AnnotatedSet, list[int]]) -> None:
    data, _ = case

    names = [image.name.split("/")[-1] if "cityscapes" in data.benchmark.name else image.name for image in data.images]

    assert names == list(NAMES[data.benchmark.name])


def test_stored_values_become_labels(case: tuple[AnnotatedSet, list[int]]) -> None:
    data, labels = case

    np.testing.assert_array_equal(data.images[0].read_labels(), np.repeat(np.array(labels)[:, None], 5, 1))


def test_photographs_belong_to_their_annotations(case: tuple[AnnotatedSet, list[int]]) -> None:
    data, _ = case

    for seed, image in enumerate(data.images):
        pixels = image.read_image()
        assert pixels.shape == (*image.read_labels().shape, 3)
        assert np.abs(pixels.astype(int) - trees.colour(seed)).max() < 6  # JPEG; another's colour would be far off


@pytest.mark.parametrize("inner", ["VOCdevkit/VOC2012", "VOCdevkit", "."])
def test_the_root_may_be_the_official_folder_or_one_that_holds_it(tmp_path: Path, inner: str) -> None:
    trees.write_voc(tmp_path, {"2007_000033": np.zeros((4, 5), int)})

    assert len(read_benchmark("voc21", tmp_path / inner).images) == 1


def test_a_training_split_is_read_by_its_own_name(tmp_path: Path) -> None:
    trees.write_voc(tmp_path, {"2007_000032": np.zeros((4, 5), int)}, split="train")

    assert [image.name for image in read_benchmark("voc20", tmp_path, "train").images] == ["2007_000032"]


def test_converted_maps_go_before_those_as_released(tmp_path: Path) -> None:
    trees.write_coco(tmp_path, {"000000000139": np.full((4, 5), 181)})
    trees.write_coco(tmp_path, {"000000000139": np.full((4, 5), 3)}, "_labelTrainIds")

    assert np.unique(read_benchmark("coco-stuff", tmp_path).images[0].read_labels()).tolist() == [3]


def test_what_is_not_there_is_named_with_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        read_benchmark("ade20k", tmp_path)

    assert f"{tmp_path}/ADEChallengeData2016" in str(caught.value)
    assert "images/validation/ID.jpg with annotations/validation/ID.png" in str(caught.value)


def test_a_root_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere is not a folder"):
        read_benchmark("voc21", tmp_path / "nowhere")


def test_a_listed_image_that_is_missing_is_an_error(tmp_path: Path) -> None:
    trees.write_voc(tmp_path, {"2007_000033": np.zeros((4, 5), int), "2007_000042": np.zeros((4, 5), int)})
    (tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2007_000042.jpg").unlink()

    with pytest.raises(DatasetError, match=r"voc21: 1 of 4 files are missing, as .*JPEGImages/2007_000042.jpg"):
        read_benchmark("voc21", tmp_path)


def test_a_photograph_that_is_torn_is_an_error(tmp_path: Path) -> None:
    trees.write_ade(tmp_path, {"ADE_val_00000001": np.ones((4, 5), int)})
    photograph = tmp_path / "ADEChallengeData2016" / "images" / "validation" / "ADE_val_00000001.jpg"
    photograph.write_bytes(photograph.read_bytes()[:200])

    with pytest.raises(DatasetError, match=r"ADE_val_00000001.jpg cannot be read as an image"):
        read_benchmark("ade20k", tmp_path).images[0].read_image()
