"""The files that the documents name, small: photographs, a clip, data sets, a model directory, scripts."""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tests import pictures
from tests.documents.reading import ROOT
from tests.service.commands.video import clips

PHOTOGRAPHS = ("china", "flower", "coffee", "rocket")  # an export to 8 bits needs four
BUNDLED = ROOT / "model/lexiseg_model/methods/tiny/bundled"


def lay_out(folder: Path) -> Path:
    """Fill a folder; return the working directory inside it, beside which lies a data folder."""
    here = folder / "checkout"
    here.mkdir()
    china = pictures.file("china.jpg")
    # The photograph of the README under every name: its id stands in the documents.
    for name in ("photo.jpg", "street.jpg", "party.jpg"):
        (here / name).write_bytes(china)
    for album, names in (("photos", PHOTOGRAPHS[:2]), ("pictures", PHOTOGRAPHS)):
        for name in names:
            _save(pictures.small(name, 200), here / album / f"{name}.jpg")
    shutil.make_archive(str(here / "pictures"), "zip", here / "pictures")
    _save(pictures.small("china", 300), here / "scene.tif")
    for name in ("clip.mp4", "street.mp4"):
        clips.panning(here / name, 3)
    _data_set(here / "data/camvid", ["sky", "building", "tree", "car", "sidewalk"])
    for name in ("voc", "coco"):
        _data_set(here / "data" / name, ["background", "sky", "building", "tree"])
    _project(folder / "project")
    shutil.make_archive(str(here / "project"), "zip", folder / "project")
    _captions(here / "data/captions")
    shutil.copytree(BUNDLED, here / "runs/mine")
    shutil.copytree(ROOT / "deploy", here / "deploy")
    return here


def _data_set(folder: Path, classes: list[str]) -> None:
    """Two photographs of a pagoda by a lake in each split: sky above, trees below, a building on the left."""
    folder.mkdir(parents=True)
    (folder / "classes.json").write_text(json.dumps(classes))
    first = classes.index("sky")
    for split in ("train", "val"):
        for number in range(2):
            photograph = pictures.small("china", 160 + 32 * number)
            labels = np.full((photograph.height, photograph.width), first + 2, np.uint8)
            labels[: photograph.height // 2] = first
            labels[20:60, 10:50] = first + 1
            if split == "val":  # another picture: what is trained on is not measured on
                photograph, labels = ImageOps.mirror(photograph), np.fliplr(labels)
            _save(photograph, folder / split / "images" / f"{number}.jpg")
            _save(Image.fromarray(labels), folder / split / "masks" / f"{number}.png")


def _project(folder: Path) -> None:
    """Four photographs with masks, of which the upper half is sky."""
    for number, name in enumerate(("china", "flower")):
        for size in (96, 128):
            photograph = pictures.small(name, size)
            labels = np.zeros((photograph.height, photograph.width), np.uint8)
            labels[: photograph.height // 2] = 1
            _save(photograph, folder / "images" / f"{number}-{size}.jpg")
            _save(Image.fromarray(labels), folder / "masks" / f"{number}-{size}.png")
    (folder / "classes.json").write_text(json.dumps(["background", "sky"]))


def _captions(folder: Path) -> None:
    """Photographs with two captions each."""
    for name in PHOTOGRAPHS:
        _save(pictures.small(name, 96), folder / "images" / f"{name}.jpg")
    said = {name: {"captions": [f"a photograph, {name}", f"{name} in the sun"]} for name in PHOTOGRAPHS}
    (folder / "captions.json").write_text(json.dumps(said))


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
