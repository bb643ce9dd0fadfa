"""What a vocabulary's classes find in photographs, against masks of the truth if there are any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.masks.rle import decode
from lexiseg_service.commands.calibrate.thresholds import Finding
from lexiseg_service.commands.segment.annotations import Answer
from lexiseg_service.commands.segment.sources import Source
from lexiseg_service.errors import InvalidValue

IGNORED = 255  # in an 8-bit mask: counts for nothing


@dataclass
class Looked:
    """Findings class by class, as a keeper of `segment_files`: everything stays in memory, nothing is written."""

    names: Sequence[str]
    masks: Path | None

    def __post_init__(self) -> None:
        self.findings: list[list[Finding]] = [[] for _ in self.names]
        self.shown: dict[str, tuple[Source, Answer]] = {}  # for the report: the photographs and what was found in them

    @property
    def folder(self) -> None:
        """None: nothing is written before the report."""

    def has(self, source: Source) -> bool:
        """Every photograph is looked at."""
        return False

    exists = has

    def write(self) -> str | None:
        """What lies where is said by the report."""
        return None

    def add(self, source: Source, content: bytes, answer: Answer) -> None:
        """One photograph: its best segment of each class, and the truth about it.

        Raises:
            InvalidValue: its mask is missing or of another size.
        """
        truth = None if self.masks is None else self._truth(source, answer.size)
        self.shown[source.name] = (source, answer)
        for index, findings in enumerate(self.findings):
            segments = [segment for segment in answer.segments if segment.class_index == index]
            score = max((segment.score for segment in segments), default=None)
            if truth is None:
                findings.append(Finding(source.name, score, found=sum(segment.area for segment in segments)))
                continue
            mask = np.zeros(answer.size, bool)
            for segment in segments:
                mask |= decode(segment.mask)
            counted, true = truth != IGNORED, truth == index + 1
            mask &= counted
            both = int((mask & true).sum())
            findings.append(Finding(source.name, score, both, int(mask.sum()), int(true.sum())))

    def close(self) -> None:
        """There is nothing to let go of."""

    def _truth(self, source: Source, size: tuple[int, int]) -> NDArray[np.int64]:
        assert self.masks is not None
        path = self.masks / f"{source.stem}.png"
        try:
            with Image.open(path) as picture:
                values = np.asarray(picture).astype(np.int64)
        except OSError as error:
            raise InvalidValue.of("--masks", str(path), f"a PNG of 1 + class index ({error})") from None
        if values.shape != size:
            raise InvalidValue.of("--masks", f"{path} of {list(values.shape)}", f"a gray PNG of {list(size)}")
        return values


Ask = Callable[[bytes], Future[Any]]  # of an `Answer`, whoever gives it
