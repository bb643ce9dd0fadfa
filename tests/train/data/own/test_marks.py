"""Each kind of shape that a tool documents, and one that none does: class, unknown, or no mark, never background."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lexiseg_labels.formats.label_studio import brush_runs
from lexiseg_labels.masks import rle
from lexiseg_model.errors import DatasetError
from lexiseg_train.data.own.layouts import read_own
from tests.train.data.own.made import corners, photo, read_at, write

HEIGHT, WIDTH = SIZE = 60, 80
DOG = [40, 5, 60, 5, 60, 25, 40, 25]  # a square that every reader knows
CAT = [5, 30, 25, 30, 25, 50, 5, 50]  # around the second mark
PLACES = ((15, 50), (40, 15), (55, 70))  # of the dog, of the cat, and elsewhere
CLASS, UNKNOWN = ("cat", "background"), ("unknown", "background")  # at CAT, and elsewhere
ALL_UNKNOWN, NOTHING = ("unknown", "unknown"), ("background", "background")


def cat_mask() -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[30:50, 5:25] = True
    return mask


def in_text(points: list[int]) -> str:
    return ";".join(f"{x},{y}" for x, y in corners(points))


def cvat(root: Path, *shapes: str) -> None:
    photo(root / "images/a.jpg", size=SIZE)
    dog = f'<polygon label="dog" points="{in_text(DOG)}"/>'
    image = f'<image id="0" name="a.jpg" width="{WIDTH}" height="{HEIGHT}">{dog}{"".join(shapes)}</image>'
    write(root / "annotations.xml", f"<annotations><version>1.1</version>{image}</annotations>")


CUBOID = (
    'xtl1="5" ytl1="30" xbl1="5" ybl1="50" xtr1="20" ytr1="30" xbr1="20" ybr1="50" '
    'xtl2="25" ytl2="28" xbl2="25" ybl2="45" xtr2="15" ytr2="28" xbr2="15" ybr2="45"'
)
BOX = 'left="5" top="30" width="20" height="20"'
OF_CVAT = {
    "polygon": (f'<polygon label="cat" points="{in_text(CAT)}"/>', CLASS),
    "mask": (f'<mask label="cat" rle="0,400" {BOX}/>', CLASS),
    "ellipse": ('<ellipse label="cat" cx="15" cy="40" rx="10" ry="8"/>', CLASS),
    "turned ellipse": ('<ellipse label="cat" cx="15" cy="40" rx="2" ry="18" rotation="90"/>', CLASS),
    "box": ('<box label="cat" xtl="5" ytl="30" xbr="25" ybr="50"/>', UNKNOWN),
    "turned box": ('<box label="cat" xtl="14" ytl="20" xbr="16" ybr="60" rotation="90"/>', UNKNOWN),
    "cuboid": (f'<cuboid label="cat" {CUBOID}/>', UNKNOWN),
    "mask that is too long": (f'<mask label="cat" rle="0,401" {BOX}/>', UNKNOWN),
    "mask of negative runs": (f'<mask label="cat" rle="0,-4,404" {BOX}/>', UNKNOWN),
    "mask a pixel beyond": ('<mask label="cat" rle="0,600" left="5" top="31" width="20" height="30"/>', CLASS),
    "mask beyond the picture": ('<mask label="cat" rle="0,600" left="5" top="35" width="20" height="30"/>', UNKNOWN),
    "polygon with a word": ('<polygon label="cat" points="5,30;nothing"/>', ALL_UNKNOWN),
    "polyline": (f'<polyline label="cat" points="{in_text(CAT)}"/>', ALL_UNKNOWN),
    "points": ('<points label="cat" points="15,40"/>', ALL_UNKNOWN),
    "skeleton": (
        '<skeleton label="cat"><points label="1" points="5,30"/><points label="2" points="25,50"/></skeleton>',
        ALL_UNKNOWN,
    ),
    "invented": (f'<star label="cat" points="{in_text(CAT)}"/>', ALL_UNKNOWN),
    "invented, of other numbers": ('<star label="cat" x="15" y="40" spikes="5"/>', ALL_UNKNOWN),
    "tag": ('<tag label="indoors"/>', NOTHING),
}


def percent(points: list[int]) -> list[list[float]]:
    return [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in corners(points)]


def result(kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"type": kind, "id": kind, "to_name": "image", "from_name": "label", "value": value, **size, **more}


DOG_RESULT = result("polygonlabels", {"points": percent(DOG), "polygonlabels": ["dog"]}, id="dog")


def label_studio(root: Path, *results: dict[str, Any]) -> None:
    photo(root / "a.jpg", size=SIZE)
    annotations = [{"result": [DOG_RESULT, *results]}]
    task = {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-a.jpg"}, "annotations": annotations}
    write(root / "tasks.json", [task])


def labelled(kind: str, **value: Any) -> list[dict[str, Any]]:
    return [result(f"{kind}labels", {**value, f"{kind}labels": ["cat"]})]


def two_tags(kind: str, **value: Any) -> list[dict[str, Any]]:
    """What `<Labels>` with another tag gives: two results of one id."""
    return [result(kind, value, id="r"), result("labels", {**value, "labels": ["cat"]}, id="r")]


def bit_mask(transparent: bool) -> str:
    """A PNG of black on transparent, as Label Studio has it, or of white on black."""
    mask = cat_mask()
    pixels = np.dstack([mask * 0] * 3 + [mask * 255]) if transparent else mask * 255
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


POLYGON = {"points": percent(CAT)}
BRUSH = {"format": "rle", "rle": [*brush_runs(cat_mask())]}
ELLIPSE = {"x": 100 * 15 / WIDTH, "y": 100 * 40 / HEIGHT, "radiusX": 10, "radiusY": 15}
RECTANGLE = {"x": 100 * 5 / WIDTH, "y": 100 * 30 / HEIGHT, "width": 25, "height": 100 / 3}
VERTICES = [{"x": x, "y": y, "isBezier": False} for x, y in percent(CAT)]
OF_LABEL_STUDIO: dict[str, tuple[list[dict[str, Any]], tuple[str, str]]] = {
    "polygon": (labelled("polygon", **POLYGON), CLASS),
    "brush": (labelled("brush", **BRUSH), CLASS),
    "bit mask": (labelled("bitmask", imageDataURL=bit_mask(True)), CLASS),
    "bit mask of white on black": (labelled("bitmask", imageDataURL=bit_mask(False)), CLASS),
    "ellipse": (labelled("ellipse", **ELLIPSE), CLASS),
    "turned ellipse": (labelled("ellipse", **{**ELLIPSE, "radiusX": 1, "radiusY": 25, "rotation": 90}), CLASS),
    "closed vector": (labelled("vector", vertices=VERTICES, closed=True), CLASS),
    "labels and polygon": (two_tags("polygon", **POLYGON), CLASS),
    "labels and brush": (two_tags("brush", **BRUSH), CLASS),
    "labels and ellipse": (two_tags("ellipse", **ELLIPSE), CLASS),
    "labels and bit mask": (two_tags("bitmask", imageDataURL=bit_mask(True)), CLASS),
    "labels of a polygon alone": ([result("labels", {**POLYGON, "labels": ["cat"]})], CLASS),
    "polygon of two classes": ([result("polygonlabels", {**POLYGON, "polygonlabels": ["cat", "dog"]})], UNKNOWN),
    "polygon with a corner of null": (labelled("polygon", points=[*percent(CAT), [None, 50.0]]), ALL_UNKNOWN),
    "polygon without labels": ([result("polygon", POLYGON)], UNKNOWN),
    "rectangle": (labelled("rectangle", **RECTANGLE), UNKNOWN),
    "turned rectangle": (labelled("rectangle", **{**RECTANGLE, "x": 31, "rotation": 90}), UNKNOWN),
    "labels and rectangle": (two_tags("rectangle", **RECTANGLE), UNKNOWN),
    "key point": (labelled("keypoint", x=18.75, y=66.6, width=0.5), ALL_UNKNOWN),
    "open vector": (labelled("vector", vertices=VERTICES, closed=False), ALL_UNKNOWN),
    "curved vector": (
        labelled("vector", vertices=[{**VERTICES[0], "isBezier": True}, *VERTICES[1:]], closed=True), ALL_UNKNOWN
    ),
    "bit mask that is none": (labelled("bitmask", imageDataURL="data:image/png;base64,AAAA"), ALL_UNKNOWN),
    "brush that is none": (labelled("brush", format="rle", rle=[1, 2]), ALL_UNKNOWN),
    "invented": (labelled("star", **POLYGON), ALL_UNKNOWN),
    "invented, of other numbers": (labelled("star", spikes=5), ALL_UNKNOWN),
    "no values": ([{}, result("brushlabels", {}), {"type": [1], "id": [2], "value": [3]}], ALL_UNKNOWN),
    "numbers beyond all": (labelled("ellipse", x=10**400, y=1, radiusX=2, radiusY=3), ALL_UNKNOWN),
    "choices": ([result("choices", {"choices": ["sharp"]})], NOTHING),
    "text, rating, relation": (
        [result("textarea", {"text": ["x"]}), result("rating", {"rating": 3}), {"type": "relation", "from_id": "dog"}],
        NOTHING,
    ),
    "labels of a text": ([result("labels", {"start": 0, "end": 3, "text": "cat", "labels": ["cat"]})], NOTHING),
}  # fmt: skip


def datumaro(root: Path, *annotations: dict[str, Any]) -> None:
    photo(root / "images/default/a.jpg", size=SIZE)
    dog = {"type": "polygon", "label_id": 0, "points": DOG}
    entries = [{"id": number, "group": 0, **each} for number, each in enumerate((dog, *annotations))]
    item = {"id": "a", "image": {"path": "a.jpg", "size": [HEIGHT, WIDTH]}, "annotations": entries}
    labels = [{"name": name, "parent": ""} for name in ("dog", "cat")]
    content = {"info": {}, "categories": {"label": {"labels": labels}}, "items": [item]}
    write(root / "annotations/default.json", content)


OF_DATUMARO: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "polygon": ({"type": "polygon", "points": CAT}, CLASS),
    "mask": ({"type": "mask", "rle": {"size": [HEIGHT, WIDTH], "counts": rle.encode(cat_mask())}}, CLASS),
    "ellipse": ({"type": "ellipse", "points": [5, 30, 25, 50]}, CLASS),
    "box": ({"type": "bbox", "bbox": [5, 30, 20, 20]}, UNKNOWN),
    "turned box": ({"type": "rotated_bbox", "points": [15, 40, 2, 40, 90]}, UNKNOWN),
    "turned box by names": ({"type": "rotated_bbox", "cx": 15, "cy": 40, "w": 2, "h": 40, "r": 90}, UNKNOWN),
    "cuboid": ({"type": "cuboid_2d", "points": [[5, 30], [25, 30], [25, 50], [5, 50]] * 2}, UNKNOWN),
    "polygon with half a corner": ({"type": "polygon", "points": CAT[:-1]}, ALL_UNKNOWN),
    "polyline": ({"type": "polyline", "points": CAT}, ALL_UNKNOWN),
    "points": ({"type": "points", "points": CAT, "visibility": [2, 2, 2, 2]}, ALL_UNKNOWN),
    "skeleton": ({"type": "skeleton", "elements": [{"type": "points", "points": CAT}]}, ALL_UNKNOWN),
    "cuboid of a cloud": ({"type": "cuboid_3d", "position": [1, 2, 3], "scale": [1, 1, 1]}, ALL_UNKNOWN),
    "invented": ({"type": "star", "points": CAT}, ALL_UNKNOWN),
    "numbers beyond all": ({"type": "ellipse", "points": [10**400, 30, 25, 50]}, ALL_UNKNOWN),
    "no type": ({"type": ["x"], "points": CAT}, ALL_UNKNOWN),
    "label": ({"type": "label"}, NOTHING),
    "caption": ({"type": "caption", "caption": "a cat"}, NOTHING),
}
Case = tuple[Callable[..., None], list[Any], tuple[str, str]]
CASES: dict[str, Case] = {f"CVAT, {name}": (cvat, [shape], expected) for name, (shape, expected) in OF_CVAT.items()}
CASES |= {f"Label Studio, {name}": (label_studio, *case) for name, case in OF_LABEL_STUDIO.items()}
CASES |= {
    f"Datumaro, {name}": (datumaro, [{"label_id": 1, **shape}], expected)
    for name, (shape, expected) in OF_DATUMARO.items()
}


@pytest.mark.parametrize("case", CASES)
def test_every_shape_is_a_class_unknown_or_no_mark(case: str, tmp_path: Path) -> None:
    make, shapes, (there, elsewhere) = CASES[case]
    make(tmp_path, *shapes)

    assert read_at(tmp_path, *PLACES) == ["dog", there, elsewhere]
    assert bool(read_own(tmp_path).warnings) == (there == "unknown")


def test_a_mask_that_does_not_fit_is_told_with_its_place_and_its_picture(tmp_path: Path) -> None:
    cvat(tmp_path, OF_CVAT["mask beyond the picture"][0])

    (warning,) = read_own(tmp_path).warnings
    assert "a mask without pixels that fill 5, 35 to 24, 64 of its photograph of 80 x 60" in warning


def square(label: str, x: int, side: int, z_order: int) -> str:
    points = in_text([x, 5, x + side, 5, x + side, 5 + side, x, 5 + side])
    return f'<polygon label="{label}" points="{points}" z_order="{z_order}"/>'


@pytest.mark.parametrize(("z_order", "expected"), [(1, 0), (0, 100), (-1, 100)])
@pytest.mark.parametrize("tool", ["CVAT", "Datumaro"])
def test_the_shape_in_front_covers_others_and_of_equals_the_smaller(
    tool: str, z_order: int, expected: int, tmp_path: Path
) -> None:
    if tool == "CVAT":
        cvat(tmp_path, square("cat", 10, 10, 0), square("wolf", 5, 30, z_order))
    else:
        datumaro(
            tmp_path,
            {"type": "polygon", "label_id": 1, "points": [10, 5, 20, 5, 20, 15, 10, 15], "z_order": 0},
            {"type": "polygon", "label_id": 0, "points": [5, 5, 35, 5, 35, 35, 5, 35], "z_order": z_order},
        )

    own = read_own(tmp_path)

    mask = own.train[0].read(len(own.classes)).mask
    assert int((mask == own.classes.index("cat")).sum()) == expected


def test_what_is_unknown_anywhere_covers_no_shape_behind_others(tmp_path: Path) -> None:
    cvat(tmp_path, square("cat", 10, 10, -3), '<points label="cat" points="70,50" z_order="5"/>')

    assert read_at(tmp_path, (10, 15), (40, 15)) == ["cat", "unknown"]


def test_names_that_differ_in_capitals_are_one_class(tmp_path: Path) -> None:
    cvat(tmp_path, square("Dog", 5, 10, 0))

    own = read_own(tmp_path)

    assert own.classes == ("background", "dog")
    assert any("'Dog' counts as 'dog'" in warning for warning in own.warnings)


LINE = "0 .1 .1 .3 .1 .3 .3 .1 .3\n"
CODE_PAGES = {"gbk": "狗", "cp1251": "собака", "shift_jis": "犬", "euc_kr": "개", "big5": "貓", "cp1253": "γάτα",
              "cp1250": "kočka", "cp1252": "chèvre"}  # fmt: skip


@pytest.mark.parametrize("page", CODE_PAGES)
@pytest.mark.parametrize("listing", ["classes.txt", "data.yaml", "a.json"])
def test_a_file_in_another_code_page_is_refused_by_its_name(listing: str, page: str, tmp_path: Path) -> None:
    word = CODE_PAGES[page]
    photo(tmp_path / "images/a.jpg", size=SIZE)
    write(tmp_path / "labels/a.txt", LINE)
    shape = f'{{"shapes": [{{"label": "{word}", "points": [[5, 5], [25, 5], [25, 25]]}}], "imagePath": "a.jpg"}}'
    content = {"classes.txt": f"{word}\ncat\n", "data.yaml": f"train: images\nnames: [{word}]\n", "a.json": shape}
    (tmp_path / listing).write_bytes(content[listing].encode(page))

    with pytest.raises(Exception, match=rf"{listing} is not in UTF-8, and does not say in which code page"):
        read_own(tmp_path)


def test_classes_of_one_colour_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "JPEGImages/a.jpg", size=SIZE)
    photo(tmp_path / "SegmentationClass/a.png", size=SIZE)
    write(tmp_path / "labelmap.txt", "background:0,0,0::\ncat:128,0,0::\ndog:128,0,0::\n")

    with pytest.raises(DatasetError, match=r"labelmap\.txt: two classes have one colour"):
        read_own(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32"])
def test_names_with_nul_among_their_letters_are_refused(encoding: str, tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg", size=SIZE)
    write(tmp_path / "labels/a.txt", LINE)
    write(tmp_path / "classes.txt", "dog\n", encoding)

    with pytest.raises(DatasetError, match=r"classes\.txt is not in UTF-8"):
        read_own(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "cp1250"])
@pytest.mark.parametrize("word", ["Käse", "Größe", "été", "Öl", "ÖL"])
def test_a_word_that_all_latin_code_pages_share_is_read(word: str, encoding: str, tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg", size=SIZE)
    write(tmp_path / "labels/a.txt", LINE)
    (tmp_path / "classes.txt").write_bytes(f"{word}\ncat\n".encode(encoding))

    assert read_own(tmp_path).classes == ("background", word)
