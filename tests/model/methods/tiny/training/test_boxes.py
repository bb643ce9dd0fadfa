"""Boxes become masks where the prompt head is confident, and are ignored elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.data.indexed import IGNORE
from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.training.boxes import Box, boxed_photographs, cut_boxes
from lexiseg_model.segmenter import PromptMasks, Segmenter
from lexiseg_model.types import Prompt
from tests.model.methods.tiny.training.weak import SIZE, write_boxes

IMAGE = np.zeros((*SIZE, 3), np.uint8)


class Filling:
    """Cuts the whole box out, or what is left of it; its quality is told."""

    def __init__(self, quality: float = 0.9, shrink: int = 0, edge: float = -8.0) -> None:
        self.quality, self.shrink, self.edge = quality, shrink, edge

    def encode(self, rgb: NDArray[np.uint8], options: object) -> Features:
        return cast(Features, None)

    def prompt(self, features: object, prompts: list[Prompt]) -> list[PromptMasks]:
        answers = []
        for prompt in prompts:
            assert prompt.box is not None
            x0, y0, x1, y1 = (int(side) for side in prompt.box)
            logits = torch.full((1, *SIZE), self.edge)
            logits[:, y0 + self.shrink : y1 - self.shrink, x0 + self.shrink : x1 - self.shrink] = 8.0
            answers.append(PromptMasks(logits, torch.tensor([self.quality])))
        return answers


def cut(head: Filling, *boxes: Box, complete: bool = True) -> NDArray[np.uint8]:
    return cut_boxes(cast(Segmenter, head), IMAGE, list(boxes), complete)


CAT = Box(1, (10.0, 10.0, 40.0, 40.0))


def test_a_confident_mask_gets_its_class_and_the_rest_is_background() -> None:
    mask = cut(Filling(), CAT)

    assert (mask[10:40, 10:40] == 1).all()
    assert (mask == 1).sum() == 900
    assert mask[0, 0] == 0


@pytest.mark.parametrize("head", [Filling(quality=0.3), Filling(shrink=10)], ids=["poor", "smaller than its box"])
def test_an_unreliable_mask_is_ignored(head: Filling) -> None:
    mask = cut(head, CAT)

    assert (mask[10:40, 10:40] == IGNORE).all()
    assert mask[0, 0] == 0


def test_a_crowded_photograph_contributes_only_its_labels(tmp_path: Path) -> None:
    photographs = list(boxed_photographs(write_boxes(tmp_path) / "boxed", cast(Segmenter, Filling()), frozenset(), {}))

    assert [photograph.present for photograph in photographs] == [("cat",), ("dog",), ()]
    assert [photograph.mask is None for photograph in photographs] == [False, True, False]
