"""Label maps in the usual layout, drawn from what is published in another: PASCAL Context, PASCAL-Part, full ADE20K.

Context, with 59 or all 459 classes, comes from `trainval_merged.json` of the PASCAL in Detail challenge, which has run
lengths and the splits of published figures (4,996 and 5,104 photographs).

The parts come from `Annotations_Part/NAME.mat`. A file has `anno.objects`: `class`, `mask` and `parts` of each, and of
a part `part_name` and `mask`. Left and right parts, and parts that are numbered, have one class. Where an object has
parts, the rest of it is unknown, as all else.

Full ADE20K has NAME.jpg with NAME_seg.png, whose red / 10 * 256 + green is the number of a name, and NAME.json, which
has the names of the numbers in it. Pictures and maps are written as detectron2's projects prepare them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks.outlines import checked_size
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import decode
from lexiseg_train.data.annotations.drawing import draw
from lexiseg_train.data.benchmark import IGNORED, Labels, read_rgb
from lexiseg_train.data.indexed import IGNORE, JPEG_QUALITY, read_photograph

# The 59 classes' numbers among the 459, in the order of the classes (mmsegmentation, CAT-Seg); others become 0.
NUMBERS = (
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
    415, 416, 420, 424, 427, 440, 445, 454, 458,
)  # fmt: skip
LARGEST = 459
UNKNOWN = LARGEST + 1  # in place of a number
SPLITS = ("train", "val")
DETAIL_LISTS, PART_LISTS = "ImageSets/SegmentationContext", "ImageSets/SegmentationPart"
ADE_SPLITS, ADE_SIDE = ("training", "validation"), 512  # short side of detectron2's copies
NUMBERED_PART = re.compile(r"_\d+$")
OBJECTS = {
    "aeroplane": "airplane", "motorbike": "motorcycle", "pottedplant": "potted plant", "table": "dining table",
    "diningtable": "dining table", "tvmonitor": "tv monitor",
}  # fmt: skip
PARTS = {
    "eye": "leye reye", "ear": "lear rear", "eyebrow": "lebrow rebrow", "horn": "lhorn rhorn", "wing": "lwing rwing",
    "arm": "luarm llarm ruarm rlarm", "hand": "lhand rhand", "foot": "lfoot rfoot",
    "leg": "lleg rleg luleg llleg ruleg rlleg lfleg rfleg lbleg rbleg "
           "lfuleg lflleg rfuleg rflleg lbuleg lblleg rbuleg rblleg",
    "paw": "lfpa rfpa lbpa rbpa", "hoof": "lfho rfho lbho rbho", "wheel": "fwheel bwheel", "chain wheel": "chainwheel",
    "front": "frontside hfrontside cfrontside", "back": "backside hbackside cbackside",
    "side": "leftside rightside hleftside hrightside cleftside crightside", "roof": "roofside hroofside croofside",
    "mirror": "leftmirror rightmirror", "license plate": "fliplate bliplate",
}  # fmt: skip
WORDS = {stored: word for word, names in PARTS.items() for stored in names.split()}  # others are words themselves


class Map(NamedTuple):
    """A label map to be drawn; `draw` gives [H, W] and why parts of it are missing, or raises DatasetError."""

    split: str
    name: str
    draw: Callable[[], tuple[NDArray[Any], list[str]]]


def _write(source: Path, pattern: str, maps: Iterable[Map], lists: Path | None = None) -> None:
    """Write maps by a pattern of their split and name, and the lists of their names by split; faults are counted."""
    names: dict[str, list[str]] = {}
    faults: list[str] = []
    for split, name, draw_map in maps:
        try:
            labels, missing = draw_map()
        except DatasetError as error:
            faults.append(str(error))
            continue
        faults += [f"{name}: {fault}" for fault in missing]
        path = Path(pattern.format(split=split, name=name))
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(path, compression="tiff_deflate")  # a PNG has its own
        names.setdefault(split, []).append(name)
    if not names:
        raise DatasetError(faults[0] if faults else f"{source} holds nothing to draw")
    if faults:
        print(f"warning: {source}: {len(faults)} files or segments are left out, such as {faults[0]}", flush=True)
    for split in SPLITS if lists is not None else ():
        assert lists is not None
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names.get(split, ())))


def write_context(listing: Path, devkit: Path) -> None:
    """Write maps of the 59 classes and the lists next to VOC 2010's photographs; the JSON has 590 MB."""
    values = np.array([*(NUMBERS.index(n) + 1 if n in NUMBERS else 0 for n in range(UNKNOWN)), IGNORE], np.uint8)
    pattern = f"{devkit}/SegmentationClassContext/{{name}}.png"
    _write(listing, pattern, _detail_maps(listing, values), devkit / DETAIL_LISTS)


def write_context_459(listing: Path, devkit: Path) -> None:
    """Write maps of all classes, as CAT-Seg has them; 65,535 is ignored."""
    values = np.array([IGNORED, *range(LARGEST), IGNORED], np.uint16)
    pattern = f"{devkit}/annotations_detectron2/pc459_{{split}}/{{name}}.tif"
    _write(listing, pattern, _detail_maps(listing, values), devkit / DETAIL_LISTS)


def _detail_maps(listing: Path, values: NDArray[Any]) -> list[Map]:
    """The maps of the challenge's JSON; `values` by number, UNKNOWN being the last."""
    try:
        content = json.loads(listing.read_bytes())
        photographs = {each["image_id"]: each for each in content["images"] if each["phase"] in SPLITS}
        segments: dict[Any, list[tuple[dict[str, Any], int]]] = {image_id: [] for image_id in photographs}
        if not content["annos_segmentation"]:
            raise ValueError("no segment in it")
        for entry in content["annos_segmentation"]:
            if entry["image_id"] in segments:
                number = int(entry["category_id"])
                if not 0 <= number <= LARGEST:
                    raise ValueError(f"category_id {number}, at most {LARGEST}")
                segments[entry["image_id"]].append((entry["segmentation"], number))
        maps = []
        for image_id, photograph in photographs.items():
            size = checked_size(photograph["height"], photograph["width"])
            draw_map = partial(_draw_segments, segments[image_id], size, values)
            maps.append(Map(photograph["phase"], Path(photograph["file_name"]).stem, draw_map))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, UnreadableLabels) as error:
        raise DatasetError(
            f"{listing} is not the JSON of PASCAL in Detail, with images and annos_segmentation: {error!r}"
        ) from None
    return sorted(maps, key=lambda each: each.name)


def _draw_segments(
    segments: Sequence[tuple[dict[str, Any], int]], size: tuple[int, int], values: NDArray[Any]
) -> tuple[NDArray[Any], list[str]]:
    """A map by numbers, 0 where there is no segment; where one cannot be drawn, pixels of no other are UNKNOWN."""
    numbers, unlabelled, faults = np.zeros(size, np.uint16), np.ones(size, np.bool_), list[str]()
    for segmentation, number in segments:
        try:
            shape = decode(draw(segmentation, size))
        except UnreadableLabels as error:
            faults.append(str(error))
            continue
        numbers[shape], unlabelled[shape] = number, False
    if faults:
        numbers[unlabelled] = UNKNOWN
    return values[numbers], faults


def write_part_maps(devkit: Path, classes: Sequence[str]) -> None:
    """Write the maps of parts, `person's head`, and of objects without parts; a value is an index of `classes`."""
    stored = {path.stem: path for path in (devkit / "Annotations_Part").glob("*.mat")}
    values = {name: value for value, name in enumerate(classes)}
    maps = []
    for split in SPLITS:
        listing = devkit / "ImageSets" / "Main" / f"{split}.txt"
        listed = listing.read_text(encoding="utf-8", errors="replace").split() if listing.is_file() else []
        maps += [Map(split, name, partial(_draw_parts, stored[name], values)) for name in listed if name in stored]
    _write(devkit / "Annotations_Part", f"{devkit}/SegmentationPart/{{name}}.png", maps, devkit / PART_LISTS)


def _draw_parts(path: Path, values: dict[str, int]) -> tuple[NDArray[np.uint8], list[str]]:
    """The map of a file; IGNORE where no class is known. A later part covers earlier ones, as eyes a head."""
    try:
        objects = loadmat(path, variable_names=["anno"])["anno"]["objects"][0, 0].ravel()
        labels = np.full(checked_size(*objects[0]["mask"].shape), IGNORE, np.uint8)
        for name, mask in _masks(objects):
            labels[np.asarray(mask, np.bool_)] = values.get(name, IGNORE)
    except Exception as error:  # loadmat raises what it meets
        reason = f"{type(error).__name__}: {error}"
        raise DatasetError(f"{path} is not an annotation of PASCAL-Part: {reason:.200}") from None
    return labels, []


def _masks(objects: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for entry in objects:
        kind = str(entry["class"].item())
        word = OBJECTS.get(kind, kind)
        yield word, entry["mask"]
        for part in entry["parts"].ravel():
            stored = NUMBERED_PART.sub("", str(part["part_name"].item()))
            yield f"{word}'s {WORDS.get(stored, stored)}", part["mask"]


def write_full_ade(root: Path, classes: Sequence[str]) -> None:
    """Write photographs of at most ADE_SIDE on the short side, and their maps; a value is an index of `classes`."""
    values = {name: value for value, name in enumerate(classes)}
    maps = [
        Map(split, seg.stem.removesuffix("_seg"), partial(_draw_ade, seg, values, root / "images_detectron2" / split))
        for split in ADE_SPLITS
        for seg in sorted((root / "images" / "ADE" / split).rglob("*_seg.png"))
    ]
    _write(root / "images", f"{root}/annotations_detectron2/{{split}}/{{name}}.tif", maps)


def _draw_ade(seg: Path, values: dict[str, int], copies: Path) -> tuple[Labels, list[str]]:
    name = seg.stem.removesuffix("_seg")
    pixels = read_rgb(seg, "number = red / 10 * 256 + green")
    table = np.full(1 << 16, IGNORED, np.uint16)
    try:
        content = json.loads(seg.with_name(f"{name}.json").read_text(encoding="iso-8859-1"))
        for entry in content["annotation"]["object"]:
            table[int(entry["name_ndx"])] = values.get(entry["name"], IGNORED)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DatasetError(f"{seg.with_name(name)}.json is not an annotation of ADE20K: {error!r:.200}") from None
    photograph = Image.fromarray(read_photograph(seg.with_name(f"{name}.jpg")))
    labels = Image.fromarray(table[pixels[..., 0] // 10 * 256 + pixels[..., 1]])
    scale = min(1.0, ADE_SIDE / min(photograph.size))
    size = (round(photograph.width * scale), round(photograph.height * scale))
    copies.mkdir(parents=True, exist_ok=True)
    photograph.resize(size, Image.Resampling.LANCZOS).save(copies / f"{name}.jpg", quality=JPEG_QUALITY)
    return np.asarray(labels.resize(size, Image.Resampling.NEAREST)), []
