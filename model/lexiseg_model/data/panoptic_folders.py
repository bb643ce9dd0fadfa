"""Reader of panoptic benchmarks in COCO's format, which ADE20K and Cityscapes share: a JSON, and a PNG of ids an image.

The id of a pixel is R + 256 G + 65536 B, and 0 is void (cocodataset/panopticapi, utils.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.data.annotated import read_photograph
from lexiseg_model.data.panoptic_benchmark import PanopticBenchmark, PanopticSplit
from lexiseg_model.data.scenes import VOID, Ids, PanopticTruth, SceneSet, TruthSegment
from lexiseg_model.errors import DatasetError


@dataclass(frozen=True)
class PanopticScene:
    """A photograph, its PNG of ids, and the segments that the JSON lists for it."""

    name: str
    image: Path
    mask: Path
    segments: tuple[TruthSegment, ...]

    def read_image(self) -> NDArray[np.uint8]:
        return read_photograph(self.image)

    def read_truth(self) -> PanopticTruth:
        ids = read_ids(self.mask)
        known = {VOID, *(segment.id for segment in self.segments)}
        unknown = [value for value in np.unique(ids).tolist() if value not in known]
        if unknown:
            raise DatasetError(f"{self.mask} holds the ids {unknown[:5]}, which its segments_info does not name")
        return PanopticTruth(ids, self.segments)


def read_panoptic(benchmark: PanopticBenchmark, root: Path, split: str) -> SceneSet[PanopticTruth]:
    """Lists one split.

    Args:
        benchmark: which one.
        root: the official folder of the data set, or one that holds it.
        split: common name, as `val`.

    Raises:
        DatasetError: the JSON, a photograph or a PNG is missing, the JSON is no panoptic one, or it names a category
            that the benchmark does not have.
    """
    layout = benchmark.split(split)
    base = _base(benchmark, root, layout)
    listing = base / layout.annotations
    try:
        content = json.loads(listing.read_bytes())
        files = {str(image["id"]): str(image["file_name"]) for image in content["images"]}
        folder = _masks(base, layout, content["annotations"])
        scenes = tuple(
            _scene(benchmark, layout, base, folder, entry, files)
            for entry in sorted(content["annotations"], key=lambda entry: str(entry["file_name"]))
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{listing} is not a panoptic annotation file: {error!r}") from None
    missing = [path for scene in scenes for path in (scene.image, scene.mask) if not path.exists()]
    if missing:
        raise DatasetError(f"{benchmark.name}: {len(missing)} of {2 * len(scenes)} files are missing, as {missing[0]}")
    return SceneSet(benchmark.name, split, benchmark.classes, False, "annotated", layout.images, scenes)


def read_ids(path: Path) -> Ids:
    """Ids [H, W] of one PNG.

    Raises:
        DatasetError: the file is no RGB image.
    """
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as an image: {error}") from None
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        raise DatasetError(f"{path} is {list(pixels.shape)}; expected RGB, id = red + 256 green + 65536 blue")
    wide = pixels.astype(np.int32)
    ids: Ids = wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]
    return ids


def _base(benchmark: PanopticBenchmark, root: Path, layout: PanopticSplit) -> Path:
    bases = list(dict.fromkeys(root / name for name in benchmark.roots))
    for base in bases:
        if (base / layout.annotations).exists():
            return base
    raise DatasetError(
        f"{benchmark.name}: none of {', '.join(map(str, bases))} holds {layout.annotations}; expected it with the PNG "
        f"files in {' or '.join(layout.masks)} and the photographs {layout.image}"
    )


def _masks(base: Path, layout: PanopticSplit, annotations: list[dict[str, Any]]) -> Path:
    """The folder of the PNG files: the first that holds that of the first image."""
    for name in layout.masks:
        if annotations and (base / name / annotations[0]["file_name"]).exists():
            return base / name
    return base / layout.masks[0]


def _scene(
    benchmark: PanopticBenchmark,
    layout: PanopticSplit,
    base: Path,
    folder: Path,
    entry: dict[str, Any],
    files: dict[str, str],
) -> PanopticScene:
    name = str(entry["image_id"])
    if name not in files:
        raise DatasetError(f"{benchmark.name}: annotations of the image {name!r}, which the images do not list")
    image = layout.image.format(file=files[name], id=name, city=name.partition("_")[0])
    segments = tuple(_segment(benchmark, name, info) for info in entry["segments_info"])
    return PanopticScene(name, base / image, folder / entry["file_name"], segments)


def _segment(benchmark: PanopticBenchmark, name: str, info: dict[str, Any]) -> TruthSegment:
    category = int(info["category_id"])
    class_index = benchmark.class_of.get(category)
    if class_index is None:
        raise DatasetError(
            f"{benchmark.name}: the image {name!r} has a segment of the unknown category {category}; expected one of "
            f"the {len(benchmark.categories)} ids from {benchmark.categories[0].id} to {benchmark.categories[-1].id}"
        )
    return TruthSegment(int(info["id"]), class_index, int(info["area"]), bool(info.get("iscrowd", 0)))
