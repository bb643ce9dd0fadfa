"""A split of a benchmark on disk: photographs with label maps, whatever they are stored as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.data.benchmark import Benchmark
from lexiseg_model.data.labels import Labels
from lexiseg_model.errors import DatasetError


class AnnotatedImage(Protocol):
    """One photograph and its label map; nothing is read before it is asked for."""

    @property
    def name(self) -> str:
        """Unique within the split."""
        ...

    def read_image(self) -> NDArray[np.uint8]:
        """[H, W, 3] RGB."""
        ...

    def read_labels(self) -> Labels:
        """[H, W] labels, IGNORED where nothing counts."""
        ...


@dataclass(frozen=True)
class AnnotatedSet:
    """The images of one split, in a fixed order."""

    benchmark: Benchmark
    split: str
    images: tuple[AnnotatedImage, ...]


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """[H, W, 3] RGB, as stored: annotations follow the stored pixels, not an EXIF rotation.

    Raises:
        DatasetError: the file is no image.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as an image: {error}") from None
