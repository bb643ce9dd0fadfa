"""Miniature data sets in the exact official layouts, as their own preparation leaves them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Stored = NDArray[np.integer]


def colour(seed: int) -> tuple[int, int, int]:
    """What `write_photograph` paints the whole photograph with: a JPEG keeps it."""
    return (30 + 40 * (seed % 6), 200 - 40 * (seed % 5), 90)


def write_photograph(path: Path, size: tuple[int, int], seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0]), colour(seed)).save(path)


def write_map(path: Path, stored: Stored, palette: bool = False) -> None:
    """8-bit PNG (with a palette, as VOC has it) or 16-bit TIFF, by the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        Image.fromarray(stored.astype(np.uint16)).save(path)
        return
    picture = Image.fromarray(stored.astype(np.uint8))
    if palette:
        picture = picture.convert("P")
        picture.putdata(stored.astype(np.uint8).reshape(-1).tolist())
        picture.putpalette([value for index in range(256) for value in (index, 255 - index, 128)])
    picture.save(path)


def write_voc(root: Path, maps: Mapping[str, Stored], split: str = "val") -> None:
    """VOCdevkit/VOC2012, with a photograph of another split beside them."""
    base = root / "VOCdevkit" / "VOC2012"
    for seed, (name, stored) in enumerate(maps.items()):
        write_photograph(base / "JPEGImages" / f"{name}.jpg", (stored.shape[0], stored.shape[1]), seed)
        write_map(base / "SegmentationClass" / f"{name}.png", stored, palette=True)
    write_photograph(base / "JPEGImages" / "2007_999999.jpg", (8, 8))
    listing = base / "ImageSets" / "Segmentation" / f"{split}.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{name}\n" for name in maps))


def write_context(root: Path, maps: Mapping[str, Stored]) -> None:
    """VOCdevkit/VOC2010 after mmsegmentation's converter."""
    base = root / "VOCdevkit" / "VOC2010"
    for seed, (name, stored) in enumerate(maps.items()):
        write_photograph(base / "JPEGImages" / f"{name}.jpg", (stored.shape[0], stored.shape[1]), seed)
        write_map(base / "SegmentationClassContext" / f"{name}.png", stored)
    listing = base / "ImageSets" / "SegmentationContext" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("".join(f"{name}\n" for name in maps))


def write_coco(root: Path, maps: Mapping[str, Stored], suffix: str = "") -> None:
    """coco_stuff164k: the maps as released, or with the suffix of a converter."""
    base = root / "coco_stuff164k"
    for seed, (name, stored) in enumerate(maps.items()):
        write_photograph(base / "images" / "val2017" / f"{name}.jpg", (stored.shape[0], stored.shape[1]), seed)
        write_map(base / "annotations" / "val2017" / f"{name}{suffix}.png", stored)


def write_cityscapes(root: Path, maps: Mapping[str, Stored], kind: str = "labelIds") -> None:
    """cityscapes/leftImg8bit and gtFine, by city, with the other files of gtFine beside the maps."""
    for seed, (name, stored) in enumerate(maps.items()):
        city = name.split("_")[0]
        image = root / "cityscapes" / "leftImg8bit" / "val" / city / f"{name}_leftImg8bit.png"
        write_photograph(image, (stored.shape[0], stored.shape[1]), seed)
        folder = root / "cityscapes" / "gtFine" / "val" / city
        write_map(folder / f"{name}_gtFine_{kind}.png", stored)
        write_map(folder / f"{name}_gtFine_color.png", np.zeros_like(stored))
        (folder / f"{name}_gtFine_polygons.json").write_text("{}")


def write_ade(root: Path, maps: Mapping[str, Stored]) -> None:
    """ADEChallengeData2016."""
    base = root / "ADEChallengeData2016"
    for seed, (name, stored) in enumerate(maps.items()):
        write_photograph(base / "images" / "validation" / f"{name}.jpg", (stored.shape[0], stored.shape[1]), seed)
        write_map(base / "annotations" / "validation" / f"{name}.png", stored)


def write_full_ade(root: Path, maps: Mapping[str, Stored]) -> None:
    """ADE20K_2021_17_01 as detectron2's projects prepare it."""
    base = root / "ADE20K_2021_17_01"
    for seed, (name, stored) in enumerate(maps.items()):
        size = (stored.shape[0], stored.shape[1])
        write_photograph(base / "images_detectron2" / "validation" / f"{name}.jpg", size, seed)
        write_map(base / "annotations_detectron2" / "validation" / f"{name}.tif", stored)


def write_context_459(root: Path, maps: Mapping[str, Stored]) -> None:
    """VOC2010 as CAT-Seg prepares it, with a photograph of another split beside them."""
    base = root / "VOCdevkit" / "VOC2010"
    for seed, (name, stored) in enumerate(maps.items()):
        write_photograph(base / "JPEGImages" / f"{name}.jpg", (stored.shape[0], stored.shape[1]), seed)
        write_map(base / "annotations_detectron2" / "pc459_val" / f"{name}.tif", stored)
    write_photograph(base / "JPEGImages" / "2008_999999.jpg", (8, 8))


def write_context_459_of_odise(root: Path, maps: Mapping[str, Stored]) -> None:
    """pascal_ctx_d2 as ODISE and FC-CLIP prepare it."""
    base = root / "pascal_ctx_d2"
    for seed, (name, stored) in enumerate(maps.items()):
        size = (stored.shape[0], stored.shape[1])
        write_photograph(base / "images" / "validation" / f"{name}.jpg", size, seed)
        write_map(base / "annotations_ctx459" / "validation" / f"{name}.tif", stored)


def write_imagenet_s(root: Path, maps: Mapping[str, Stored], subset: int = 50) -> None:
    """ImageNetS50 and its like: names are SYNSET/ILSVRC2012_val_########, masks RGB with red + 256 green."""
    base = root / "imagenet-s" / f"ImageNetS{subset}"
    for seed, (name, stored) in enumerate(maps.items()):
        write_photograph(base / "validation" / f"{name}.JPEG", (stored.shape[0], stored.shape[1]), seed)
        path = base / "validation-segmentation" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        rgb = np.stack([stored % 256, stored // 256, np.zeros_like(stored)], -1).astype(np.uint8)
        Image.fromarray(rgb).save(path)


def write_lvis(root: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    """coco and lvis/lvis_v1_val.json; an image is `id`, `height`, `width` and the COCO split that it lies in."""
    listed = []
    for image in images:
        name = f"{image['id']:012d}.jpg"
        write_photograph(root / "coco" / image["split"] / name, (image["height"], image["width"]), image["id"])
        listed.append(
            {
                "id": image["id"],
                "height": image["height"],
                "width": image["width"],
                "coco_url": f"http://images.cocodataset.org/{image['split']}/{name}",
                "neg_category_ids": [],
                "not_exhaustive_category_ids": [],
            }
        )
    (root / "lvis").mkdir(parents=True)
    (root / "lvis" / "lvis_v1_val.json").write_text(json.dumps({"images": listed, "annotations": annotations}))
