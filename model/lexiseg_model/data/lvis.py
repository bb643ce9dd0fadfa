"""LVIS v1 as a semantic set: instance masks painted by decreasing area, so that where two overlap the smaller wins.

LVIS annotates instances, and not all of them: no public rule makes it a semantic set. This one counts only pixels
that carry a mask. The layout is detectron2's: `coco/{train2017,val2017}/` and `lvis/lvis_v1_{split}.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.annotated import AnnotatedSet, read_photograph
from lexiseg_model.data.benchmark import Benchmark
from lexiseg_model.data.labels import IGNORED, Labels
from lexiseg_model.data.polygon_fill import fill_polygon
from lexiseg_model.errors import DatasetError


class Mask(NamedTuple):
    """One instance: `rings` are its parts, x, y, x, y, ... each."""

    area: float
    class_index: int
    rings: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True)
class LvisSample:
    """A photograph and its instance masks, largest first."""

    name: str
    image: Path
    size: tuple[int, int]
    masks: tuple[Mask, ...]

    def read_image(self) -> NDArray[np.uint8]:
        return read_photograph(self.image)

    def read_labels(self) -> Labels:
        labels = np.full(self.size, IGNORED, np.uint16)
        for mask in self.masks:
            # Parts of one instance may touch or overlap: their union, ring by ring.
            for ring in mask.rings:
                labels[fill_polygon(ring, self.size)] = mask.class_index
        return labels


def read_lvis(benchmark: Benchmark, root: Path, split: str) -> AnnotatedSet:
    """Lists one split; images without a single mask are left out, for nothing in them would count.

    Raises:
        DatasetError: the annotation file or a photograph is missing, or the file is not LVIS v1.
    """
    listing = root / "lvis" / f"lvis_v1_{benchmark.split(split).folder}.json"
    if not listing.exists():
        raise DatasetError(f"{listing} does not exist; expected {root}/lvis/lvis_v1_{split}.json and {root}/coco/")
    try:
        content = json.loads(listing.read_bytes())
        masks = _masks(content["annotations"], len(benchmark.classes))
        samples = tuple(
            LvisSample(
                # The split of COCO that a photograph belongs to: LVIS mixes them.
                name := "/".join(str(entry["coco_url"]).split("/")[-2:]),
                root / "coco" / name,
                (int(entry["height"]), int(entry["width"])),
                tuple(sorted(masks[entry["id"]], key=lambda mask: -mask.area)),
            )
            for entry in sorted(content["images"], key=lambda entry: int(entry["id"]))
            if entry["id"] in masks
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{listing} is not an LVIS v1 annotation file: {error!r}") from None
    missing = [sample.image for sample in samples if not sample.image.exists()]
    if missing:
        raise DatasetError(f"lvis: {len(missing)} of {len(samples)} photographs are missing, as {missing[0]}")
    return AnnotatedSet(benchmark, split, samples)


def _masks(annotations: list[dict[str, Any]], n_classes: int) -> dict[int, list[Mask]]:
    masks: dict[int, list[Mask]] = {}
    for annotation in annotations:
        class_index = int(annotation["category_id"]) - 1
        if not 0 <= class_index < n_classes:
            raise ValueError(f"category {class_index + 1}, where there are {n_classes}")
        rings = tuple(np.array(ring, np.float64) for ring in annotation["segmentation"])
        masks.setdefault(annotation["image_id"], []).append(Mask(float(annotation["area"]), class_index, rings))
    return masks
