"""Definitions of public benchmarks: classes in official order, folder layouts, stored values, mIoU convention.

`benchmarks/NAME.json` and `panoptics/NAME.json` hold one each. Class names are the benchmark's own strings, because
published figures were measured with them; where a built-in class list has them, its file does.
"""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, Field, model_validator

from lexiseg_model.cards import StrictModel
from lexiseg_model.errors import DatasetError
from lexiseg_model.vocabulary.class_lists import class_list
from lexiseg_train.data.scenes import SceneClass

FOLDER = Path(__file__).parent / "benchmarks"
PANOPTIC_FOLDER = Path(__file__).parent / "panoptics"
S = TypeVar("S", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)
Convention = Literal["mmseg", "detectron2", "imagenet-s"]
# From stored value to label: the same; the label plus one; by the table `stored`; or red + 256 green.
Values = Literal["label", "from-one", "stored", "red-green"]


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
    """Official name of a split, and its number of images."""

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
    """A panoptic category; `id` is used in annotations, `words` in prompts."""

    id: int
    name: str
    thing: bool
    words: list[str] = Field(min_length=1)


class PanopticSplit(StrictModel):
    """Paths under the data set's folder, and the number of images."""

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
