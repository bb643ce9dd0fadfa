"""A model with known answers to every task, and coloured scenes for it."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.features import Features
from lexiseg_model.types import Prompt
from lexiseg_train.data.scenes import Objects, PanopticTruth, Scene, SceneClass, SceneSet, objects_of, panoptic_of
from tests.model.stand_in import ColourSegmenter, picture

Truth = TypeVar("Truth")
BLOCK = 12  # pixels of a letter's side: one letter is enough for an object
IGNORED = 255


class PromptableColours(ColourSegmenter):
    """Answers a point with all pixels of its colour and then with those that are connected; a box with itself.

    `asked_for` are the prompts that came.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        super().__init__(words)
        tasks = ["semantic", "instance", "panoptic", "prompt"]
        self.card = self.card.model_copy(update={"tasks": tasks})
        self.asked_for: list[Prompt] = []

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        self.asked_for += prompts
        return [_shown_by(features.tensors["pixels"][:3], prompt) for prompt in prompts]


def _shown_by(pixels: Tensor, prompt: Prompt) -> PromptMasks:
    if prompt.box is not None:
        left, top, right, bottom = map(round, prompt.box)
        mask = torch.zeros(pixels.shape[1:], dtype=torch.bool)
        mask[top:bottom, left:right] = True
        return _logits(mask[None])
    (at,) = prompt.points
    row, column = int(at.y), int(at.x)
    alike = (pixels == pixels[:, row, column, None, None]).all(0)
    if not pixels[:, row, column].any():
        return _logits(alike[None][:0])  # black: no answer at all
    parts, _ = ndimage.label(alike.numpy())
    return _logits(torch.stack([alike, torch.from_numpy(parts == parts[row, column])]))


def _logits(masks: Tensor) -> PromptMasks:
    return PromptMasks(masks.float() * 8 - 4, torch.linspace(0.9, 0.5, len(masks)))


def blocks(rows: Sequence[str]) -> NDArray[np.uint8]:
    """[H, W, 3]: letters as in `picture`, each a block."""
    return picture(rows).repeat(BLOCK, 0).repeat(BLOCK, 1)


def labels(rows: Sequence[str]) -> NDArray[np.uint8]:
    """[H, W]: digits count in the class list, x is ignored, anything else is 254."""
    values = [[int(cell) if cell.isdigit() else IGNORED if cell == "x" else 254 for cell in row] for row in rows]
    drawn: NDArray[np.uint8] = np.array(values, np.uint8).repeat(BLOCK, 0).repeat(BLOCK, 1)
    return drawn


def panoptic(rows: Sequence[str], things: Sequence[int] = (0, 1, 2), stuff: Sequence[int] = ()) -> PanopticTruth:
    """Components of things, classes of stuff."""
    return panoptic_of(labels(rows), things, stuff, IGNORED)


def objects(rows: Sequence[str]) -> Objects:
    """Components of every class."""
    return objects_of(labels(rows), range(10), IGNORED)


def classes(*names: str, stuff: Sequence[str] = ()) -> tuple[SceneClass, ...]:
    return tuple(SceneClass(name, (name,), thing=name not in stuff) for name in names)


def scenes(
    of: tuple[SceneClass, ...], *flags: tuple[Sequence[str], Truth], background: bool = False
) -> SceneSet[Truth]:
    """A set of (picture in letters, truth)."""

    def scene(name: str, rows: Sequence[str], truth: Truth) -> Scene[Truth]:
        return Scene(name, lambda: blocks(rows), lambda: truth)

    drawn = tuple(scene(f"flag-{index}", *flag) for index, flag in enumerate(flags))
    return SceneSet("flags", "val", of, background, "components", None, drawn)
