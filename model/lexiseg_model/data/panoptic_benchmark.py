"""What a public panoptic benchmark is, as data: categories in official order, things and stuff, folder layout.

`panoptics/NAME.json` holds one each and names its sources.
"""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lexiseg_model.data.benchmark import WithSplits
from lexiseg_model.data.scenes import SceneClass
from lexiseg_model.errors import DatasetError

FOLDER = Path(__file__).parent / "panoptics"


class Category(BaseModel):
    """One category; `id` is what the annotations say, `words` are what a model is asked with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: int
    name: str
    thing: bool
    words: list[str] = Field(min_length=1)


class PanopticSplit(BaseModel):
    """Paths under the data set's folder, and how many images there are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    annotations: str
    masks: list[str] = Field(description="folders of the PNG files, tried in order")
    image: str = Field(description="pattern with {file} (as in the JSON), {id} and {city} (the id up to its first _)")
    images: int


class PanopticBenchmark(WithSplits[PanopticSplit]):
    """One benchmark; a class index counts in `categories`."""

    title: str
    source: str
    notes: str
    roots: list[str] = Field(description="official folders, tried in order under the folder that is given")
    categories: list[Category]

    @property
    def classes(self) -> tuple[SceneClass, ...]:
        """The categories as classes of scenes."""
        return tuple(SceneClass(entry.name, tuple(entry.words), entry.thing) for entry in self.categories)

    @cached_property
    def class_of(self) -> dict[int, int]:
        """From the ids of the annotations to class indices."""
        return {entry.id: class_index for class_index, entry in enumerate(self.categories)}


def names() -> list[str]:
    """Every panoptic benchmark that can be read."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def panoptic_benchmark(name: str) -> PanopticBenchmark:
    """A benchmark by its name.

    Raises:
        DatasetError: there is none of that name.
    """
    if name not in names():
        raise DatasetError(f"no panoptic benchmark {name!r}; there is: {', '.join(names())}")
    return PanopticBenchmark.model_validate_json((FOLDER / f"{name}.json").read_bytes())
