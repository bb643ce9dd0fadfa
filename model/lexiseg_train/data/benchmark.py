"""Public benchmarks: definitions, and readers of the semantic ones, photographs with label maps in official layouts.

`benchmarks/NAME.json` and `panoptics/NAME.json` hold a definition each. Class names are the benchmark's own strings,
because published figures were measured with them; where a built-in class list has them, its file does.

LVIS stores instances, and no public rule makes it a semantic set: here masks are painted by decreasing area, and pixels
without a mask are ignored. Its layout is detectron2's: `coco/{train2017,val2017}/` and `lvis/lvis_v1_{split}.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from lexiseg_labels.annotations import AnnotatedImage
from lexiseg_model.cards import StrictModel
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import decode
from lexiseg_model.vocabulary.class_lists import class_list
from lexiseg_train.data.annotations.coco import read_coco_file
from lexiseg_train.data.annotations.drawing import draw
from lexiseg_train.data.indexed import opened, read_photograph
from lexiseg_train.data.scenes import Scene, SceneClass

FOLDER = Path(__file__).parent / "benchmarks"
PANOPTIC_FOLDER = Path(__file__).parent / "panoptics"
S = TypeVar("S", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)
Convention = Literal["mmseg", "detectron2", "imagenet-s"]
# From stored value to label: the same; the label plus one; by the table `stored`; or red + 256 green.
Values = Literal["label", "from-one", "stored", "red-green"]
IGNORED = 65535  # label of a pixel that never counts
UNEXPECTED = 65534  # label of a stored value that the benchmark does not define
STORED_VALUES = 1 << 16
Labels = NDArray[np.uint16]


class FolderLayout(StrictModel):
    """Path patterns of images and annotations under a root, with `{split}` and `{id}`."""

    image: str
    annotation: str
    listing: str | None = Field(None, description="a file with one id a line")
    listed_by: Literal["images", "annotations"] = "images"  # where there is no listing
    values: Values
    ignored: list[int] = Field(description="stored values that are ignored; any other unknown one is an error")
    splits: list[str] | None = Field(None, description="splits with this layout; None: all")


class Split(StrictModel):
    folder: str
    images: int


class WithSplits(StrictModel, Generic[S]):
    """A benchmark with splits under common names."""

    name: str
    splits: dict[str, S]
    roots: list[str] = Field(default=["."], description="official folders, tried in order under the given one")

    def bases(self, root: Path) -> list[Path]:
        return list(dict.fromkeys(root / name for name in self.roots))

    def split(self, name: str) -> S:
        """One split by its common name. Raises DatasetError: the benchmark has no such split."""
        if name not in self.splits:
            raise DatasetError(f"{self.name} has no split {name!r}; it has: {', '.join(self.splits)}")
        return self.splits[name]


class Benchmark(WithSplits[Split]):
    """A semantic benchmark; `classes[v]` is the class of label v, class 0 the background where there is one."""

    title: str
    source: str
    notes: str
    miou: Convention
    background: bool
    layouts: list[FolderLayout] = Field(description="tried in order; empty for LVIS")
    stored: list[list[int]] | None = Field(None, description="stored values of each class")
    classes: list[str]

    @model_validator(mode="before")
    @classmethod
    def _with_class_list(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Take title, source and classes from the built-in `class_list`, after the class of label 0, `zero`."""
        rest = {name: value for name, value in fields.items() if name not in ("class_list", "zero")}
        if "class_list" not in fields:
            return rest
        listed = class_list(fields["class_list"])
        classes = [*filter(None, [fields.get("zero")]), *listed.official]
        return {"title": listed.title, "source": listed.source, "classes": classes} | rest

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.stored is not None and len(self.stored) != len(self.classes):
            raise ValueError(f"{len(self.stored)} lists of stored values for {len(self.classes)} classes")
        return self


class Category(StrictModel):
    id: int
    name: str
    thing: bool
    words: list[str] = Field(min_length=1)


class PanopticSplit(StrictModel):
    annotations: str
    masks: list[str] = Field(description="folders of the PNG files, tried in order")
    image: str = Field(description="pattern with {file} (as in the JSON), {id} and {city} (the id up to its first _)")
    images: int


class PanopticBenchmark(WithSplits[PanopticSplit]):
    """A panoptic benchmark; a class index counts in `categories`."""

    title: str
    source: str
    notes: str
    categories: list[Category]

    @property
    def classes(self) -> tuple[SceneClass, ...]:
        return tuple(SceneClass(entry.name, tuple(entry.words), entry.thing) for entry in self.categories)

    @cached_property
    def class_of(self) -> dict[int, int]:
        return {entry.id: class_index for class_index, entry in enumerate(self.categories)}


def names(folder: Path = FOLDER) -> list[str]:
    """Every benchmark of a folder: semantic in FOLDER, panoptic in PANOPTIC_FOLDER."""
    return sorted(path.stem for path in folder.glob("*.json"))


@cache
def benchmark(name: str) -> Benchmark:
    return _read(Benchmark, FOLDER, name)


@cache
def panoptic_benchmark(name: str) -> PanopticBenchmark:
    return _read(PanopticBenchmark, PANOPTIC_FOLDER, name)


def _read(kind: type[B], folder: Path, name: str) -> B:
    if name not in names(folder):
        raise DatasetError(f"no benchmark {name!r}; known benchmarks: {', '.join(names(folder))}")
    return kind.model_validate_json((folder / f"{name}.json").read_bytes())


@dataclass(frozen=True)
class AnnotatedSet:
    """The images of one split, in a fixed order; labels [H, W] are IGNORED where nothing counts."""

    benchmark: Benchmark
    split: str
    images: tuple[Scene[Labels], ...]
    warnings: tuple[str, ...] = ()  # sentences about annotations that are left out


def read_benchmark(name: str, root: Path, split: str = "val") -> AnnotatedSet:
    official = benchmark(name)
    official.split(split)
    if not root.is_dir():
        raise DatasetError(f"{name}: {root} is not a folder")
    return read_folders(official, root, split) if official.layouts else read_lvis(official, root, split)


def _read_pixels(path: Path) -> NDArray[Any]:
    with opened(path) as picture:
        return np.asarray(picture)


def read_rgb(path: Path, meaning: str) -> NDArray[np.int32]:
    """Pixels [H, W, 3] of an annotation image with colours that are numbers, by the `meaning` in messages."""
    pixels = _read_pixels(path)
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        raise DatasetError(f"{path} is {list(pixels.shape)}; expected RGB, {meaning}")
    return pixels[..., :3].astype(np.int32)


def require_files(name: str, files: Sequence[Path]) -> None:
    missing = [path for path in files if not path.exists()]
    if missing:
        raise DatasetError(f"{name}: {len(missing)} of {len(files)} files are missing, such as {missing[0]}")


def read_folders(benchmark: Benchmark, root: Path, split: str) -> AnnotatedSet:
    """List one split in the first of the benchmark's layouts that exists in its official folder, or its parent."""
    folder = benchmark.split(split).folder
    layouts = [layout for layout in benchmark.layouts if layout.splits is None or split in layout.splits]
    bases = benchmark.bases(root)
    for base in bases:
        for layout in layouts:
            names = _sample_ids(base, layout, folder)
            if names and (layout.listing or (base / _filled_in(layout.annotation, folder, names[0])).exists()):
                table = label_table(benchmark, layout)
                images = [base / _filled_in(layout.image, folder, name) for name in names]
                annotations = [base / _filled_in(layout.annotation, folder, name) for name in names]
                require_files(benchmark.name, [*images, *annotations])
                samples = tuple(
                    Scene(name, partial(read_photograph, image), partial(read_labels, annotation, layout, table))
                    for name, image, annotation in zip(names, images, annotations, strict=True)
                )
                return AnnotatedSet(benchmark, split, samples)
    expected = "; or ".join(
        _filled_in(f"{layout.listing or layout.image} with {layout.annotation}", folder, "ID") for layout in layouts
    )
    raise DatasetError(f"{benchmark.name}, split {split!r}: none of {', '.join(map(str, bases))} holds {expected}")


def label_table(benchmark: Benchmark, layout: FolderLayout) -> Labels:
    """[65536]: label of every stored value, IGNORED or UNEXPECTED."""
    labels = range(len(benchmark.classes))
    if layout.values == "stored":
        if benchmark.stored is None:
            raise DatasetError(f"{benchmark.name}: the layout needs a table of stored values, and there is none")
        stored = benchmark.stored
    else:
        first = 1 if layout.values == "from-one" else 0
        stored = [[label + first] for label in labels]
    table = np.full(STORED_VALUES, UNEXPECTED, np.uint16)
    table[layout.ignored] = IGNORED
    for label, values in zip(labels, stored, strict=True):
        table[values] = label
    return table


def read_labels(path: Path, layout: FolderLayout, table: Labels) -> Labels:
    if layout.values == "red-green":
        stored = read_rgb(path, "label = red + 256 green") @ np.array([1, 256, 0], np.int32)
    else:
        pixels = _read_pixels(path)
        if pixels.ndim != 2 or pixels.dtype.kind not in "ui":
            raise DatasetError(f"{path} is {pixels.dtype} {list(pixels.shape)}; expected one channel of whole numbers")
        stored = pixels.astype(np.int32)
    outside = (stored < 0) | (stored >= STORED_VALUES)
    labels: Labels = table[np.where(outside, 0, stored)]
    unexpected = outside | (labels == UNEXPECTED)
    if unexpected.any():
        values = np.unique(stored[unexpected])[:5].tolist()
        raise DatasetError(f"{path} holds the values {values}, which the layout {layout.annotation} does not define")
    return labels


def read_lvis(benchmark: Benchmark, root: Path, split: str) -> AnnotatedSet:
    """List one split of LVIS; images without an instance are left out."""
    listing = root / "lvis" / f"lvis_v1_{benchmark.split(split).folder}.json"
    if not listing.exists():
        raise DatasetError(f"{listing} does not exist; expected {root}/lvis/lvis_v1_{split}.json and {root}/coco/")
    content = read_coco_file(listing, range(1, len(benchmark.classes) + 1))
    images = [image for image in content.images if image.annotations]
    photographs = [root / "coco" / image.file_name for image in images]  # with COCO's split: LVIS mixes them
    require_files("lvis", photographs)
    samples = tuple(
        Scene(image.file_name, partial(read_photograph, photograph), partial(_paint, image))
        for image, photograph in zip(images, photographs, strict=True)
    )
    return AnnotatedSet(benchmark, split, samples, content.warnings)


def _paint(image: AnnotatedImage) -> Labels:
    """Labels [H, W] of an image of LVIS: smaller masks, by the stated area, cover larger; all else is IGNORED."""
    labels = np.full(image.size, IGNORED, np.uint16)
    masks = [(draw(each.outline, image.size), each) for each in image.annotations]
    for mask, each in sorted(masks, key=lambda entry: -(entry[1].stated_area or entry[0].area)):
        unknown = each.ignored or each.category is None
        labels[decode(mask)] = IGNORED if unknown else int(str(each.category)) - 1
    return labels


def _sample_ids(base: Path, layout: FolderLayout, folder: str) -> list[str]:
    """What `{id}` stands for in the paths of each sample: from the listing (DatasetError if empty), or file names."""
    if layout.listing is not None:
        listing = base / layout.listing.replace("{split}", folder)
        names = listing.read_text("utf-8", "replace").split() if listing.exists() else []
        if not names and listing.exists():
            raise DatasetError(f"{listing} names no image; expected an ID in each line")
        return names
    pattern = layout.image if layout.listed_by == "images" else layout.annotation
    parent, suffix = pattern.replace("{split}", folder).split("{id}")
    files = (base / parent).rglob(f"*{suffix}")
    paths = (path.relative_to(base / parent).as_posix() for path in files if path.name[0] != ".")
    return sorted(path.removesuffix(suffix) for path in paths)


def _filled_in(pattern: str, folder: str, name: str) -> str:
    return pattern.replace("{split}", folder).replace("{id}", name)
