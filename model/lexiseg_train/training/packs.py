"""Packs: decoded photographs and masks in memory-mapped files, for runs that draw each photograph many times.

A pack is a folder of `pixels.u8`, `labels.u8`, `areas.npy` and `index.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE, one_value_warning

INDEX, PIXELS, LABELS, AREAS = "index.json", "pixels.u8", "labels.u8", "areas.npy"
AREA_STEP = 4  # areas are counted from every so many pixels of a mask

Image = NDArray[np.uint8]


class Photograph(NamedTuple):
    """An entry of a pack: RGB [H, W, 3], a mask [H, W] or None, and names of classes known to be in the picture."""

    name: str
    image: Image
    mask: Image | None
    present: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pack:
    """A pack that is open for reading."""

    name: str
    classes: tuple[str, ...]  # of mask values; empty where no photograph has a mask
    names: tuple[str, ...]  # that `present` is drawn from
    complete: bool  # names missing in a photograph's `present` are known to be absent
    photographs: tuple[str, ...]
    present: tuple[tuple[str, ...], ...]
    places: NDArray[np.int64]  # [N, 4] offset in pixels, height, width, and whether there is a mask
    areas: NDArray[np.float32]  # [N, K] share of each mask value
    pixels: NDArray[np.uint8]  # RGB of all photographs, one after the other
    labels: NDArray[np.uint8]  # mask values of the same pixels

    def __len__(self) -> int:
        return len(self.places)

    @property
    def has_background(self) -> bool:
        return bool(self.classes) and self.classes[0] == BACKGROUND

    def image(self, index: int) -> Image:
        """A view [H, W, 3]."""
        offset, height, width, _ = self.places[index]
        return self.pixels[3 * offset : 3 * (offset + height * width)].reshape(height, width, 3)

    def mask(self, index: int) -> Image:
        """A view [H, W]; IGNORE everywhere where the photograph has no mask."""
        offset, height, width, masked = self.places[index]
        if not masked:
            return np.full((height, width), IGNORE, np.uint8)
        return self.labels[offset : offset + height * width].reshape(height, width)


def write_pack(
    folder: Path,
    name: str,
    classes: tuple[str, ...],
    photographs: Iterable[Photograph],
    names: tuple[str, ...] = (),
    complete: bool = False,
) -> Pack:
    """Write a pack; the folder appears when it is complete. Prints a warning about masks that show no class."""
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    fresh.mkdir(parents=True, exist_ok=True)
    places, areas, entries, offset = [], [], [], 0
    with (fresh / PIXELS).open("wb") as pixels, (fresh / LABELS).open("wb") as labels:
        for photograph in photographs:
            height, width = photograph.image.shape[:2]
            pixels.write(np.ascontiguousarray(photograph.image).tobytes())
            places.append([offset, height, width, int(photograph.mask is not None)])
            mask = np.full((height, width), IGNORE, np.uint8) if photograph.mask is None else photograph.mask
            labels.write(mask.tobytes())
            some = mask[::AREA_STEP, ::AREA_STEP].reshape(-1)
            areas.append(np.bincount(some, minlength=IGNORE + 1)[: len(classes)] / max(1, some.size))
            entries.append((photograph.name, list(photograph.present)))
            offset += height * width
    shares = np.array(areas, np.float32).reshape(len(places), len(classes))
    if any(masked for *_, masked in places):
        for warning in one_value_warning(name, np.flatnonzero(shares.any(0)).tolist(), len(classes)):
            print(f"warning: {warning}", flush=True)
    np.save(fresh / AREAS, shares)
    index = {
        "name": name,
        "classes": classes,
        "names": names,
        "complete": complete,
        "photographs": [label for label, _ in entries],
        "present": [present for _, present in entries],
        "places": places,
    }
    (fresh / INDEX).write_text(json.dumps(index))
    os.replace(fresh, folder)
    return open_pack(folder)


def open_pack(folder: Path) -> Pack:
    """Map an existing pack."""
    index = json.loads((folder / INDEX).read_text())
    # Copy-on-write: torch warns of read-only arrays.
    return Pack(
        index["name"],
        tuple(index["classes"]),
        tuple(index["names"]),
        index["complete"],
        tuple(index["photographs"]),
        tuple(tuple(names) for names in index["present"]),
        np.array(index["places"], np.int64).reshape(-1, 4),
        np.load(folder / AREAS),
        np.memmap(folder / PIXELS, np.uint8, "c"),
        np.memmap(folder / LABELS, np.uint8, "c"),
    )
