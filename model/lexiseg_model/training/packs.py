"""Packs: photographs and their masks decoded once and laid end to end in memory-mapped files.

A pack is a folder of `pixels.u8`, `labels.u8` and `index.json`. Training reads a crop's window straight from the map;
a photograph that is drawn a thousand times is decoded once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.indexed import BACKGROUND, IGNORE

INDEX, PIXELS, LABELS = "index.json", "pixels.u8", "labels.u8"
SEEN_STEP = 4  # every so many pixels of a mask, across and down, are counted

Image = NDArray[np.uint8]


class Photograph(NamedTuple):
    """What goes into a pack: RGB [H, W, 3], a mask [H, W] or none, and names that are known to be in the picture."""

    name: str
    image: Image
    mask: Image | None
    present: tuple[str, ...] = ()


Through = Callable[[Iterator[Photograph]], Iterator[Photograph]]


@dataclass(frozen=True)
class Pack:
    """One set of photographs, open for reading.

    `places` [N, 4] holds offset in pixels, height, width and whether there is a mask; `areas` [N, K] the share of each
    mask value; `complete`: a name of `names` that a photograph does not have in `present` is not in it.
    """

    name: str
    classes: tuple[str, ...]  # of mask values; empty where no photograph has a mask
    names: tuple[str, ...]  # what `present` is drawn from
    complete: bool
    photographs: tuple[str, ...]
    present: tuple[tuple[str, ...], ...]
    places: NDArray[np.int64]
    areas: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def has_background(self) -> bool:
        return bool(self.classes) and self.classes[0] == BACKGROUND

    def image(self, index: int) -> Image:
        """[H, W, 3], a view."""
        offset, height, width, _ = self.places[index]
        return self.pixels[3 * offset : 3 * (offset + height * width)].reshape(height, width, 3)

    def mask(self, index: int) -> Image:
        """[H, W], a view; all of it ignored where the photograph has none."""
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
    """Writes a pack; the folder appears only when all of it is there."""
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    fresh.mkdir(parents=True, exist_ok=True)
    places, areas, said, offset = [], [], [], 0
    with (fresh / PIXELS).open("wb") as pixels, (fresh / LABELS).open("wb") as labels:
        for photograph in photographs:
            height, width = photograph.image.shape[:2]
            pixels.write(np.ascontiguousarray(photograph.image).tobytes())
            mask = photograph.mask
            labels.write((np.full((height, width), IGNORE, np.uint8) if mask is None else mask).tobytes())
            places.append([offset, height, width, int(mask is not None)])
            areas.append(_areas(mask, len(classes)))
            said.append((photograph.name, list(photograph.present)))
            offset += height * width
    np.save(fresh / "areas.npy", np.array(areas, np.float32).reshape(len(places), len(classes)))
    index = {
        "name": name,
        "classes": classes,
        "names": names,
        "complete": complete,
        "photographs": [label for label, _ in said],
        "present": [present for _, present in said],
        "places": places,
    }
    (fresh / INDEX).write_text(json.dumps(index))
    os.replace(fresh, folder)
    return open_pack(folder)


def open_pack(folder: Path) -> Pack:
    """Maps a pack that was written before."""
    index = json.loads((folder / INDEX).read_text())
    # Mapped for changes that nobody makes: torch takes no array that is only for reading.
    return Pack(
        index["name"],
        tuple(index["classes"]),
        tuple(index["names"]),
        index["complete"],
        tuple(index["photographs"]),
        tuple(tuple(names) for names in index["present"]),
        np.array(index["places"], np.int64).reshape(-1, 4),
        np.load(folder / "areas.npy"),
        np.memmap(folder / PIXELS, np.uint8, "c"),
        np.memmap(folder / LABELS, np.uint8, "c"),
    )


def _areas(mask: Image | None, n_classes: int) -> NDArray[np.float64]:
    if mask is None:
        return np.zeros(n_classes)
    some = mask[::SEEN_STEP, ::SEEN_STEP].reshape(-1)
    return np.bincount(some, minlength=256)[:n_classes] / max(1, some.size)
