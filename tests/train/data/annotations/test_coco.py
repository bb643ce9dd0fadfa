"""COCO's JSON as other tools write it."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.annotations.coco import read_coco_file
from lexiseg_train.data.annotations.drawing import draw
from lexiseg_train.data.read_scenes import read_instance_scenes, read_object_scenes
from tests.train.data.trees import write_photograph

SQUARE = [[5, 5, 25, 5, 25, 25, 5, 25]]
GOOD = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": SQUARE, "area": 400, "bbox": [5, 5, 20, 20]}
OTHER = {**GOOD, "id": 2, "segmentation": [[30, 5, 35, 5, 35, 9, 30, 9]]}
IMAGE = {"id": 7, "file_name": "a.jpg", "height": 40, "width": 60}
CATEGORY = {"id": 3, "name": "car"}


def write(
    root: Path,
    *annotations: dict[str, Any],
    images: tuple[dict[str, Any], ...] = (IMAGE,),
    categories: tuple[dict[str, Any], ...] = (CATEGORY,),
) -> Path:
    listing = root / "mine.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    listing.write_text(json.dumps(content))  # NaN and Infinity as Python writes them
    for image in images:
        write_photograph(root / str(image["file_name"]), (40, 60))
    return listing


def areas(listing: Path) -> list[int]:
    usable = [(each, image.size) for image in read_coco_file(listing).images for each in image.annotations]
    return [draw(each.outline, size).area for each, size in usable if not each.ignored]


@pytest.mark.parametrize("given", ["7", 7.0, " 7"])
def test_ids_may_be_text_on_one_side(given: object, tmp_path: Path) -> None:
    assert areas(write(tmp_path, {**GOOD, "image_id": given, "category_id": "3"})) == [400]


def test_ids_may_be_names(tmp_path: Path) -> None:
    names: dict[str, Any] = {"images": ({**IMAGE, "id": "img_a"},), "categories": ({"id": "c-car", "name": "car"},)}

    assert areas(write(tmp_path, {**GOOD, "image_id": "img_a", "category_id": "c-car"}, **names)) == [400]


@pytest.mark.parametrize(
    ("outline", "area"),
    [(SQUARE[0], 400), ([*SQUARE, [1, 1, 2, 2]], 400), ([[-10.0, 5.0, 25.0, 25.0, 25.0, 5.0]], 319),
     ([[70.0, 5.0, 25.0, 25.0, 25.0, 5.0]], 428)],
    ids=["flat", "with a speck", "cut on the left", "cut on the right"],
)  # fmt: skip
def test_outlines_of_other_shapes_are_drawn_inside_their_photograph(outline: object, area: int, tmp_path: Path) -> None:
    assert areas(write(tmp_path, {**GOOD, "segmentation": outline})) == [area]


@pytest.mark.parametrize("missing", ["area", "bbox", "id", "iscrowd"])
def test_keys_that_tools_leave_out_are_not_needed(missing: str, tmp_path: Path) -> None:
    write(tmp_path, {key: value for key, value in GOOD.items() if key != missing})

    (truth,) = read_instance_scenes("mine.json", tmp_path, "val").scenes[0].read_truth()

    assert (truth["area"], truth["bbox"], truth["iscrowd"]) == (400, [5, 5, 20, 20], 0)


def test_an_annotation_that_is_written_twice_counts_once(tmp_path: Path) -> None:
    listing = write(tmp_path, GOOD, GOOD, {**OTHER, "id": 1})  # two masks under one id are two masks

    assert areas(listing) == [400, 20]
    assert "1 of 3 annotations" in read_coco_file(listing).warnings[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"height": 0}, "a photograph of 60 x 0; expected 1 to 65,536 a side"),
        ({"width": math.nan}, "a side that nan is not a whole number"),
        ({"height": None}, "a side that None is not a whole number"),
        ({"width": 10**9}, "a photograph of 1000000000 x 40"),
    ],
)
def test_an_image_of_an_impossible_size_costs_itself_and_is_named(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    other = {**IMAGE, "id": 8, "file_name": "b.jpg", **changes}
    listing = write(tmp_path, GOOD, {**OTHER, "image_id": 8}, images=(IMAGE, other))

    assert areas(listing) == [400]
    (warning,) = read_coco_file(listing).warnings
    assert warning.startswith(f"1 of 2 images in {listing} cannot be used and are left out: image b.jpg: {reason}")


def test_an_image_that_is_written_for_each_of_its_annotations_is_one(tmp_path: Path) -> None:
    listing = write(tmp_path, GOOD, {**OTHER, "image_id": 8}, images=(IMAGE, {**IMAGE, "id": 8}))

    assert [len(image.annotations) for image in read_coco_file(listing).images] == [2]


def test_masks_that_are_all_crowds_count_as_objects(tmp_path: Path) -> None:
    write(tmp_path, {**GOOD, "iscrowd": 1}, {**OTHER, "iscrowd": 1})

    scenes = read_object_scenes("mine.json", tmp_path, "val")

    assert scenes.scenes[0].read_truth().labels == (0, 0)
    assert "are crowds (iscrowd)" in scenes.warnings[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": (IMAGE, {**IMAGE, "file_name": "b.jpg"})}, r"two images have the id 7: a\.jpg and b\.jpg"),
        (
            {"images": (IMAGE, {**IMAGE, "file_name": "b.jpg", "width": 0})},
            r"two images have the id 7: a\.jpg and b\.jpg",
        ),
        ({"categories": (CATEGORY, {"id": "3", "name": "bus"})}, "two categories have the id 3: 'car' and 'bus'"),
        ({"images": ({**IMAGE, "height": 0},)}, r"image a\.jpg: a photograph of 60 x 0; expected 1 to 65,536 a side"),
        ({"images": ({**IMAGE, "width": math.inf},)}, r"image a\.jpg: a side that inf is not a whole number"),
        ({"images": ({**IMAGE, "id": None},)}, r"image a\.jpg: an id of None; expected a whole number or text"),
        ({"categories": ({"id": 3},)}, "no 'name'"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_with_the_place(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    listing = write(tmp_path, GOOD, **changes)

    with pytest.raises(DatasetError, match=rf"mine\.json is not a file of COCO's instances: .*{reason}"):
        read_coco_file(listing)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[1, 2]", "it has no list of images"),
        ('{"images": [], "categories": []}', "it has no list of annotations"),
        ('{"images": [], "annotations": 5, "categories": []}', "it has no list of annotations"),
        ('{"images": [3], "annotations": [], "categories": []}', "it has no list of images"),
        ("{", "is not JSON"),
        ("[" * 200_000, "is JSON that is nested too deep"),
        ('{"images": [], "annotations": [{"segments_info": []}], "categories": []}', "panoptic format"),
    ],
)
def test_another_json_is_refused_with_what_it_lacks(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(content)

    with pytest.raises(DatasetError, match=rf"mine\.json .*{reason}"):
        read_coco_file(tmp_path / "mine.json")


@pytest.mark.parametrize("name", ["x" * 5000 + ".jpg", "a\x00.jpg", "\ud800.jpg", "/etc/hostname", "../../a.jpg"])
def test_an_odd_name_of_a_photograph_is_a_missing_one(name: str, tmp_path: Path) -> None:
    listing = write(tmp_path, GOOD)
    content = json.loads(listing.read_text()) | {"images": [{**IMAGE, "file_name": name}]}
    listing.write_text(json.dumps(content))
    (tmp_path / "a.jpg").unlink()

    with pytest.raises(DatasetError, match=r"mine\.json: 1 of 1 photographs are missing"):
        read_object_scenes("mine.json", tmp_path, "val")


def test_warnings_and_names_can_be_printed(tmp_path: Path) -> None:
    image = {**IMAGE, "file_name": "\udce9.jpg"}
    listing = write(tmp_path, {**GOOD, "category_id": 9}, images=(image,), categories=({"id": 3, "name": "\ud800"},))

    content = read_coco_file(listing)

    assert r"annotation 1 of \udce9.jpg" in "".join(content.warnings).encode().decode()
    assert content.categories == {3: r"\ud800"}


def test_a_file_without_annotations_is_warned_about(tmp_path: Path) -> None:
    listing = write(tmp_path)

    assert read_coco_file(listing).warnings == (f"{listing} has no annotations",)


@pytest.mark.parametrize("place", ["images/a.jpg", "data/a.jpg", "images/mine/a.jpg", "deep/below/a.jpg"])
def test_photographs_are_found_beside_the_folder_of_annotations(place: str, tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    listing = write(tmp_path, GOOD)
    listing.rename(tmp_path / "annotations" / "mine.json")
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / "a.jpg").rename(tmp_path / place)

    scenes = read_object_scenes("annotations/mine.json", tmp_path, "val")

    assert scenes.scenes[0].read_image().shape == (40, 60, 3)
