"""Tasks over the segmenter of known answers, in one line."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.cards import PanopticRule, ScoreRule
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Segmentation, Task, Vocabulary
from tests.model.stand_in import ColourSegmenter, picture

ALL: tuple[Task, ...] = ("semantic", "instance", "panoptic", "prompt")
PROPOSALS = PanopticRule(source="proposals")


def features_of(segmenter: Segmenter, rows: Sequence[str]) -> Features:
    return segmenter.encode(picture(rows))


def vocabulary(*classes: str | ClassEntry, background: Background | None = Background()) -> Vocabulary:
    entries = tuple(entry if isinstance(entry, ClassEntry) else ClassEntry(entry) for entry in classes)
    return Vocabulary(entries, background)


def ask(
    task: Task,
    rows: Sequence[str],
    *classes: str | ClassEntry,
    background: Background | None = Background(),
    rule: PanopticRule = PanopticRule(),
    words: Sequence[str] = (),
    score: ScoreRule | None = None,
    **options: Any,
) -> Segmentation:
    segmenter = ColourSegmenter(words, ALL, rule)
    segmenter.card = segmenter.card.model_copy(update={"score": score})
    asked = vocabulary(*classes, background=background)
    return tasks.segment(task, segmenter, features_of(segmenter, rows), asked, tasks.Options(**options))


class Gone(Exception):
    """Nobody waits any more."""


class Patience:
    """Lets work go on so many times; then nobody waits any more."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> None:
        """Raises Gone when it has been called more often than that."""
        self.left -= 1
        if self.left < 0:
            raise Gone


def stacked(answer: Segmentation) -> NDArray[np.bool_]:
    """[N, H, W] decoded masks."""
    return np.array([decode(segment.mask) for segment in answer.segments]).reshape(-1, *answer.size)


def described(answer: Segmentation) -> list[tuple[str | None, int]]:
    """Label and area of each segment."""
    return [(segment.label, segment.area) for segment in answer.segments]
