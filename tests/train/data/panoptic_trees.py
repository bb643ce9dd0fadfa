"""Miniature panoptic and instance sets in the exact official layouts."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.train.data.trees import write_photograph, write_rgb


class Drawn(NamedTuple):
    """One image: its id, a map of segment ids, and for each segment its category and whether it is a group."""

    name: str
    ids: NDArray[np.integer]
    categories: dict[int, int]
    crowds: tuple[int, ...] = ()


def _write(base: str, listing: str, image: str, mask: str, file: str, root: Path, drawn: Sequence[Drawn]) -> Path:
    """Photographs, PNG of ids and their JSON, by patterns of paths; `file` is the photograph's name in the JSON."""
    images, annotations = [], []
    for seed, each in enumerate(drawn):
        parts = {"name": each.name, "city": each.name.split("_")[0]}
        path = root / base / mask.format(**parts)
        write_photograph(root / base / image.format(**parts), each.ids.shape, seed)
        write_rgb(path, each.ids)
        number = int(each.name) if each.name.isdecimal() else each.name
        segments = [
            {"id": key, "category_id": category, "area": int((each.ids == key).sum()), "bbox": [0, 0, 1, 1],
             "iscrowd": int(key in each.crowds)}
            for key, category in each.categories.items()
        ]  # fmt: skip
        images.append({"id": number, "file_name": file.format(**parts)})
        annotations.append({"image_id": number, "file_name": path.name, "segments_info": segments})
    path = root / base / listing
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    return path


# coco/{annotations,panoptic_val2017,val2017}; ids of images are numbers.
write_coco_panoptic = partial(
    _write, "coco", "annotations/panoptic_val2017.json", "val2017/{name}.jpg", "panoptic_val2017/{name}.png",
    "{name}.jpg",
)  # fmt: skip
# After Mask2Former's preparation.
write_ade_panoptic = partial(
    _write, "ADEChallengeData2016", "ade20k_panoptic_val.json", "images/validation/{name}.jpg",
    "ade20k_panoptic_val/{name}.png", "{name}.jpg",
)  # fmt: skip
# After createPanopticImgs.py: the JSON's names of photographs are none.
write_cityscapes_panoptic = partial(
    _write, "cityscapes", "gtFine/cityscapes_panoptic_val.json", "leftImg8bit/val/{city}/{name}_leftImg8bit.png",
    "gtFine/cityscapes_panoptic_val/{name}_gtFine_panoptic.png", "{name}_gtFine_leftImg8bit.png",
)  # fmt: skip


def write_coco_instances(root: Path, sizes: dict[int, tuple[int, int]], annotations: Sequence[dict[str, Any]]) -> Path:
    """coco/{annotations,val2017} with the 80 categories' file; `sizes` by the image's id."""
    images = []
    for number, size in sizes.items():
        name = f"{number:012d}.jpg"
        write_photograph(root / "coco" / "val2017" / name, size, number)
        images.append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
    listing = root / "coco" / "annotations" / "instances_val2017.json"
    listing.parent.mkdir(parents=True, exist_ok=True)
    categories = [{"id": entry["category_id"], "name": "any"} for entry in annotations]
    listing.write_text(json.dumps({"images": images, "annotations": list(annotations), "categories": categories}))
    return listing
