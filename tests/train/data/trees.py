"""Miniature data sets in the exact official layouts, as their own preparation leaves them."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Stored = NDArray[np.integer]


def colour(seed: int) -> tuple[int, int, int]:
    """What `write_photograph` paints the whole photograph with: a JPEG keeps it."""
    return (30 + 40 * (seed % 6), 200 - 40 * (seed % 5), 90)


def write_photograph(path: Path, size: tuple[int, ...], seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0]), colour(seed)).save(path)


def write_map(path: Path, stored: Stored, palette: bool = False) -> None:
    """8-bit PNG (with a palette, as VOC has it) or 16-bit TIFF, by the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(stored.astype(np.uint16 if path.suffix == ".tif" else np.uint8))
    if palette:
        picture = picture.convert("P")
        picture.putdata(stored.astype(np.uint8).reshape(-1).tolist())
        picture.putpalette([value for index in range(256) for value in (index, 255 - index, 128)])
    picture.save(path)


def write_rgb(path: Path, numbers: Stored) -> None:
    """A PNG of numbers: red + 256 green + 65,536 blue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], -1).astype(np.uint8)
    Image.fromarray(rgb).save(path)


def _write(
    base: str,
    image: str,
    annotation: str,
    root: Path,
    maps: Mapping[str, Stored],
    write: Callable[[Path, Stored], None] = write_map,
    listing: str | None = None,
    other: str | None = None,
) -> None:
    """Photographs and maps by patterns of their names, the list of names, and a photograph of another split."""
    for seed, (name, stored) in enumerate(maps.items()):
        parts = {"name": name, "city": name.split("_")[0]}
        write_photograph(root / base / image.format(**parts), stored.shape, seed)
        write(root / base / annotation.format(**parts), stored)
    if other is not None:
        write_photograph(root / base / image.format(name=other), (8, 8))
    if listing is not None:
        (root / base / listing).parent.mkdir(parents=True, exist_ok=True)
        (root / base / listing).write_text("".join(f"{name}\n" for name in maps))


def write_voc(root: Path, maps: Mapping[str, Stored], split: str = "val") -> None:
    """VOCdevkit/VOC2012, with a photograph of another split."""
    listing = f"ImageSets/Segmentation/{split}.txt"
    paths = ("VOCdevkit/VOC2012", "JPEGImages/{name}.jpg", "SegmentationClass/{name}.png")
    _write(*paths, root, maps, partial(write_map, palette=True), listing, "2007_999999")


def write_coco(root: Path, maps: Mapping[str, Stored], suffix: str = "") -> None:
    """coco_stuff164k: the maps as released, or with the suffix of a converter."""
    _write("coco_stuff164k", "images/val2017/{name}.jpg", f"annotations/val2017/{{name}}{suffix}.png", root, maps)


def write_cityscapes(root: Path, maps: Mapping[str, Stored], kind: str = "labelIds") -> None:
    """cityscapes/leftImg8bit and gtFine, by city, with the other files of gtFine next to the maps."""
    annotation = f"gtFine/val/{{city}}/{{name}}_gtFine_{kind}.png"
    _write("cityscapes", "leftImg8bit/val/{city}/{name}_leftImg8bit.png", annotation, root, maps)
    for path in [*root.rglob(f"*_gtFine_{kind}.png")]:
        write_map(path.with_name(path.name.replace(kind, "color")), np.zeros((4, 5), int))
        path.with_name(path.name.replace(f"{kind}.png", "polygons.json")).write_text("{}")


# VOCdevkit/VOC2010 after mmsegmentation's converter.
write_context = partial(
    _write, "VOCdevkit/VOC2010", "JPEGImages/{name}.jpg", "SegmentationClassContext/{name}.png",
    listing="ImageSets/SegmentationContext/val.txt",
)  # fmt: skip
write_ade = partial(_write, "ADEChallengeData2016", "images/validation/{name}.jpg", "annotations/validation/{name}.png")
# As detectron2's projects prepare it.
write_full_ade = partial(
    _write, "ADE20K_2021_17_01", "images_detectron2/validation/{name}.jpg",
    "annotations_detectron2/validation/{name}.tif",
)  # fmt: skip
# VOC2010 as CAT-Seg prepares it, with a photograph of another split.
write_context_459 = partial(
    _write, "VOCdevkit/VOC2010", "JPEGImages/{name}.jpg", "annotations_detectron2/pc459_val/{name}.tif",
    other="2008_999999",
)  # fmt: skip
# As ODISE and FC-CLIP prepare it.
write_context_459_of_odise = partial(
    _write, "pascal_ctx_d2", "images/validation/{name}.jpg", "annotations_ctx459/validation/{name}.tif"
)


def write_imagenet_s(root: Path, maps: Mapping[str, Stored], subset: int = 50) -> None:
    """ImageNetS50 and its like: names are SYNSET/ILSVRC2012_val_########."""
    patterns = ("validation/{name}.JPEG", "validation-segmentation/{name}.png")
    _write(f"imagenet-s/ImageNetS{subset}", *patterns, root, maps, write_rgb)


def write_lvis(root: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    """coco and lvis/lvis_v1_val.json; an image is `id`, `height`, `width` and the COCO split that it lies in."""
    listed = []
    for image in images:
        place = f"{image['split']}/{image['id']:012d}.jpg"
        write_photograph(root / "coco" / place, (image["height"], image["width"]), image["id"])
        address = {"coco_url": f"http://images.cocodataset.org/{place}"}
        listed.append({key: image[key] for key in ("id", "height", "width")} | address)
    (root / "lvis").mkdir(parents=True)
    (root / "lvis" / "lvis_v1_val.json").write_text(json.dumps({"images": listed, "annotations": annotations}))
