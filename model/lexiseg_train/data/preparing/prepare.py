"""Preparation of official sets: a user's words for their classes, then classes.json, images and masks of each split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from PIL import Image

from lexiseg_labels.exports import write_whole
from lexiseg_model.errors import DatasetError
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded, plain
from lexiseg_train.data.annotated import IGNORED, STORED_VALUES, Labels
from lexiseg_train.data.files.documents import read_text, read_yaml
from lexiseg_train.data.files.limits import MAX_CLASSES
from lexiseg_train.data.files.resuming import claim
from lexiseg_train.data.indexed import IGNORE, to_jpeg, write_classes, write_sample
from lexiseg_train.data.licences import write_licences
from lexiseg_train.data.pairs.source import Skipped
from lexiseg_train.data.preparing.official import Official, official_sets, own_splits
from lexiseg_train.data.scenes import Scene

EXAMPLE = "a word a line, or YAML or JSON: `{dog: [dog, puppy]}`, your word and the set's names"
Words = Mapping[str, tuple[str, ...]]


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
    """Classes of a set in a user's words, and [65536] their index by label: IGNORED what no word stands for.

    Label v is class v of the set; without words they are its own classes, without a table.
    """
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
        raise DatasetError(
            f"our own splits have no photographs of {official.folder}; they have photographs of {with_own}"
        )
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
