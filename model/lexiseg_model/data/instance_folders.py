"""Readers of public instance sets: COCO's JSON, and the PNG files of ADE20K's instance challenge.

Both know things only: a pixel of anything else belongs to nobody.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO as CocoFile

from lexiseg_model.data.annotated import read_photograph
from lexiseg_model.data.instances import Instance, annotations_of
from lexiseg_model.data.panoptic_benchmark import panoptic_benchmark
from lexiseg_model.data.scenes import Annotation, SceneSet
from lexiseg_model.errors import DatasetError


class _Split(NamedTuple):
    folder: str
    images: int


COCO = "coco-instance"
COCO_SPLITS = {"val": _Split("val2017", 5000), "train": _Split("train2017", 118_287)}
ADE = "ade20k-instance"
ADE_SPLITS = {"val": _Split("validation", 2000), "train": _Split("training", 20_210)}


@dataclass(frozen=True)
class CocoScene:
    """A photograph and its entries in the JSON, polygons or run lengths."""

    name: str
    image: Path
    entries: tuple[Annotation, ...]

    def read_image(self) -> NDArray[np.uint8]:
        return read_photograph(self.image)

    def read_truth(self) -> list[Annotation]:
        return list(self.entries)


@dataclass(frozen=True)
class AdeScene:
    """A photograph and its PNG: R is the class, counted from 1, G the number of the instance, 0 nothing."""

    name: str
    image: Path
    mask: Path
    n_classes: int

    def read_image(self) -> NDArray[np.uint8]:
        return read_photograph(self.image)

    def read_truth(self) -> list[Annotation]:
        try:
            with Image.open(self.mask) as picture:
                pixels = np.asarray(picture)
        except OSError as error:
            raise DatasetError(f"{self.mask} cannot be read as an image: {error}") from None
        if pixels.ndim != 3 or pixels.shape[2] < 2:
            raise DatasetError(f"{self.mask} is {list(pixels.shape)}; expected RGB, class in R and instance in G")
        stored, number = pixels[..., 0].astype(np.int32), pixels[..., 1].astype(np.int32)
        if stored.max() > self.n_classes:
            raise DatasetError(f"{self.mask} holds the class {stored.max()}; expected 1 to {self.n_classes}")
        ids = np.where((stored > 0) & (number > 0), 256 * stored + number, 0)
        return annotations_of(ids, [Instance(value, value // 256 - 1) for value in np.unique(ids).tolist() if value])


def read_coco_instances(root: Path, split: str) -> SceneSet[list[Annotation]]:
    """COCO: `coco/annotations/instances_val2017.json` and `coco/val2017/`; all images, also those without instances.

    Raises:
        DatasetError: the split is unknown, a file is missing, the JSON is no annotation file, or it names a category
            beside COCO's 80.
    """
    official = _split(COCO, COCO_SPLITS, split)
    annotations = f"annotations/instances_{official.folder}.json"
    base = _base(COCO, root, "coco", (annotations, official.folder))
    listing = base / annotations
    categories = panoptic_benchmark("coco-panoptic")
    things = [entry for entry in categories.categories if entry.thing]
    class_of = {entry.id: class_index for class_index, entry in enumerate(things)}
    try:
        with redirect_stdout(io.StringIO()):
            content = CocoFile(str(listing))
        scenes = tuple(
            CocoScene(
                image["file_name"],
                base / official.folder / image["file_name"],
                tuple(_labelled(entry, class_of, listing) for entry in content.imgToAnns.get(key, ())),
            )
            for key, image in sorted(content.imgs.items())
        )
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise DatasetError(f"{listing} is not a file of COCO's instances: {error!r}") from None
    _check(COCO, [scene.image for scene in scenes])
    classes = tuple(entry for entry in categories.classes if entry.thing)
    return SceneSet(COCO, split, classes, True, "annotated", official.images, scenes)


def read_ade_instances(root: Path, split: str) -> SceneSet[list[Annotation]]:
    """ADE20K: `ADEChallengeData2016/{images,annotations_instance}/validation`.

    Raises:
        DatasetError: the split is unknown or a file is missing.
    """
    official = _split(ADE, ADE_SPLITS, split)
    images, masks = f"images/{official.folder}", f"annotations_instance/{official.folder}"
    base = _base(ADE, root, "ADEChallengeData2016", (masks, images))
    classes = tuple(entry for entry in panoptic_benchmark("ade20k-panoptic").classes if entry.thing)
    scenes = tuple(
        AdeScene(image.stem, image, base / masks / f"{image.stem}.png", len(classes))
        for image in sorted((base / images).glob("*.jpg"))
    )
    _check(ADE, [path for scene in scenes for path in (scene.image, scene.mask)])
    return SceneSet(ADE, split, classes, True, "annotated", official.images, scenes)


def _labelled(entry: Annotation, class_of: dict[int, int], listing: Path) -> Annotation:
    category = int(entry["category_id"])
    if category not in class_of:
        raise DatasetError(f"{listing}: the unknown category {category}; expected one of {sorted(class_of)}")
    kept = {key: entry[key] for key in ("segmentation", "area", "bbox", "iscrowd")}
    return kept | {"category_id": class_of[category] + 1}


def _split(name: str, splits: dict[str, _Split], split: str) -> _Split:
    if split not in splits:
        raise DatasetError(f"{name} has no split {split!r}; it has: {', '.join(splits)}")
    return splits[split]


def _base(name: str, root: Path, official: str, wanted: tuple[str, ...]) -> Path:
    bases = (root / official, root)
    for base in bases:
        if all((base / path).exists() for path in wanted):
            return base
    raise DatasetError(f"{name}: none of {', '.join(map(str, bases))} holds {' and '.join(wanted)}")


def _check(name: str, files: list[Path]) -> None:
    missing = [path for path in files if not path.exists()]
    if missing:
        raise DatasetError(f"{name}: {len(missing)} of {len(files)} files are missing, as {missing[0]}")
