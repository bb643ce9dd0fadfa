"""Miniature panoptic and instance sets in the exact official layouts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.train.data.trees import write_photograph


class Drawn(NamedTuple):
    """One image: its id, a map of segment ids, and for each segment its category and whether it is a group."""

    name: str
    ids: NDArray[np.integer]
    categories: dict[int, int]
    crowds: tuple[int, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return (self.ids.shape[0], self.ids.shape[1])


def write_ids(path: Path, ids: NDArray[np.integer]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    Image.fromarray(rgb).save(path)


def segments_info(drawn: Drawn) -> list[dict[str, Any]]:
    return [
        {
            "id": number, "category_id": category, "area": int((drawn.ids == number).sum()), "bbox": [0, 0, 1, 1],
            "iscrowd": int(number in drawn.crowds),
        }
        for number, category in drawn.categories.items()
    ]  # fmt: skip


def write_listing(path: Path, images: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))


def write_coco_panoptic(root: Path, drawn: Sequence[Drawn], masks: str = "panoptic_val2017") -> Path:
    """coco/{annotations,panoptic_val2017,val2017}; ids of images are numbers."""
    base = root / "coco"
    images, annotations = [], []
    for seed, image in enumerate(drawn):
        write_photograph(base / "val2017" / f"{image.name}.jpg", image.size, seed)
        write_ids(base / masks / f"{image.name}.png", image.ids)
        images.append({"id": int(image.name), "file_name": f"{image.name}.jpg"})
        annotations.append(
            {"image_id": int(image.name), "file_name": f"{image.name}.png", "segments_info": segments_info(image)}
        )
    listing = base / "annotations" / "panoptic_val2017.json"
    write_listing(listing, images, annotations)
    return listing


def write_ade_panoptic(root: Path, drawn: Sequence[Drawn]) -> None:
    """ADEChallengeData2016 after Mask2Former's preparation."""
    base = root / "ADEChallengeData2016"
    images, annotations = [], []
    for seed, image in enumerate(drawn):
        write_photograph(base / "images" / "validation" / f"{image.name}.jpg", image.size, seed)
        write_ids(base / "ade20k_panoptic_val" / f"{image.name}.png", image.ids)
        images.append({"id": image.name, "file_name": f"{image.name}.jpg"})
        annotations.append(
            {"image_id": image.name, "file_name": f"{image.name}.png", "segments_info": segments_info(image)}
        )
    write_listing(base / "ade20k_panoptic_val.json", images, annotations)


def write_cityscapes_panoptic(root: Path, drawn: Sequence[Drawn]) -> None:
    """cityscapes after createPanopticImgs.py: the JSON's names of photographs are none."""
    base = root / "cityscapes"
    images, annotations = [], []
    for seed, image in enumerate(drawn):
        city = image.name.split("_")[0]
        write_photograph(base / "leftImg8bit" / "val" / city / f"{image.name}_leftImg8bit.png", image.size, seed)
        png = f"{image.name}_gtFine_panoptic.png"
        write_ids(base / "gtFine" / "cityscapes_panoptic_val" / png, image.ids)
        images.append({"id": image.name, "file_name": f"{image.name}_gtFine_leftImg8bit.png"})
        annotations.append({"image_id": image.name, "file_name": png, "segments_info": segments_info(image)})
    write_listing(base / "gtFine" / "cityscapes_panoptic_val.json", images, annotations)


def write_coco_instances(root: Path, sizes: dict[int, tuple[int, int]], annotations: Sequence[dict[str, Any]]) -> Path:
    """coco/{annotations,val2017} with the 80 categories' file; `sizes` by the image's id."""
    base = root / "coco"
    images = []
    for number, size in sizes.items():
        name = f"{number:012d}.jpg"
        write_photograph(base / "val2017" / name, size, number)
        images.append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
    listing = base / "annotations" / "instances_val2017.json"
    listing.parent.mkdir(parents=True, exist_ok=True)
    categories = [{"id": entry["category_id"], "name": "any"} for entry in annotations]
    listing.write_text(json.dumps({"images": images, "annotations": list(annotations), "categories": categories}))
    return listing
