"""Three labelled photographs in the layouts of tools: a red object, in each elsewhere."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 96, 128
LEFTS = (10, 40, 70)  # of the object in each picture
TOP, SIDE = 30, 40


def outline(left: int) -> list[list[int]]:
    """The corners of the object [x, y]."""
    return [[left, TOP], [left + SIDE, TOP], [left + SIDE, TOP + SIDE], [left, TOP + SIDE]]


def photographs(folder: Path) -> None:
    """A red object on noise, in each picture elsewhere."""
    folder.mkdir(parents=True)
    for number, left in enumerate(LEFTS):
        pixels = np.random.default_rng(number).integers(90, 150, (HEIGHT, WIDTH, 3), np.uint8)
        pixels[TOP : TOP + SIDE, left : left + SIDE] = 220, 30, 30
        Image.fromarray(pixels).save(folder / f"{number}.jpg")


def labelme(root: Path) -> None:
    photographs(root)
    for number, left in enumerate(LEFTS):
        shape = {"label": "gadget", "points": outline(left), "shape_type": "polygon"}
        about = {"imagePath": f"{number}.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": [shape]}
        (root / f"{number}.json").write_text(json.dumps(about))


def coco(root: Path) -> None:
    photographs(root)
    images = [{"id": n, "file_name": f"{n}.jpg", "width": WIDTH, "height": HEIGHT} for n in range(len(LEFTS))]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": [np.ravel(outline(left)).tolist()]}
        for n, left in enumerate(LEFTS)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "gadget"}]}
    (root / "annotations.json").write_text(json.dumps(content))


def yolo(root: Path) -> None:
    photographs(root / "images")
    (root / "labels").mkdir()
    for number, left in enumerate(LEFTS):
        corners = np.array(outline(left)) / (WIDTH, HEIGHT)
        (root / f"labels/{number}.txt").write_text(" ".join(map(str, [0, *corners.ravel()])))
    (root / "data.yaml").write_text("train: images\nnames: [gadget]\n")
