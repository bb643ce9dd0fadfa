"""Official sets that can be prepared (`official.yaml`): archives to download, readers, and classes in plain words."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import yaml
from pydantic import Field

from lexiseg_model.cards import StrictModel
from lexiseg_model.errors import DatasetError
from lexiseg_train.data.annotated import IGNORED, Labels, read_benchmark, read_folders
from lexiseg_train.data.benchmark import PANOPTIC_FOLDER, Benchmark, benchmark, names, panoptic_benchmark
from lexiseg_train.data.files import archives
from lexiseg_train.data.preparing.maps import write_context, write_context_459, write_full_ade, write_part_maps
from lexiseg_train.data.read_scenes import read_panoptic
from lexiseg_train.data.scenes import PanopticTruth, Scene, with_truth

FILE = Path(__file__).with_name("official.yaml")
MAX_RATIO = 100  # unpacked bytes for a packed one; label maps compress 20 to 50 times, a zip bomb 1,000 times
MAX_FILES = 5_000_000
SPARE_BYTES = 2**30  # beyond that, for small archives of empty masks
Kind = Literal["archive", "context-json", "context-459-json", "pascal-part", "ade20k-full"]


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar or a zip, and the zips inside it next to themselves."""
    target.mkdir(parents=True, exist_ok=True)
    budget = SPARE_BYTES + MAX_RATIO * archive.stat().st_size
    with TemporaryDirectory(dir=target, prefix=".unpacked-") as place:
        folder = Path(place, "set")
        archives.unpack(archive, folder, MAX_FILES, budget)
        budget -= sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for inner in [*folder.rglob("*.zip")]:  # COCO's panoptic PNG files
            archives.unpack(inner, inner.parent, MAX_FILES, budget)
            inner.unlink()
        shutil.copytree(folder, target, dirs_exist_ok=True, copy_function=os.replace)


def _drawn(write: Callable[[Path, Sequence[str]], None], name: str, folder: str = "") -> Callable[[Path, Path], None]:
    """Unpacks an archive of a set, and draws the maps of its classes in a folder of it."""

    def bring(archive: Path, target: Path) -> None:
        unpack(archive, target)
        write(target / folder, official_set(name).classes)

    return bring


UNPACKED_BY: dict[Kind, Callable[[Path, Path], None]] = {
    "archive": unpack,
    "context-json": write_context,
    "context-459-json": write_context_459,
    "pascal-part": _drawn(write_part_maps, "pascal-part"),
    "ade20k-full": _drawn(write_full_ade, "ade20k-full", "ADE20K_2021_17_01"),
}


class Archive(StrictModel):
    """One file to download."""

    names: tuple[str, ...] = Field(min_length=1, description="names that it is published under")
    folder: str = Field("", description="folder that it is unpacked in")
    holds: tuple[str, ...] = Field((), description="paths in that folder, to recognise it where it was unpacked before")
    kind: Kind = "archive"
    required: bool = Field(True, description="false: the set can be written without it")
    url: str | None = Field(None, description="address that `lexiseg data fetch` downloads it from")
    size: int | None = Field(None, description="bytes, where they are published")
    digest: str | None = Field(None, description="ALGORITHM:HEX, where one is published")

    def packed(self, source: Path) -> Path | None:
        """The file, if it exists."""
        return next((source / name for name in self.names if (source / name).is_file()), None)

    def exists(self, source: Path) -> bool:
        """Whether it is in `source`, packed or unpacked."""
        return self.packed(source) is not None or any((source / self.folder / path).exists() for path in self.holds)

    def bring(self, source: Path, target: Path, on_archive: Callable[[str], object]) -> None:
        """Unpack it under `target`; nothing happens where it is missing, or was unpacked before."""
        if (archive := self.packed(source)) is None:
            return
        status = archive.stat()
        state = {"bytes": status.st_size, "mtime": status.st_mtime_ns}
        record = target / self.folder / f".{archive.name}.unpacked"
        if not record.exists() or json.loads(record.read_text()) != state:
            on_archive(archive.name)
            UNPACKED_BY[self.kind](archive, target / self.folder)
            record.write_text(json.dumps(state))

    def __str__(self) -> str:
        held_files = f" (holds {', '.join(self.holds)})" if self.holds else ""
        return " or ".join(self.names) + held_files


class Official(StrictModel):
    """A published set; the fields are explained in `official.yaml`."""

    folder: str
    archives: tuple[Archive, ...]
    benchmark: str | Benchmark
    listed: tuple[str, ...] = Field((), alias="classes")
    plain: bool = False
    splits: tuple[str, ...] = ("train", "val")
    own: str | None = None
    licence: str | None = Field(None, description="text of the set's licence file; its first line goes into cards")
    terms: tuple[str, ...] = Field((), description="COCO's JSON files with the licence of each photograph")

    @property
    def is_fetched(self) -> bool:
        """Whether each archive that it needs has an address."""
        return all(archive.url for archive in self.archives if archive.required)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the mask values."""
        if self.listed:
            return self.listed
        if isinstance(self.benchmark, Benchmark):
            return tuple(self.benchmark.classes)
        if self.benchmark in names(PANOPTIC_FOLDER):
            return _plain_words(kept_categories(self.benchmark))
        own = benchmark(self.benchmark).classes
        return _plain_words(own) if self.plain else tuple(own)

    def read(self, root: Path, split: str) -> Sequence[Scene[Labels]]:
        """List one split in its official layout. Raises DatasetError: the split is missing."""
        if isinstance(self.benchmark, Benchmark):
            return read_folders(self.benchmark, root, split).images
        if self.benchmark in names(PANOPTIC_FOLDER):
            return _read_panoptic_labels(self.benchmark, root, split)
        scenes = read_benchmark(self.benchmark, root, split).images
        if self.benchmark == "lvis":  # its names have the folder of COCO's split, by which no list of licences goes
            return [replace(scene, name=Path(scene.name).stem) for scene in scenes]
        return scenes


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return content


@cache
def official_sets() -> dict[str, Official]:
    """Sets by their names in `lexiseg data prepare`."""
    return {name: Official.model_validate(entry) for name, entry in _content()["sets"].items()}


def official_set(name: str) -> Official:
    """One set by name. Raises DatasetError for an unknown name."""
    sets = official_sets()
    if name not in sets:
        raise DatasetError(f"no official set {name!r}; known sets: {', '.join(sets)}")
    return sets[name]


def own_splits() -> dict[str, dict[str, tuple[int, int]]]:
    """Photographs of our validation splits by set: names and sizes (width, height)."""
    listed = json.loads(FILE.with_name("own_splits.json").read_text())
    return {name: {key: (size[0], size[1]) for key, size in sizes.items()} for name, sizes in listed.items()}


def kept_categories(name: str) -> list[str]:
    """Categories of a panoptic benchmark that its set has as classes, under their official names."""
    left_out = _content()["left_out"]
    return [entry.name for entry in panoptic_benchmark(name).categories if entry.name not in left_out]


def _plain_words(official: Iterable[str]) -> tuple[str, ...]:
    words = _content()["words"]
    return tuple(words.get(name, name) for name in (name.removesuffix("-merged") for name in official))


def _read_panoptic_labels(name: str, root: Path, split: str) -> Sequence[Scene[Labels]]:
    panoptic, categories = panoptic_benchmark(name), kept_categories(name)
    labels = tuple(
        categories.index(entry.name) if entry.name in categories else IGNORED for entry in panoptic.categories
    )

    def paint(truth: PanopticTruth) -> Labels:
        painted = np.full(truth.ids.shape, IGNORED, np.uint16)
        for segment in truth.segments:
            painted[truth.ids == segment.id] = labels[segment.class_index]
        return painted

    scenes = with_truth(read_panoptic(panoptic, root, split), paint).scenes
    return [replace(scene, name=Path(scene.name).stem) for scene in scenes]
