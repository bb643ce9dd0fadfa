"""What a folder of a user's pictures holds, whichever way their masks are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lexiseg_model.data.indexed import BACKGROUND
from lexiseg_model.errors import DatasetError

MaskReader = Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class Picture:
    """One photograph; `read_mask` gives [H, W] class indices, 255 = ignore, as the photograph is seen."""

    image: Path
    read_mask: MaskReader

    def read_image(self) -> NDArray[np.uint8]:
        """[H, W, 3] RGB, upright.

        Raises:
            DatasetError: the file is no photograph.
        """
        try:
            with Image.open(self.image) as picture:
                return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        except OSError as error:
            raise DatasetError(f"{self.image} cannot be read as a photograph: {error}") from None


@dataclass(frozen=True)
class OwnPictures:
    """`classes[v]` is the class of mask value v; `held_out` are those that the user keeps apart, if he does.

    `warnings` are sentences about what was left out on reading.
    """

    folder: Path
    classes: tuple[str, ...]
    train: tuple[Picture, ...]
    held_out: tuple[Picture, ...]
    warnings: tuple[str, ...] = ()

    @property
    def named(self) -> dict[int, str]:
        """Mask values of classes but the background."""
        return {value: name for value, name in enumerate(self.classes) if name != BACKGROUND}
