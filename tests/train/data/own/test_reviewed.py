"""Which pictures teach: those that somebody has labelled, and of a set with marks of review those alone."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.own.layouts import read_own
from lexiseg_train.data.own.masks import OwnPictures
from tests.train.data.own.made import corners, photo, write

HEIGHT, WIDTH = 60, 80
RING = [40, 5, 60, 5, 60, 25, 40, 25]
SHARES = " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in zip(RING[::2], RING[1::2], strict=True))
CORNERS = corners(RING)


def photographs(root: Path, *names: str) -> list[str]:
    for name in names:
        photo(root / name, seed=ord(Path(name).stem[-1]), size=(HEIGHT, WIDTH))
    return [*names]


def jpegs(marks: Sequence[bool | None]) -> list[str]:
    return [f"{letter}.jpg" for letter in "abc"[: len(marks)]]


def classes_of(own: OwnPictures) -> dict[str, list[str]]:
    """Classes by the name of the photograph that shows them."""
    masks = {picture.image.name: picture.read(len(own.classes)).mask for picture in (*own.train, *own.held_out)}
    return {name: [own.classes[value] for value in np.unique(mask) if 0 < value < 255] for name, mask in masks.items()}


def mark(label: str = "dog", to_name: str = "image", **more: Any) -> dict[str, Any]:
    points = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in CORNERS]
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    value = {"points": points, "polygonlabels": [label]}
    return {"id": label, "type": "polygonlabels", "to_name": to_name, "from_name": "l", "value": value, **size, **more}


def tasks(root: Path, *members: dict[str, Any]) -> None:
    """Label Studio's tasks: a.jpg has a mark, the next ones are of these members."""
    names = [f"{letter}.jpg" for letter in "abcdef"[: len(members) + 1]]
    photographs(root, *names)
    listed = [{"annotations": [{"result": [mark()]}]}, *members]
    write(root / "tasks.json", [{"data": {"image": name}, **each} for name, each in zip(names, listed, strict=True)])


EMPTY = {"result": [], "was_cancelled": False}
LEFT_OUT: dict[str, tuple[dict[str, Any], str]] = {
    "never opened": ({"annotations": []}, "nobody has labelled it"),
    "skipped": ({"annotations": [{"result": [mark()], "was_cancelled": True}]}, "it was skipped"),
    "skipped, with a prediction": (
        {"annotations": [{"result": [], "was_cancelled": True}], "predictions": [{"result": [mark()]}]},
        "it was skipped",
    ),
    "a draft": ({"annotations": [], "drafts": [{"result": [mark()]}]}, "it has a draft alone"),
    "a prediction beside what was submitted": (
        {"annotations": [], "predictions": [{"result": [mark()]}]},
        "not reviewed",
    ),
}


@pytest.mark.parametrize("state", LEFT_OUT)
def test_a_task_that_nobody_has_labelled_is_left_out_and_counted(state: str, tmp_path: Path) -> None:
    members, reason = LEFT_OUT[state]
    tasks(tmp_path, members)

    own = read_own(tmp_path)

    assert classes_of(own) == {"a.jpg": ["dog"]}
    assert [reason in each for each in own.left_out] == [True]
    assert any("1 of 2" in warning and "left out" in warning for warning in own.warnings)


SUBMITTED: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "nothing": ([EMPTY], []),
    "nothing twice": ([EMPTY, EMPTY], []),
    "something, then something else": ([{"result": [mark("cat")]}, {"result": [mark()]}], ["dog"]),
    "something, then nothing": ([{"result": [mark()]}, EMPTY], ["dog"]),
    "something, then a choice": (
        [{"result": [mark()]}, {"result": [{"type": "choices", "value": {"choices": ["sharp"]}}]}], ["dog"]
    ),
    "nothing, then something": ([EMPTY, {"result": [mark()]}], ["dog"]),
    "something, then skipped": ([{"result": [mark()]}, {"result": [], "was_cancelled": True}], ["dog"]),
}  # fmt: skip


@pytest.mark.parametrize("state", SUBMITTED)
def test_a_submitted_task_shows_its_last_marks_or_background(state: str, tmp_path: Path) -> None:
    annotations, expected = SUBMITTED[state]
    tasks(tmp_path, {"annotations": annotations})

    assert classes_of(read_own(tmp_path)) == {"a.jpg": ["dog"], "b.jpg": expected}


PAIR = {"left": "a.jpg", "right": "b.jpg"}
PICTURES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], dict[str, list[str]]]] = {
    "by the names of the pictures": (
        PAIR, [mark("dog", "left"), mark("cat", "right")], {"a.jpg": ["dog"], "b.jpg": ["cat"]}
    ),
    "one is never named": (PAIR, [mark("dog", "right")], {"b.jpg": ["dog"]}),
    "by other names": (PAIR, [mark("dog", "img-1"), mark("cat", "img-2")], {}),
    "none": (PAIR, [], {}),
    "one picture under two keys": ({"image": "a.jpg", "url": "a.jpg"}, [mark("dog", "img")], {"a.jpg": ["dog"]}),
    "pages": (
        {"pages": ["a.jpg", "b.jpg"]}, [mark("dog", "image", item_index=1), mark("cat", "image", item_index=0)],
        {"a.jpg": ["cat"], "b.jpg": ["dog"]},
    ),
    "a page without a mark": (
        {"pages": ["a.jpg", "b.jpg"]}, [mark("dog", item_index=0)], {"a.jpg": ["dog"], "b.jpg": []}
    ),
    "a page that is not there": ({"pages": ["a.jpg", "b.jpg"]}, [mark("dog", item_index=7)], {}),
}  # fmt: skip


@pytest.mark.parametrize("case", PICTURES)
def test_marks_of_a_task_of_several_pictures_are_on_their_own(case: str, tmp_path: Path) -> None:
    data, results, expected = PICTURES[case]
    photographs(tmp_path, "a.jpg", "b.jpg", "z.jpg")
    of_z = {"data": {"image": "z.jpg"}, "annotations": [{"result": [mark("fox")]}]}
    write(tmp_path / "tasks.json", [{"data": data, "annotations": [{"result": results}]}, of_z])

    own = read_own(tmp_path)

    assert classes_of(own) == {**expected, "z.jpg": ["fox"]}
    assert len(own.left_out) == len({*data.values()} if "pages" not in data else data["pages"]) - len(expected)


# Two names to which one photograph is found, the names of all photographs, and the one of a mark that is used.
ONE_FOUND: dict[str, tuple[str, str, str, str | None]] = {
    "two uploads": ("/data/upload/1/11111111-a.jpg", "/data/upload/1/22222222-a.jpg", "a.jpg", None),
    "two buckets": ("s3://one/a.jpg", "s3://two/a.jpg", "a.jpg", None),
    "a folder is missing": ("a.jpg", "more/a.jpg", "a.jpg", "dog"),
    "one is missing": ("one/a.jpg", "two/a.jpg", "two/a.jpg", "cat"),
}


@pytest.mark.parametrize("case", ONE_FOUND)
def test_marks_are_on_no_photograph_that_may_be_of_another_name(case: str, tmp_path: Path) -> None:
    first, second, there, used = ONE_FOUND[case]
    photographs(tmp_path, there, "z.jpg")
    listed = [(first, "dog"), (second, "cat"), ("z.jpg", "fox")]
    write(
        tmp_path / "tasks.json",
        [{"data": {"image": name}, "annotations": [{"result": [mark(label)]}]} for name, label in listed],
    )

    own = read_own(tmp_path)

    assert classes_of(own) == ({"z.jpg": ["fox"]} if used is None else {"a.jpg": [used], "z.jpg": ["fox"]})
    assert len(own.left_out) == (2 if used is None else 1)
    assert all(f"it leads to {there}, and so does another" in each for each in own.left_out)


@pytest.mark.parametrize("layout", ["COCO", "CVAT"])
def test_a_listing_without_photographs_marks_none_in_the_folder_of_another(layout: str, tmp_path: Path) -> None:
    make = {"COCO": coco, "CVAT": cvat}[layout]
    for folder, label in (("one", "dog"), ("two", "cat")):
        make(tmp_path / folder, [None])
        (listing,) = [path for path in (tmp_path / folder).iterdir() if path.suffix in (".json", ".xml")]
        write(listing, listing.read_text().replace("dog", label))
    (photograph,) = (tmp_path / "two").rglob("a.jpg")
    photograph.unlink()

    own = read_own(tmp_path)

    assert classes_of(own) == {"a.jpg": ["dog"]}
    assert len(own.left_out) == 1


def test_a_file_of_labelme_that_names_another_photograph_than_its_neighbour_marks_neither(tmp_path: Path) -> None:
    labelme(tmp_path, [None, None])
    write(tmp_path / "b.json", {"shapes": [{"label": "cat", "points": CORNERS}], "imagePath": "a.jpg"})

    own = read_own(tmp_path)

    assert classes_of(own) == {"a.jpg": ["dog"]}
    assert own.left_out == ("b.json: a.jpg: it may be of a.jpg or b.jpg",)


@pytest.mark.parametrize("to", ["yolo", "masks"])
def test_labels_by_a_name_that_two_photographs_have_are_of_neither(to: str, tmp_path: Path) -> None:
    FORMATS[to](tmp_path, [None, None])
    photographs(tmp_path / ("images" if to == "yolo" else "JPEGImages"), "a.png")

    own = read_own(tmp_path)

    assert classes_of(own) == {"b.jpg": ["dog"]}
    assert len(own.left_out) == 2


def test_images_of_one_name_in_subsets_of_cvat_have_their_own_marks(tmp_path: Path) -> None:
    photographs(tmp_path / "images", "Train/a.jpg", "Test/a.jpg")
    points = ";".join(f"{x},{y}" for x, y in CORNERS)
    images = (
        f'<image name="a.jpg" subset="{subset}"><polygon label="{label}" points="{points}"/></image>'
        for subset, label in (("Train", "dog"), ("Test", "cat"))
    )
    write(tmp_path / "annotations.xml", f"<annotations>{''.join(images)}</annotations>")

    own = read_own(tmp_path)

    masks = {picture.image.parent.name: picture.read(len(own.classes)).mask for picture in own.train}
    assert {name: own.classes[mask.max()] for name, mask in masks.items()} == {"Train": "dog", "Test": "cat"}


def coco(root: Path, marks: Sequence[bool | None]) -> None:
    names = photographs(root, *jpegs(marks))
    images = [
        {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH, **({} if at is None else {"reviewed": at})}
        for number, (name, at) in enumerate(zip(names, marks, strict=True))
    ]
    annotations = [
        {"id": number, "image_id": number, "category_id": 1, "segmentation": [RING]} for number in range(len(names))
    ]
    write(root / "a.json", {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "dog"}]})


def labelme(root: Path, marks: Sequence[bool | None]) -> None:
    for letter, at in zip("abc", marks, strict=False):
        photographs(root, f"{letter}.jpg")
        flags = {} if at is None else {"reviewed": at}
        content = {"flags": flags, "shapes": [{"label": "dog", "points": CORNERS}], "imagePath": f"{letter}.jpg"}
        write(root / f"{letter}.json", content)


def label_studio(root: Path, marks: Sequence[bool | None]) -> None:
    names = photographs(root, *jpegs(marks))
    kinds = ["annotations" if at else "predictions" for at in marks]
    listed = [{"data": {"image": name}, kind: [{"result": [mark()]}]} for name, kind in zip(names, kinds, strict=True)]
    write(root / "tasks.json", listed)


def datumaro(root: Path, marks: Sequence[bool | None]) -> None:
    photographs(root / "images/default", *jpegs(marks))
    polygon = {"type": "polygon", "label_id": 0, "points": RING}
    items = [
        {"id": letter, "attr": {} if at is None else {"reviewed": at}, "image": {"path": f"{letter}.jpg"},
         "annotations": [polygon]}
        for letter, at in zip("abc", marks, strict=False)
    ]  # fmt: skip
    write(root / "annotations/default.json", {"categories": {"label": {"labels": [{"name": "dog"}]}}, "items": items})


def listed(root: Path, names: Sequence[str], marks: Sequence[bool | None], folder: str = "") -> None:
    if any(at is not None for at in marks):
        chosen = [f"{folder}{name}" for name, at in zip(names, marks, strict=True) if at]
        write(root / "reviewed.txt", "".join(f"{name}\r\n" for name in chosen))


def yolo(root: Path, marks: Sequence[bool | None]) -> None:
    names = photographs(root / "images", *jpegs(marks))
    write(root / "data.yaml", "train: images\nnames: [dog]\n")
    for name in names:
        write(root / f"labels/{Path(name).stem}.txt", f"0 {SHARES}\n")
    listed(root, names, marks, "images/")


def cvat(root: Path, marks: Sequence[bool | None]) -> None:
    names = photographs(root / "images", *jpegs(marks))
    points = ";".join(f"{x},{y}" for x, y in CORNERS)
    images = (f'<image name="{name}"><polygon label="dog" points="{points}"/></image>' for name in names)
    write(root / "annotations.xml", f"<annotations>{''.join(images)}</annotations>")
    listed(root, names, marks)


def masks(root: Path, marks: Sequence[bool | None]) -> None:
    names = photographs(root / "JPEGImages", *jpegs(marks))
    (root / "SegmentationClass").mkdir()
    for name in names:
        Image.fromarray(np.ones((HEIGHT, WIDTH), np.uint8)).save(root / f"SegmentationClass/{Path(name).stem}.png")
    write(root / "classes.txt", "background\ndog\n")
    listed(root, [name.upper() for name in names], marks)


FORMATS: dict[str, Callable[[Path, Sequence[bool | None]], None]] = {
    each.__name__: each for each in (coco, labelme, label_studio, datumaro, yolo, cvat, masks)
}


@pytest.mark.parametrize("to", FORMATS)
def test_of_a_set_with_marks_the_reviewed_pictures_alone_count(to: str, tmp_path: Path) -> None:
    FORMATS[to](tmp_path, [True, False, False])

    own = read_own(tmp_path)

    assert classes_of(own) == {"a.jpg": ["dog"]}
    assert [Path(each.split(":")[0]).name for each in own.left_out] == ["b.jpg", "c.jpg"]
    assert any("photographs that are not marked as reviewed, left out: 2 of 3" in each for each in own.warnings)


@pytest.mark.parametrize("to", FORMATS)
def test_a_set_without_marks_counts_as_a_whole(to: str, tmp_path: Path) -> None:
    FORMATS[to](tmp_path, [None, None])

    assert classes_of(read_own(tmp_path)) == {"a.jpg": ["dog"], "b.jpg": ["dog"]}


@pytest.mark.parametrize("to", [to for to in FORMATS if to != "label_studio"])
def test_a_set_of_which_nothing_is_reviewed_is_refused(to: str, tmp_path: Path) -> None:
    FORMATS[to](tmp_path, [False, False])

    with pytest.raises(DatasetError, match="none of 2 photographs is marked as reviewed"):
        read_own(tmp_path)


def test_a_class_of_pictures_that_do_not_count_is_none(tmp_path: Path) -> None:
    tasks(tmp_path, {"predictions": [{"result": [mark("cat")]}]})

    assert read_own(tmp_path).classes == ("background", "dog")


def test_photographs_without_a_mark_are_counted_unless_reviewed_or_labelled_in_another_layout(tmp_path: Path) -> None:
    coco(tmp_path, [None, None])
    content = json.loads((tmp_path / "a.json").read_text())
    content["annotations"].pop()
    write(tmp_path / "a.json", content)

    own = read_own(tmp_path)

    assert classes_of(own) == {"a.jpg": ["dog"], "b.jpg": []}
    assert any("1 of 2 photographs" in each and "such as b.jpg, have no annotation" in each for each in own.warnings)
    reviewed = content | {"images": [each | {"reviewed": True} for each in content["images"]]}
    write(tmp_path / "a.json", reviewed)
    assert read_own(tmp_path).warnings == ()
    write(tmp_path / "a.json", content)
    write(tmp_path / "b.json", {"shapes": [{"label": "cat", "points": CORNERS}], "imagePath": "b.jpg"})
    both = read_own(tmp_path)
    assert (classes_of(both), both.warnings) == ({"a.jpg": ["dog"], "b.jpg": ["cat"]}, ())


def test_all_layouts_of_a_folder_are_read_and_a_photograph_has_its_first_labels(tmp_path: Path) -> None:
    coco(tmp_path, [None])
    (tmp_path / "a.json").rename(tmp_path / "coco.json")
    labelme(tmp_path, [None, None])
    for name in ("a.json", "b.json"):
        write(tmp_path / name, (tmp_path / name).read_text().replace("dog", "fox"))
    photographs(tmp_path, "c.jpg")
    points = ";".join(f"{x},{y}" for x, y in CORNERS)
    images = (f'<image name="{name}"><polygon label="cat" points="{points}"/></image>' for name in ("a.jpg", "c.jpg"))
    write(tmp_path / "annotations.xml", f"<annotations>{''.join(images)}</annotations>")

    own = read_own(tmp_path)

    assert own.layout == "COCO, Labelme, CVAT"
    assert classes_of(own) == {"a.jpg": ["dog"], "b.jpg": ["fox"], "c.jpg": ["cat"]}
    assert own.warnings == ()


def test_masks_beside_annotations_are_named(tmp_path: Path) -> None:
    photographs(tmp_path / "images", "a.jpg", "b.jpg")
    coco(tmp_path / "images", [None])
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.ones((HEIGHT, WIDTH), np.uint8)).save(tmp_path / "masks/b.png")

    own = read_own(tmp_path)

    assert classes_of(own) == {"a.jpg": ["dog"]}
    assert any("such as images/b.jpg, have masks alone" in each for each in own.warnings)


def test_annotations_that_are_not_read_are_named_beside_those_that_are(tmp_path: Path) -> None:
    coco(tmp_path, [None])
    write(tmp_path / "b.xml", "<annotation><filename>b.jpg</filename></annotation>")
    write(tmp_path / "c.json", '{"shapes": [')
    write(tmp_path / "via.json", '{"_via_img_metadata": {}}')

    own = read_own(tmp_path)

    for words in (
        "not read, as VOC's XML of boxes: 1",
        "JSON that cannot be read: 1: ",
        "not read, as of another format: 1",
    ):
        assert words in " ".join(own.warnings)
    assert ["c.json is not JSON" in each for each in own.left_out] == [True]


def test_labels_of_yolo_without_images_are_refused_as_such(tmp_path: Path) -> None:
    write(tmp_path / "classes.txt", "dog\n")
    write(tmp_path / "labels/a.txt", f"0 {SHARES}\n")
    (tmp_path / "images").mkdir()

    with pytest.raises(DatasetError, match=r"classes\.txt: there are no images"):
        read_own(tmp_path)


@pytest.mark.parametrize("to", ["coco", "label_studio", "cvat"])
def test_a_file_of_labels_is_read_by_its_own_path(to: str, tmp_path: Path) -> None:
    FORMATS[to](tmp_path, [None])
    (listing,) = (path for path in tmp_path.iterdir() if path.suffix in (".json", ".xml"))
    photographs(tmp_path, "b.jpg")
    write(tmp_path / "b.json", {"shapes": [{"label": "cat", "points": CORNERS}], "imagePath": "b.jpg"})

    assert classes_of(read_own(listing)) == {"a.jpg": ["dog"]}
