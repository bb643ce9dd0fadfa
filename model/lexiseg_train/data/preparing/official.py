"""Official sets (`official.yaml`): archives to download, readers, and classes, prepared as sets to train on.

A set has classes.json in a user's words for its classes, and images and masks of each split.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import yaml
from PIL import Image
from pydantic import Field

from lexiseg_labels.exports import write_whole
from lexiseg_model.cards import StrictModel
from lexiseg_model.errors import DatasetError
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded, plain
from lexiseg_train.data.benchmark import (
    IGNORED,
    PANOPTIC_FOLDER,
    STORED_VALUES,
    Benchmark,
    Labels,
    benchmark,
    names,
    panoptic_benchmark,
    read_benchmark,
    read_folders,
)
from lexiseg_train.data.files import inside
from lexiseg_train.data.files.documents import MAX_CLASSES, read_text, read_yaml
from lexiseg_train.data.files.runs import claim
from lexiseg_train.data.indexed import IGNORE, to_jpeg, write_classes, write_sample
from lexiseg_train.data.licences import write_licences
from lexiseg_train.data.pairs.source import Skipped
from lexiseg_train.data.preparing.maps import write_context, write_context_459, write_full_ade, write_part_maps
from lexiseg_train.data.read_scenes import read_panoptic
from lexiseg_train.data.scenes import PanopticTruth, Scene, with_truth

FILE = Path(__file__).with_name("official.yaml")
MAX_RATIO = 100  # unpacked bytes for a packed one; label maps compress 20 to 50 times, a zip bomb 1,000 times
MAX_FILES = 5_000_000
SPARE_BYTES = 2**30  # beyond that, for small archives of empty masks
Kind = Literal["archive", "context-json", "context-459-json", "pascal-part", "ade20k-full"]
EXAMPLE = "a word a line, or YAML or JSON: `{dog: [dog, puppy]}`, your word and the set's names"
Words = Mapping[str, tuple[str, ...]]


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar or a zip, and the zips inside it next to themselves."""
    target.mkdir(parents=True, exist_ok=True)
    budget = SPARE_BYTES + MAX_RATIO * archive.stat().st_size
    with TemporaryDirectory(dir=target, prefix=".unpacked-") as place:
        folder = Path(place, "set")
        inside.unpack(archive, folder, MAX_FILES, budget)
        budget -= sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for inner in [*folder.rglob("*.zip")]:  # COCO's panoptic PNG files
            inside.unpack(inner, inner.parent, MAX_FILES, budget)
            inner.unlink()
        shutil.copytree(folder, target, dirs_exist_ok=True, copy_function=os.replace)


def _unpack_and_draw(
    archive: Path, target: Path, write: Callable[[Path, Sequence[str]], None], name: str, folder: str = ""
) -> None:
    unpack(archive, target)
    write(target / folder, official_set(name).classes)


UNPACKED_BY: dict[Kind, Callable[[Path, Path], None]] = {
    "archive": unpack,
    "context-json": write_context,
    "context-459-json": write_context_459,
    "pascal-part": partial(_unpack_and_draw, write=write_part_maps, name="pascal-part"),
    "ade20k-full": partial(_unpack_and_draw, write=write_full_ade, name="ade20k-full", folder="ADE20K_2021_17_01"),
}


class Archive(StrictModel):
    names: tuple[str, ...] = Field(min_length=1, description="names that it is published under")
    folder: str = Field("", description="folder that it is unpacked in")
    holds: tuple[str, ...] = Field((), description="paths in that folder, to recognise it where it was unpacked before")
    kind: Kind = "archive"
    required: bool = Field(True, description="false: the set can be written without it")
    url: str | None = Field(None, description="address that `lexiseg data fetch` downloads it from")
    size: int | None = Field(None, description="bytes, where they are published")
    digest: str | None = Field(None, description="ALGORITHM:HEX, where one is published")

    def packed(self, source: Path) -> Path | None:
        return next((source / name for name in self.names if (source / name).is_file()), None)

    def exists(self, source: Path) -> bool:
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
    panoptic = panoptic_benchmark(name)
    label_of = {category: label for label, category in enumerate(kept_categories(name))}
    labels = [label_of.get(entry.name, IGNORED) for entry in panoptic.categories]

    def paint(truth: PanopticTruth) -> Labels:
        painted = np.full(truth.ids.shape, IGNORED, np.uint16)
        for segment in truth.segments:
            painted[truth.ids == segment.id] = labels[segment.class_index]
        return painted

    scenes = with_truth(read_panoptic(panoptic, root, split), paint).scenes
    return [replace(scene, name=Path(scene.name).stem) for scene in scenes]


def read_words(path: Path) -> Words:
    """Words by the names of the set that they stand for, from text, YAML or JSON; `background` comes first."""
    if path.suffix == ".txt":
        content: object = [line for line in map(str.strip, read_text(path).splitlines()) if line]
    else:
        content = read_yaml(path)
    if isinstance(content, list):
        content = {word: [word] for word in content if isinstance(word, str)}
    listed = content if isinstance(content, dict) else {}
    words = {word: tuple([named] if isinstance(named, str) else named) for word, named in listed.items() if named}
    if not words or not all(isinstance(name, str) for word, named in words.items() for name in (word, *named)):
        raise DatasetError(f"{path}: expected {EXAMPLE}")
    return dict(sorted(words.items(), key=lambda entry: entry[0] != BACKGROUND))


def choose(title: str, classes: Sequence[str], words: Words | None) -> tuple[tuple[str, ...], Labels | None]:
    """Classes in a user's words, and [65536] their index by label, IGNORED for others; None: without words."""
    names = tuple(classes) if words is None else tuple(words)
    if len(names) > MAX_CLASSES:
        raise DatasetError(f"{title} has {len(names):,} classes, a mask holds {MAX_CLASSES}: name some with --words")
    if words is None:
        return names, None
    labels = {folded(plain(name)): label for label, name in enumerate(classes)}
    table = np.full(STORED_VALUES, IGNORED, np.uint16)
    for index, named in enumerate(words.values()):
        for name in named:
            if (label := labels.get(folded(plain(name)))) is None:
                alike = get_close_matches(name, classes, n=1)
                hint = f"; did you mean {alike[0]!r}?" if alike else ""
                raise DatasetError(f"{title} has no class {name!r}{hint}")
            if table[label] != IGNORED:
                raise DatasetError(f"{title}: {name!r} is of two words, {names[table[label]]!r} and {names[index]!r}")
            table[label] = index
    return names, table


OFFICIAL = "official"  # folder of DST for unpacked archives, in the layout that `lexiseg eval` reads
ABOUT = "prepared.json"  # file in a set's folder: all photographs, or our own split
LICENCE = "LICENCE"  # of a set; its first line is in the cards of what learns from it


@dataclass
class Prepared:
    """Number of photographs of each split, unreadable ones, and missing splits with the reason."""

    folder: Path
    splits: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def prepare(
    official: Official,
    source: Path,
    target: Path,
    own: bool,
    on_archive: Callable[[str], object] = lambda _: None,
    on_count: Callable[[int], object] = lambda _: None,
    on_photograph: Callable[[], object] = lambda: None,
    words: Words | None = None,
) -> Prepared:
    """Unpack archives and write every split that exists, with the set's licence; a repeated call resumes.

    `source` has the published archives or their contents, `target` the written set in a folder of its own. `own`: only
    the photographs of our own validation split, at its sizes.
    """
    if own and official.own is None:
        with_own = ", ".join(name for name, each in official_sets().items() if each.own)
        raise DatasetError(f"our own splits have no photographs of {official.folder}; they have some of {with_own}")
    classes, table = choose(official.folder, official.classes, words)
    is_packed = any(archive.packed(source) for archive in official.archives)
    for archive in official.archives:
        archive.bring(source, target / OFFICIAL, on_archive)
    root = target / OFFICIAL if is_packed else source
    prepared = Prepared(target / official.folder)
    splits = _splits(official, source, root, prepared)
    sizes = {}
    if own and official.own is not None:
        sizes = own_splits()[official.own]
        splits = {"val": [image for split in splits.values() for image in split if image.name in sizes]}
        if lacking := sorted(set(sizes) - {image.name for image in splits["val"]}):
            share = f"{len(lacking)} of the {len(sizes)} photographs of our split of {official.own}"
            prepared.missing["val"] = f"{share} are missing, such as {lacking[0]}"
    about = {"own split": own, "words": None if words is None else {word: list(named) for word, named in words.items()}}
    claim(prepared.folder / ABOUT, about, "photographs", any(prepared.folder.glob("*/masks/*")))
    write_classes(prepared.folder, classes)
    for split, images in splits.items():
        on_count(len(images))
        for image in images:
            try:
                _write(image, prepared.folder / split, sizes.get(image.name), table)
                prepared.splits[split] = prepared.splits.get(split, 0) + 1
            except DatasetError as error:
                prepared.skipped.append(Skipped(image.name, str(error)))
            on_photograph()
    if official.licence is not None:
        write_whole(prepared.folder / LICENCE, official.licence.encode())
    if terms := [root / name for name in official.terms if (root / name).is_file()]:
        write_licences(target, terms)
    return prepared


def _splits(official: Official, source: Path, root: Path, prepared: Prepared) -> dict[str, Sequence[Scene[Labels]]]:
    """Readable splits; adds the others with the reason to `prepared.missing`."""
    splits: dict[str, Sequence[Scene[Labels]]] = {}
    for split in official.splits:
        try:
            splits[split] = official.read(root, split)
        except DatasetError as error:
            prepared.missing[split] = str(error)
    required = [archive for archive in official.archives if archive.required]
    absent = [archive for archive in required if not archive.exists(source) and not archive.exists(root)]
    if splits:
        fetch = " or ".join(archive.names[0] for archive in absent)
        hint = f"; perhaps {fetch} is missing" if absent else ""
        prepared.missing = {split: reason + hint for split, reason in prepared.missing.items()}
        return splits
    if absent:
        present = [archive.names[0] for archive in required if archive not in absent]
        there = f"; found {' and '.join(present)}" if present else ""
        lacking = " and ".join(map(str, absent))
        raise DatasetError(f"{official.folder}: {source} lacks {lacking}, packed or unpacked{there}")
    reasons = "; ".join(prepared.missing.values())
    raise DatasetError(f"{official.folder}: the contents of {source} are not as published: {reasons}")


def _write(image: Scene[Labels], folder: Path, size: tuple[int, int] | None, table: Labels | None) -> None:
    """Write a photograph, then its mask, which marks it as done; `table` has the mask value of each label."""
    name = image.name.replace("/", "_")
    if (folder / "masks" / f"{name}.png").exists():
        return
    picture = Image.fromarray(image.read_image())
    labels = image.read_truth()
    if labels.shape != (picture.height, picture.width):
        sizes = f"{labels.shape[1]} x {labels.shape[0]}, its photograph {picture.width} x {picture.height}"
        raise DatasetError(f"{image.name}: its labels are {sizes}")
    labels = labels if table is None else table[labels]
    mask = Image.fromarray(np.where(labels == IGNORED, IGNORE, labels).astype(np.uint8))
    if size is not None:
        picture, mask = picture.resize(size, Image.Resampling.LANCZOS), mask.resize(size, Image.Resampling.NEAREST)
    write_sample(folder, name, to_jpeg(np.asarray(picture)), np.asarray(mask))
