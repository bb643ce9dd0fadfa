"""Writes an official set as `DST/SET/classes.json`, `DST/SET/SPLIT/images` and `DST/SET/SPLIT/masks`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from lexiseg_model.data.annotated import AnnotatedImage
from lexiseg_model.data.indexed import CLASSES, IGNORE
from lexiseg_model.data.labels import IGNORED
from lexiseg_model.data.pairs.source import Skipped
from lexiseg_model.data.preparing.archives import unpack
from lexiseg_model.data.preparing.official import Official, own_splits
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.png import to_png

OFFICIAL = "official"  # folder of DST in which archives are unpacked, in the layout that `lexiseg eval` reads
QUALITY = 95


@dataclass
class Prepared:
    """Photographs of each split, those that were there before among them, and what could not be read."""

    folder: Path
    splits: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # splits that are not in the source, and why


def prepare(
    official: Official,
    source: Path,
    target: Path,
    own: bool,
    on_archive: Callable[[str], object] = lambda _: None,
    on_count: Callable[[int], object] = lambda _: None,
    on_photograph: Callable[[], object] = lambda: None,
) -> Prepared:
    """Unpacks what is packed and writes every split that is there; called again, it goes on.

    Args:
        official: which set.
        source: folder with the archives as they are published, or with what they hold.
        target: where the set goes.
        own: only the photographs of our own validation split, at its sizes.
        on_archive: called with the name of each archive that is unpacked.
        on_count: called with the number of photographs of each split.
        on_photograph: called after each photograph.

    Raises:
        DatasetError: neither the archives nor their content are there, or one is damaged.
    """
    packed = {name: folder for name, folder in official.archives.items() if (source / name).exists()}
    for name, folder in packed.items():
        on_archive(name)
        unpack(source / name, target / OFFICIAL / folder)
    root = target / OFFICIAL if packed else source
    prepared = Prepared(target / official.name)
    found: dict[str, list[AnnotatedImage]] = {}
    for split in official.splits:
        try:
            found[split] = list(official.read(root, split))
        except DatasetError as error:
            prepared.missing[split] = str(error)
    if not found:
        names = " or ".join(official.archives)
        raise DatasetError(f"{source} holds neither {names} nor what it holds: {next(iter(prepared.missing.values()))}")
    sizes = own_splits().get(official.name, {}) if own else {}
    if own:
        images = [image for split in found.values() for image in split if image.name in sizes]
        if len(images) < len(sizes):
            lacking = sorted(set(sizes) - {image.name for image in images})
            reason = f"{len(lacking)} of its {len(sizes)} photographs are not in {source}, as {lacking[0]}"
            prepared.missing["val"] = reason
        found = {"val": images}
    prepared.folder.mkdir(parents=True, exist_ok=True)
    _replace(prepared.folder / CLASSES, json.dumps(official.classes, ensure_ascii=False, indent=1).encode())
    for split, images in found.items():
        on_count(len(images))
        for image in images:
            try:
                _write(image, prepared.folder / split, sizes.get(image.name))
                prepared.splits[split] = prepared.splits.get(split, 0) + 1
            except DatasetError as error:
                prepared.skipped.append(Skipped(image.name, str(error)))
            on_photograph()
    return prepared


def _write(image: AnnotatedImage, folder: Path, size: tuple[int, int] | None) -> None:
    """One photograph and its mask; the mask last, for what has one is done."""
    name = image.name.replace("/", "_")
    mask_path = folder / "masks" / f"{name}.png"
    if mask_path.exists():
        return
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(image.read_image())
    labels = image.read_labels()
    if labels.shape != (picture.height, picture.width):
        sizes = f"{labels.shape[1]} x {labels.shape[0]}, its photograph {picture.width} x {picture.height}"
        raise DatasetError(f"{image.name}: its labels are {sizes}")
    mask = Image.fromarray(np.where(labels == IGNORED, IGNORE, labels).astype(np.uint8))
    if size is not None:
        picture, mask = picture.resize(size, Image.Resampling.LANCZOS), mask.resize(size, Image.Resampling.NEAREST)
    content = BytesIO()
    picture.save(content, "JPEG", quality=QUALITY)
    _replace(folder / "images" / f"{name}.jpg", content.getvalue())
    _replace(mask_path, to_png(np.asarray(mask)))


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}")
    fresh.write_bytes(content)
    os.replace(fresh, path)
