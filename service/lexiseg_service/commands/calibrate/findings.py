"""The segments of each class in photographs, compared with masks of the truth if there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_client import Segmentation
from lexiseg_service.commands.calibrate.thresholds import Finding
from lexiseg_service.commands.image_files import Source
from lexiseg_service.errors import InvalidValue

IGNORED = 255  # in an 8-bit mask: counts for nothing


@dataclass
class Findings:
    """Findings of each class, kept in memory, as a keeper of `segment_files`."""

    names: Sequence[str]
    masks: Path | None
    folder: Path | None = None  # nothing is written before the report

    def __post_init__(self) -> None:
        self.by_class: list[list[Finding]] = [[] for _ in self.names]
        self.answers: dict[str, tuple[Source, Segmentation]] = {}

    def has(self, source: Source) -> bool:
        """False: every photograph is segmented."""
        return False

    exists = has

    def write(self) -> str | None:
        """None: the report is written at the end."""
        return None

    def close(self) -> None:
        """Nothing to release."""

    def add(self, source: Source, content: bytes, answer: Segmentation) -> None:
        """One photograph: the best score and the pixels of each class, and the truth.

        Raises:
            InvalidValue: its mask is missing or of another size.
        """
        truth = None if self.masks is None else _truth(self.masks / f"{source.stem}.png", answer.size)
        self.answers[source.name] = (source, answer)
        for index, findings in enumerate(self.by_class):
            segments = [segment for segment in answer if segment.class_index == index]
            score = max((segment.score for segment in segments), default=None)
            if truth is None:
                findings.append(Finding(source.name, score, found=sum(segment.area for segment in segments)))
                continue
            mask = np.zeros(answer.size, bool)
            for segment in segments:
                mask |= segment.shape.pixels()
            mask &= truth != IGNORED
            true = truth == index + 1
            findings.append(Finding(source.name, score, int((mask & true).sum()), int(mask.sum()), int(true.sum())))


def _truth(path: Path, size: tuple[int, int]) -> NDArray[np.int64]:
    """[H, W] of 1 + class index."""
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture).astype(np.int64)
    except OSError as error:
        raise InvalidValue.of("--masks", str(path), f"a PNG of 1 + class index ({error})") from None
    if values.shape != size:
        raise InvalidValue.of("--masks", f"{path} of {list(values.shape)}", f"a gray PNG of {list(size)}")
    return values
