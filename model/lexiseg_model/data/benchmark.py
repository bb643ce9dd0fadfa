"""What a public benchmark is, as data: classes in official order, folder layouts, stored values, mIoU convention.

`benchmarks/NAME.json` holds one each and names its sources. The names of the classes are the benchmark's own strings,
because published figures were measured with them; the named vocabularies of the service spell them as words.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lexiseg_model.errors import DatasetError

FOLDER = Path(__file__).parent / "benchmarks"
S = TypeVar("S", bound=BaseModel)
Convention = Literal["mmseg", "detectron2", "imagenet-s"]
# How a stored value becomes a label: it is the label; it is the label plus one; by the table `stored`; or it is spread
# over two channels, red + 256 green.
Values = Literal["label", "from-one", "stored", "red-green"]


class FolderLayout(BaseModel):
    """Where images and annotations lie under a root: path patterns with `{split}` and `{id}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str
    annotation: str
    listing: str | None = Field(None, description="a file with one id a line")
    listed_by: Literal["images", "annotations"] = "images"  # where there is no listing
    values: Values
    ignored: list[int] = Field(description="stored values that count nowhere; any other unknown one is an error")
    splits: list[str] | None = Field(None, description="of those that have this layout; None: all")


class Split(BaseModel):
    """The official name of a split, and how many images it has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    images: int


class WithSplits(BaseModel, Generic[S]):
    """What has splits under common names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    splits: dict[str, S]

    def split(self, name: str) -> S:
        """One split by its common name.

        Raises:
            DatasetError: the benchmark has no such split.
        """
        if name not in self.splits:
            raise DatasetError(f"{self.name} has no split {name!r}; it has: {', '.join(self.splits)}")
        return self.splits[name]


class Benchmark(WithSplits[Split]):
    """One benchmark; `classes[v]` is the class of label v, class 0 the background where there is one."""

    title: str
    source: str
    notes: str
    miou: Convention
    background: bool
    roots: list[str] = Field(description="official folders, tried in order under the folder that is given")
    layouts: list[FolderLayout] = Field(description="tried in order; empty for a set with a reader of its own")
    stored: list[list[int]] | None = Field(None, description="stored values of each class")
    frequency: str | None = Field(None, description="one letter a class: f, c or r")
    classes: list[str]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        n_classes = len(self.classes)
        if self.stored is not None and len(self.stored) != n_classes:
            raise ValueError(f"{len(self.stored)} lists of stored values for {n_classes} classes")
        if self.frequency is not None and len(self.frequency) != n_classes:
            raise ValueError(f"{len(self.frequency)} frequencies for {n_classes} classes")
        return self


def names() -> list[str]:
    """Every benchmark that can be read."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def benchmark(name: str) -> Benchmark:
    """A benchmark by its name.

    Raises:
        DatasetError: there is none of that name.
    """
    if name not in names():
        raise DatasetError(f"no benchmark {name!r}; there is: {', '.join(names())}")
    return Benchmark.model_validate_json((FOLDER / f"{name}.json").read_bytes())
