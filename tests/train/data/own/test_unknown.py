"""What was annotated and cannot be read is unknown: neither a class nor background."""

import base64
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.data.own.layouts import read_own
from lexiseg_train.data.read_scenes import read_instance_scenes, read_object_scenes
from tests.train.data.own.made import photo, read_at, write

HEIGHT, WIDTH = SIZE = 60, 80
OBJECT, ELSEWHERE = (12, 12), (50, 20)  # pixels of what cannot be read, and of nothing
BOX = [5, 5, 20, 20]  # around OBJECT
READ = [[50, 30], [70, 30], [70, 50]]  # a triangle that can be read
READ_AT = (35, 65)
PLACES = (OBJECT, READ_AT, ELSEWHERE)


Case = tuple[Any, bool] | tuple[Any, bool, str]  # a mark, whether its place is known, and what is said about it


def check_unknown(folder: Path, mark: str, case: Case) -> None:
    """Compare what is read of a mark that cannot be read, with a triangle that can."""
    elsewhere = "background" if case[1] else "unknown"
    assert read_at(folder, *PLACES) == ["unknown", "dog", elsewhere]
    if len(case) == 3:
        assert any(f"{mark}: {case[2]}" in warning for warning in read_own(folder).warnings)


def coco(root: Path, *annotations: dict[str, Any], categories: Sequence[str | None] = ("cat", "dog")) -> Path:
    photo(root / "a.jpg", size=SIZE)
    common = {"image_id": 1, "category_id": 1, "iscrowd": 0}
    triangle = [[number for point in READ for number in point]]
    read = {**common, "id": 1, "category_id": 2, "segmentation": triangle, "bbox": [50, 30, 20, 20]}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}],
        "annotations": [read, *({**common, "id": number, **each} for number, each in enumerate(annotations, 2))],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, 1)],
    }
    write(root / "mine.json", content)
    return root


SQUARE = [[5, 5, 25, 5, 25, 25, 5, 25]]
COCO: dict[str, Case] = {
    "run lengths of another size": (
        {"segmentation": {"size": [30, 40], "counts": [100, 50, 1050]}, "bbox": BOX}, True,
        "a mask of 40 x 30, its photograph 80 x 60",
    ),
    "compressed, without a box": ({"segmentation": {"size": [60, 80], "counts": "~~"}}, False),
    "two corners": ({"segmentation": [[5, 5, 25, 25]], "bbox": BOX}, True),
    "two corners, without a box": ({"segmentation": [[5, 5, 25, 25]]}, False),
    "corners on a line": ({"segmentation": [[5, 5, 15, 5, 25, 5]], "bbox": BOX}, True),
    "corners on a line, without a box": ({"segmentation": [[5, 5, 15, 5, 25, 5]]}, False),
    "no pixel in its run lengths": ({"segmentation": {"size": [60, 80], "counts": [4800]}, "bbox": BOX}, True),
    "shares instead of pixels": ({"segmentation": [[0.1, 0.1, 0.3, 0.1, 0.3, 0.4]], "bbox": BOX}, True),
    "all in shares": ({"segmentation": [[0.1, 0.1, 0.3, 0.1, 0.3, 0.4]], "bbox": [0.1, 0.1, 0.2, 0.3]}, False),
    "a name, without a box": ({"segmentation": "mask.png"}, False),
    "no category": ({"category_id": None, "segmentation": SQUARE}, True),
    "a category that is no number": (
        {"category_id": math.nan, "segmentation": SQUARE}, True, "an id of nan; expected a whole number or text"
    ),
    "an unlisted category": ({"category_id": 9, "segmentation": SQUARE}, True, "no category has the id 9"),
    "an unlisted category of a box": ({"category_id": 9, "bbox": BOX}, True),
    "no outline and no box": ({}, False, "neither an outline (segmentation) nor a box (bbox)"),
    "a box without an area": ({"bbox": [5, 5, 0, 20]}, False, "a box of [5.0, 5.0, 0.0, 20.0]; expected numbers, with"),
    "marked as ignored": ({"segmentation": SQUARE, "ignore": 1}, True),
    "key points in a box": ({"keypoints": [12, 12, 2], "num_keypoints": 1, "bbox": BOX}, True),
    "key points": ({"keypoints": [12, 12, 2], "num_keypoints": 1}, False),
}  # fmt: skip


IMAGES = {None: "no image has the id None", 9: "no image has the id 9", (1,): "no image has the id [1]"}


@pytest.mark.parametrize("image_id", IMAGES)
def test_an_annotation_of_no_image_is_unknown(image_id: Any, tmp_path: Path) -> None:
    coco(tmp_path, {"image_id": image_id, "segmentation": SQUARE})

    check_unknown(tmp_path, "annotation 2", (None, True, IMAGES[image_id]))


def test_a_caption_of_coco_marks_nothing(tmp_path: Path) -> None:
    coco(tmp_path)
    content = json.loads((tmp_path / "mine.json").read_text())
    content["annotations"].append({"id": 2, "image_id": 1, "caption": "a cat on a dog"})
    write(tmp_path / "mine.json", content)

    assert read_at(tmp_path, *PLACES) == ["background", "dog", "background"]


@pytest.mark.parametrize("image_id", [None, 9])
def test_an_annotation_of_no_image_makes_images_without_any_unknown(image_id: int | None, tmp_path: Path) -> None:
    coco(tmp_path, {"image_id": image_id, "segmentation": SQUARE})
    content = json.loads((tmp_path / "mine.json").read_text())
    content["images"].append({**content["images"][0], "id": 2, "file_name": "b.jpg"})
    write(tmp_path / "mine.json", content)
    photo(tmp_path / "b.jpg", size=SIZE)

    annotated, other = (picture.read().mask for picture in read_own(tmp_path).train)

    assert (annotated[READ_AT], annotated[ELSEWHERE]) == (1, 0)
    assert (other == IGNORE).all()


RING = ".1 .2 .1 .3 .2 .3"
YOLO: dict[str, Case] = {
    "a polygon and its confidence": (
        "0 0.05 0.1 0.3 0.1 0.3 0.4 0.05 0.4 0.93", True, "a polygon of 9 coordinates; the last may be its confidence"
    ),
    "a box and its confidence": ("0 0.175 0.25 0.25 0.3 0.9", True),
    "a box": ("0 0.175 0.25 0.25 0.3", True),
    "a tracked box": ("0 0.175 0.25 0.25 0.3 0.9 7", False),
    "key points": ("0 0.175 0.25 0.25 0.3 0.15 0.2 2 0.2 0.3 2", False),
    "a class that is not listed": ("9 0.05 0.1 0.3 0.1 0.3 0.4 0.05 0.4", True, "no class has the number 9"),
    "a name for a class": ("cat 0.05 0.1 0.3 0.1 0.3 0.4 0.05 0.4", False, "could not convert"),
    "a class that is no number": (f"nan {RING}", False, "nan is not a whole number"),
    "no class": ("0.05 0.1 0.3 0.1 0.3 0.4 0.05 0.4", False),
    "pixels": ("0 5 5 25 5 25 25 5 25", False, "a coordinate of 5; expected a share"),
    "far outside": (f"0 1e9 {RING[3:]}", False, "a coordinate of 1e+09; expected a share"),
    "a box without an area": ("0 0.5 0.5 0 0.2", False, "a box of"),
    "DOTA": ("4.0 6.0 24.0 6.0 24.0 24.0 4.0 24.0 plane 0", False),
    "a line without an area": ("0 0.05 0.2 0.15 0.2 0.3 0.2", True),
}  # fmt: skip


def yolo(root: Path, *lines: str, about: str = "names: [cat, dog]\n") -> Path:
    photo(root / "images/a.jpg", size=SIZE)
    write(root / "data.yaml", f"train: images\n{about}")
    triangle = " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in READ)
    write(root / "labels/a.txt", "\n".join([*lines, f"1 {triangle}"]))
    return root


def test_poses_of_yolo_are_boxes(tmp_path: Path) -> None:
    # 4 numbers of a box, and two key points: 8 numbers could be a polygon, too.
    yolo(tmp_path, "0 0.175 0.25 0.25 0.3 0.15 0.2 0.2 0.3", about="kpt_shape: [2, 2]\nnames: [cat, dog]\n")

    assert read_at(tmp_path, OBJECT, ELSEWHERE) == ["unknown", "background"]


def test_rotated_boxes_of_yolo_have_no_outline(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg", size=SIZE)
    write(tmp_path / "data.yaml", "train: images\nnames: [ship]\n")
    corners = np.array([[20, 5], [35, 20], [25, 30], [10, 15]]) / (WIDTH, HEIGHT)  # turned by 45 degrees
    upright = np.array([[50, 30], [70, 30], [70, 50], [50, 50]]) / (WIDTH, HEIGHT)
    lines = [f"0 {' '.join(f'{number:.6f}' for number in box.ravel())}\n" for box in (corners, upright)]
    write(tmp_path / "labels/a.txt", "".join(lines))

    own = read_own(tmp_path)

    mask = own.train[0].read(len(own.classes)).mask
    assert set(np.unique(mask).tolist()) == {0, IGNORE}
    assert mask[18, 22] == mask[40, 60] == IGNORE
    assert any("rotated boxes" in warning for warning in own.warnings)


def png(pixels: NDArray[Any], mode: str = "L") -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def labelme(root: Path, *shapes: Any) -> Path:
    photo(root / "a.jpg", size=SIZE)
    read = {"label": "dog", "points": READ, "shape_type": "polygon"}
    about = {"version": "5.8.1", "imagePath": "a.jpg", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    write(root / "a.json", {**about, "shapes": [read, *shapes]})
    return root


CORNERS = [[5, 5], [25, 25]]
POLYGON = {"label": "cat", "shape_type": "polygon"}
LABELME: dict[str, Case] = {
    "a number for points": ({**POLYGON, "points": 5}, False, "'int' object is not iterable"),
    "a rectangle of nothing": ({"label": "cat", "points": [], "shape_type": "rectangle"}, False, "list index out"),
    "numbers beyond all": (
        {"label": "cat", "points": [[10**400, 1], [5, 1]], "shape_type": "circle"}, False, "int too large"
    ),
    "a point": ({"label": "cat", "points": [[12, 12]], "shape_type": "point"}, False),
    "points": ({"label": "cat", "points": [[12, 12], [13, 14]], "shape_type": "points"}, False),
    "a line": (
        {"label": "cat", "points": [[5, 12], [30, 12]], "shape_type": "line"}, False, "a 'line'; expected a polygon"
    ),
    "another tool's shape": ({"label": "cat", "points": [[5, 5], [25, 5], [25, 25]], "shape_type": "star"}, False),
    "a cuboid": ({"label": "cat", "points": [[5, 5], [25, 5], [25, 25]], "shape_type": "cuboid"}, True),
    "a rotated box": (
        {"label": "cat", "points": [[12, 2], [22, 12], [12, 22], [2, 12]], "shape_type": "rotation"}, True,
    ),
    "a rectangle": ({"label": "cat", "points": CORNERS, "shape_type": "rectangle"}, True),
    "a mask without its picture": ({"label": "cat", "points": CORNERS, "shape_type": "mask", "mask": None}, True),
    "a mask of garbage": ({"label": "cat", "points": CORNERS, "shape_type": "mask", "mask": "AAAA"}, True),
    "a mask of another size": (
        {"label": "cat", "points": CORNERS, "shape_type": "mask", "mask": png(np.ones((3, 3), np.bool_))}, True,
    ),
    "a mask without a pixel": (
        {"label": "cat", "points": CORNERS, "shape_type": "mask", "mask": png(np.zeros((21, 21), np.bool_))}, True,
    ),
    "no label": ({"points": [[5, 5], [25, 5], [25, 25], [5, 25]], "shape_type": "polygon"}, True, "no 'label'"),
    "a label of null": ({"label": None, "points": [[5, 5], [25, 5], [25, 25], [5, 25]]}, True, "no label, or several"),
    "a label of two": (
        {"label": ["cat", "dog"], "points": [[5, 5], [25, 5], [25, 25], [5, 25]]}, True, "no label, or several"
    ),
    "two corners": ({**POLYGON, "points": CORNERS}, False, "a polygon of 4 coordinates"),
    "corners of three numbers": (
        {**POLYGON, "points": [[5, 5, 1], [25, 5, 1], [25, 25, 1], [5, 25, 1]]}, False, "a corner that is no x with"
    ),
    "no points": (POLYGON, False),
    "no shape": ("cat", False),
}  # fmt: skip


TOOLS: dict[str, tuple[Callable[..., Path], str, dict[str, Case]]] = {
    "COCO": (coco, "annotation 2 of a.jpg", COCO),
    "YOLO": (yolo, "line 1 of a.txt", YOLO),
    "Labelme": (labelme, "shape 2 of a.json", LABELME),
}


@pytest.mark.parametrize(("tool", "fault"), [(tool, fault) for tool, (_, _, cases) in TOOLS.items() for fault in cases])
def test_a_mark_that_cannot_be_read_is_unknown(tool: str, fault: str, tmp_path: Path) -> None:
    make, mark, cases = TOOLS[tool]
    make(tmp_path, cases[fault][0])

    check_unknown(tmp_path, mark, cases[fault])


def test_a_point_makes_the_mask_below_it_unknown(tmp_path: Path) -> None:
    below = {"label": "sofa", "points": [[5, 5], [30, 5], [30, 30], [5, 30]], "shape_type": "polygon"}
    labelme(tmp_path, below, {"label": "cat", "points": [[12, 12]], "shape_type": "point"})

    assert read_at(tmp_path, OBJECT) == ["unknown"]
    warnings = read_own(tmp_path).warnings
    assert any("1 of 1 photographs" in warning and "unknown place" in warning for warning in warnings)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_masks_of_labelme_are_read_whatever_their_kind_of_png(mode: str, tmp_path: Path) -> None:
    pixels = np.zeros((21, 21), np.uint8)
    pixels[5:10, 5:10] = 255
    labelme(tmp_path, {"label": "cat", "points": CORNERS, "shape_type": "mask", "mask": png(pixels, mode)})

    own = read_own(tmp_path)

    drawn = own.train[0].read(len(own.classes)).mask == own.classes.index("cat")
    assert np.argwhere(drawn).min(0).tolist() == [10, 10]
    assert int(drawn.sum()) == 25


def test_images_of_yolo_without_labels_are_background_and_counted(tmp_path: Path) -> None:
    yolo(tmp_path)
    photo(tmp_path / "images/b.jpg", size=SIZE)
    write(tmp_path / "images/b.jpg.aux.xml", "<PAMDataset/>")  # of a GIS, no labels
    write(tmp_path / "notes.json", {"categories": [{"id": 0, "name": "dog"}], "info": {}})  # of Label Studio

    own = read_own(tmp_path)

    assert not own.train[1].read().mask.any()
    assert not any("another format" in warning for warning in own.warnings)
    assert any(
        "1 of 2 photographs" in warning and "no annotation: all is background" in warning for warning in own.warnings
    )


OTHERS = {
    "images/b.xml": "<annotation><filename>b.jpg</filename></annotation>",
    "images/b.json": '{"info": {}, "objects": []}',  # of ISAT
    "images/b.jpg.json": '{"size": {}, "objects": []}',  # of Supervisely
    "old/b.json": '{"shapes": [',  # cut off
    "old/labels/b.txt": "0 0.1 0.1 0.3 0.1 0.3 0.4",
    "tasks.json": '[{"data": {"image": "b.jpg"}, "annotations": [{"result": [], "was_cancelled": true}]}]',
    "masks/b.png": "",
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_photograph_is_no_background_where_its_labels_are_another_tools_and_not_read(
    other: str, tmp_path: Path
) -> None:
    yolo(tmp_path)
    photo(tmp_path / "images/b.jpg", size=SIZE)
    write(tmp_path / other, OTHERS[other])

    own = read_own(tmp_path)

    assert [picture.image.name for picture in own.train] == ["a.jpg"]
    assert any(each.startswith(("images/b.jpg: its labels", "image b.jpg: it was skipped")) for each in own.left_out)
    assert own.warnings


LABELS = {"__ignore__": "unknown", "_background_": "background", "": "unknown", " ": "unknown", "\u200b": "unknown"}


@pytest.mark.parametrize("tool", ["coco", "yolo", "labelme"])
@pytest.mark.parametrize("label", [*LABELS, None])
def test_labels_that_name_no_class_are_unknown_or_background_in_every_format(
    tool: str, label: str | None, tmp_path: Path
) -> None:
    if tool == "coco":
        coco(tmp_path, {"segmentation": SQUARE}, categories=(label, "dog"))
    elif tool == "yolo":
        names = "{1: dog}" if label is None else json.dumps([label, "dog"])
        yolo(tmp_path, "0 0.05 0.1 0.3 0.1 0.3 0.4 0.05 0.4", about=f"names: {names}\n")
    else:
        polygon = {"points": [[5, 5], [25, 5], [25, 25], [5, 25]], "shape_type": "polygon"}
        labelme(tmp_path, polygon if label is None else {**polygon, "label": label})

    assert read_at(tmp_path, *PLACES) == [LABELS.get(label or "", "unknown"), "dog", "background"]
    assert read_own(tmp_path).classes == ("background", "dog")


@pytest.mark.parametrize("fault", ["two corners", "two corners, without a box", "an unlisted category"])
def test_an_unreadable_annotation_does_not_count_in_evaluation(fault: str, tmp_path: Path) -> None:
    annotation, placed, *_ = COCO[fault]
    coco(tmp_path, annotation)

    objects = read_object_scenes("mine.json", tmp_path, "val").scenes[0].read_truth()
    instances = read_instance_scenes("mine.json", tmp_path, "val").scenes[0].read_truth()

    assert objects.ignored[OBJECT]
    assert bool(objects.ignored[ELSEWHERE]) != placed
    assert not objects.ignored[READ_AT]
    assert [each["iscrowd"] for each in instances] == [0, 1, 1]  # of either class


def test_an_unreadable_annotation_on_an_object_hides_it_in_evaluation(tmp_path: Path) -> None:
    below = {"category_id": 1, "segmentation": [[0, 0, 40, 0, 40, 40, 0, 40]]}
    above = {"category_id": 2, "segmentation": [[8, 8, 10, 8, 10, 10, 8, 10]]}
    coco(tmp_path, below, {"segmentation": [[5, 5, 25, 25]], "bbox": BOX}, above)

    objects = read_object_scenes("mine.json", tmp_path, "val").scenes[0].read_truth()

    assert objects.ignored[OBJECT]
    assert not objects.ids[OBJECT]
    assert objects.ids[2, 2]
    assert objects.labels[objects.ids[9, 9] - 1] == 1


def test_the_background_of_a_file_is_no_object_in_evaluation(tmp_path: Path) -> None:
    coco(tmp_path, {"segmentation": SQUARE}, categories=("_background_", "dog"))

    scenes = read_object_scenes("mine.json", tmp_path, "val")

    assert [entry.name for entry in scenes.classes] == ["dog"]
    assert scenes.scenes[0].read_truth().labels == (0,)
