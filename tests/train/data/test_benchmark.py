"""Semantic benchmarks in their official layouts: label maps and LVIS."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.errors import DatasetError
from lexiseg_model.vocabulary.class_lists import NAMES as NAMES_OF_LISTS
from lexiseg_model.vocabulary.class_lists import class_list
from lexiseg_train.data.benchmark import FOLDER, IGNORED, benchmark, label_table, names, read_benchmark, read_labels
from tests.train.data import trees
from tests.train.data.trees import write_lvis

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


@pytest.mark.parametrize("case", CASES)
def test_images_are_listed_in_order_and_stored_values_map_to_labels(case: str, tmp_path: Path) -> None:
    name, write, stored, labels = CASES[case]
    first, second = NAMES[name]
    write(tmp_path, {first: np.repeat(np.array(stored)[:, None], 5, 1), second: np.full((6, 3), stored[0])})

    images = read_benchmark(name, tmp_path).images

    assert [image.name.split("/")[-1] if name == "cityscapes" else image.name for image in images] == [first, second]
    np.testing.assert_array_equal(images[0].read_truth(), np.repeat(np.array(labels)[:, None], 5, 1))


@pytest.mark.parametrize("inner", ["VOCdevkit/VOC2012", "VOCdevkit", "."])
def test_the_root_may_be_the_official_folder_or_one_that_holds_it(tmp_path: Path, inner: str) -> None:
    trees.write_voc(tmp_path, {"2007_000033": np.zeros((4, 5), int)})

    assert len(read_benchmark("voc21", tmp_path / inner).images) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ade20k", ("ADEChallengeData2016", "images/validation/ID.jpg with annotations/validation/ID.png")),
        ("lvis", ("lvis/lvis_v1_val.json", "coco/")),
    ],
)
def test_a_missing_data_set_is_reported_with_the_expected_layout(
    name: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError) as caught:
        read_benchmark(name, tmp_path)

    for each in expected:
        assert each in str(caught.value)


@pytest.mark.parametrize("content", [None, ""], ids=["missing", "empty"])
@pytest.mark.parametrize("name", ["voc21", "voc20", "context60", "context59"])
def test_a_set_without_its_list_is_refused_by_the_name_of_the_list(
    name: str, content: str | None, tmp_path: Path
) -> None:
    _, write, _, _ = CASES[name]
    write(tmp_path, {NAMES[name][0]: np.zeros((4, 5), int)})
    (listing,) = tmp_path.rglob("ImageSets/*/val.txt")
    listing.unlink() if content is None else listing.write_text(content)

    with pytest.raises(DatasetError, match=str(listing.relative_to(listing.parents[2]))) as caught:
        read_benchmark(name, tmp_path)

    assert ("names no image" in str(caught.value)) == (content == "")


@pytest.mark.parametrize("content", [b"2007_0", b"[]", bytes(range(256))], ids=["half", "another file", "no text"])
def test_a_damaged_list_is_refused_by_a_file_that_it_asks_for(content: bytes, tmp_path: Path) -> None:
    trees.write_voc(tmp_path, {"2007_000033": np.zeros((4, 5), int)})
    (listing,) = tmp_path.rglob("ImageSets/*/val.txt")
    listing.write_bytes(content)

    with pytest.raises(DatasetError, match=r"voc21: \d+ of \d+ files are missing, such as .*JPEGImages/"):
        read_benchmark("voc21", tmp_path)


def test_an_unknown_label_value_is_an_error(tmp_path: Path) -> None:
    found = benchmark("voc21")
    Image.fromarray(np.array([[0, 77]], np.uint8)).save(tmp_path / "odd.png")

    with pytest.raises(DatasetError, match=r"odd.png holds the values \[77\], which the layout"):
        read_labels(tmp_path / "odd.png", found.layouts[0], label_table(found, found.layouts[0]))


IMAGE = {"id": 285, "height": 8, "width": 10, "split": "val2017"}


def box(image: int, category: int, left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    ring = [left, top, right, top, right, bottom, left, bottom]
    area = (right - left) * (bottom - top)
    return {"image_id": image, "category_id": category, "segmentation": [ring], "area": area}


def test_lvis_masks_become_labels_the_smaller_above_and_other_pixels_are_ignored(tmp_path: Path) -> None:
    write_lvis(tmp_path, [IMAGE], [box(285, 5, 2, 2, 4, 4), box(285, 1, 0, 0, 5, 8), box(285, 1203, 6, 0, 10, 8)])

    labels = read_benchmark("lvis", tmp_path).images[0].read_truth()

    assert labels[3].tolist() == [0, 0, 4, 4, 0, IGNORED, *[1202] * 4]


def test_an_unknown_lvis_category_is_an_error(tmp_path: Path) -> None:
    write_lvis(tmp_path, [IMAGE], [box(285, 1204, 0, 0, 4, 8)])

    with pytest.raises(DatasetError, match="unknown category 1204; expected one of the 1203 of the set"):
        read_benchmark("lvis", tmp_path)


@pytest.mark.parametrize(("whole", "part"), [("voc21", "voc20"), ("context60", "context59")])
def test_with_and_without_background_name_the_same_classes(whole: str, part: str) -> None:
    assert benchmark(whole).classes[1:] == benchmark(part).classes


@pytest.mark.parametrize("name", names())
def test_a_benchmark_writes_no_class_list_that_is_built_in(name: str) -> None:
    own = json.loads((FOLDER / f"{name}.json").read_bytes()).get("classes", [])

    listed = [class_list(each) for each in NAMES_OF_LISTS]
    assert all(one.official not in (own, own[1:]) for one in listed)
    assert all([entry.name for entry in one.classes] not in (own, own[1:]) for one in listed)


def test_an_unknown_benchmark_is_refused_with_the_known_names() -> None:
    with pytest.raises(DatasetError, match=r"no benchmark 'voc22'; known benchmarks: ade20k, .*voc21"):
        benchmark("voc22")
