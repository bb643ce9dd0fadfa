"""What each writer of data sets writes, our own readers for training and evaluation read: every pixel is compared."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from lexiseg_client import Segmentation
from lexiseg_client.folders import Writer
from lexiseg_labels.names import Names
from lexiseg_model.errors import DatasetError
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.alike import pixel_digest
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.data.own.layouts import read_own
from lexiseg_train.data.read_scenes import outlined_scenes, read_instance_scenes
from tests import coco
from tests.labels.formats import made

Mask = NDArray[np.bool_]
Answers = Mapping[str, Segmentation]  # by the name of the photograph
SIZE = (40, 60)


def boxes(*places: tuple[int, int, int, int], without: tuple[int, int, int, int] | None = None) -> Mask:
    """Rectangles (top, bottom, left, right), without one."""
    mask = np.zeros(SIZE, bool)
    for top, bottom, left, right in places:
        mask[top:bottom, left:right] = True
    if without is not None:
        mask[without[0] : without[1], without[2] : without[3]] = False
    return mask


def blobs(seed: int) -> list[Mask]:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=SIZE), 1.5)
    values = np.digitize(field, np.quantile(field, [0.4, 0.7]))
    return [values == 1, values == 2]


checks = np.indices(SIZE).sum(0) % 2 == 0
SCENES: dict[str, list[Mask]] = {
    "a hole, and an object in it": [boxes((5, 30, 5, 45), without=(10, 25, 15, 35)), boxes((14, 20, 20, 30))],
    "several parts": [boxes((2, 8, 2, 8), (30, 38, 40, 58)), boxes((12, 20, 0, 60))],
    "several parts with holes": [
        boxes((2, 20, 2, 20), without=(5, 10, 5, 10)) | boxes((2, 30, 30, 58), without=(8, 25, 40, 50)),
        boxes((32, 38, 0, 9)),
    ],
    "masks that overlap": [boxes((5, 35, 5, 40)), boxes((10, 20, 30, 55))],
    "parts that overlap another": [boxes((0, 4, 0, 4), (8, 38, 8, 40)), boxes((0, 20, 0, 20))],
    "the first pixel and the last": [boxes((0, 1, 0, 1)), boxes((39, 40, 59, 60))],
    "pixels that touch at corners": [checks & boxes((5, 25, 5, 25)), boxes((30, 32, 0, 60))],
    "blobs": blobs(0),
    "specks": blobs(1),
}
NAMES = {
    "plain": ["cat", "dog"],
    "of other scripts": ["straße", "犬 \N{DOG FACE}"],
    "with signs": ["a/b: c", '"d" #e, {f}'],
    "that are numbers": ["1", "0.5"],
    "for no class": ["__ignore__", "_background_"],
}


def answer(masks: list[Mask], names: list[str]) -> Segmentation:
    segments = [made.segment(index, name, mask) for index, (name, mask) in enumerate(zip(names, masks, strict=True))]
    return made.answer(size=SIZE, segments=tuple(segments))


def expected(masks: list[Mask], names: list[str]) -> NDArray[np.object_]:
    """The name of each pixel's class; the smaller mask is above."""
    meant = {"__ignore__": "unknown", "_background_": BACKGROUND}
    pixels = np.full(SIZE, BACKGROUND, object)
    for mask, name in sorted(zip(masks, names, strict=True), key=lambda each: -int(each[0].sum())):
        pixels[mask] = meant.get(name, name)
    return pixels


def read(folder: Path) -> dict[str, NDArray[np.object_]]:
    """As training reads a set: the name of each pixel's class, by the digest of the photograph."""
    own = read_own(folder)
    names = np.array([*own.classes, *[""] * (IGNORE - len(own.classes)), "unknown"], object)
    readings = [picture.read(len(own.classes)) for picture in (*own.train, *own.held_out)]
    return {pixel_digest(image): names[mask] for image, mask in readings}  # YOLO lists one photograph twice


READ = ("coco", "yolo", "labelme", "label-studio", "datumaro")
LABEL_MAPS = ("voc", "label-maps")


def photograph(path: Path, seed: int = 0) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


PLACES = {"coco": "images", "yolo": "images", "voc": "JPEGImages", "label-maps": "images", "datumaro": "images/default"}


def written_set(to: str, answers: Answers, names: list[str], root: Path) -> Path:
    """A set with its photographs where its readers look for them."""
    photographs, out = root / "photographs", root / "set"
    writer = Writer(to, photographs, out, names, {"classes": names})
    for name, each in answers.items():
        writer.add(photographs / name, each)
    writer.close()
    if to == "label-maps":
        (out / "masks").mkdir()
        for path in out.glob("*.png"):
            path.rename(out / "masks" / path.name)
    known = Names()
    for name in answers:
        place = out / PLACES.get(to, "") / f"{known.next_for(name)}.png"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photographs / name, place)
    return out


def written(to: str, masks: list[Mask], names: list[str], root: Path) -> Path:
    """A set of one photograph."""
    photograph(root / "photographs" / "a b.png")
    return written_set(to, {"a b.png": answer(masks, names)}, names, root)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("to", [*READ, *LABEL_MAPS])
def test_what_is_written_is_read_back(to: str, scene: str, tmp_path: Path) -> None:
    out = written(to, SCENES[scene], NAMES["plain"], tmp_path)

    (pixels,) = read(out).values()

    assert (pixels != expected(SCENES[scene], NAMES["plain"])).sum() == 0


NAMED = [(to, names) for to in (*READ, *LABEL_MAPS) for names in NAMES if to in READ or names != "for no class"]


@pytest.mark.parametrize(("to", "names"), NAMED)
def test_names_of_classes_come_back(to: str, names: str, tmp_path: Path) -> None:
    masks = [*SCENES["masks that overlap"], boxes((36, 40, 0, 60))]
    labels = [*NAMES[names], "other"]
    out = written(to, masks, labels, tmp_path)

    (pixels,) = read(out).values()

    assert (pixels != expected(masks, labels)).sum() == 0


PHOTOGRAPHS = ("a.png", "below/b.png", "below/deep/straße 1.png", "100% #2.png", "日本, 'x'.png", "-c.png")


@pytest.mark.parametrize("to", READ)
def test_photographs_of_odd_names_keep_their_masks(to: str, tmp_path: Path) -> None:
    answers, truth = {}, {}
    for seed, name in enumerate(PHOTOGRAPHS):
        masks = blobs(seed)
        pixels = photograph(tmp_path / "photographs" / name, seed)
        answers[name] = answer(masks, NAMES["plain"])
        truth[pixel_digest(pixels)] = expected(masks, NAMES["plain"])

    read_back = read(written_set(to, answers, NAMES["plain"], tmp_path))

    assert read_back.keys() == truth.keys()
    assert all((read_back[digest] == pixels).all() for digest, pixels in truth.items())


@pytest.mark.parametrize("scene", SCENES)
def test_evaluation_reads_every_mask_of_coco(scene: str, tmp_path: Path) -> None:
    out = written("coco", SCENES[scene], NAMES["plain"], tmp_path)
    (listing,) = (path for path in out.rglob("*.json") if "annotations" in json.loads(path.read_text()))

    instances = read_instance_scenes(str(listing.relative_to(out)), out, "val")
    outlines = outlined_scenes(listing)

    read_masks = [coco.decode(each["segmentation"]) for each in instances.scenes[0].read_truth()]
    outlined = [coco.decode({"size": list(each.size), "counts": each.counts}) for each in outlines[0].read_truth()]
    assert [entry.name for entry in instances.classes] == NAMES["plain"]
    for masks in (read_masks, outlined):
        assert all(np.array_equal(mask, truth) for mask, truth in zip(masks, SCENES[scene], strict=True))


def test_a_format_without_a_reader_is_refused(tmp_path: Path) -> None:
    out = written("geojson", SCENES["several parts"], NAMES["plain"], tmp_path)

    with pytest.raises(DatasetError, match=r"expected COCO's JSON|known layout"):
        read_own(out)
