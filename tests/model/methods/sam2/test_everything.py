"""Proposals of a grid of points, against transformers' masks of each point and suppression by loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lexiseg_model import tasks
from lexiseg_model.methods.sam2.segmenter import Sam2Segmenter
from lexiseg_model.types import Vocabulary
from lexiseg_model.video.sam import Grid, everything
from tests.model.conformance.asking import SIZE, blocks, seen
from tests.model.methods import pretrained
from tests.model.methods.sam2 import small

# Of torch's compiler, which torchvision imports where its own library does not load.
pytestmark = pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
GRID = Grid(side=3, quality=0.3, stability=0.05, at_once=4)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


@pytest.mark.parametrize("seed", [4, 5])
def test_the_masks_are_those_of_each_point_that_are_good_stable_and_new(seed: int) -> None:
    from transformers import Sam2Model, Sam2Processor

    ours, hub = small.segmenter(seed=seed), pretrained.imported("sam2", small.save, seed).parent / "hub"
    processor, model = Sam2Processor.from_pretrained(hub), Sam2Model.from_pretrained(hub).eval()
    found: list[tuple[float, torch.Tensor]] = []
    for row in range(GRID.side):
        for column in range(GRID.side):
            place = [(column + 0.5) * SIZE[1] / GRID.side, (row + 0.5) * SIZE[0] / GRID.side]
            inputs = processor(
                images=Image.fromarray(blocks()), input_points=[[[place]]], input_labels=[[[1]]], return_tensors="pt"
            )
            del inputs["original_sizes"]
            with torch.inference_mode():
                theirs = model(**inputs, multimask_output=True)
            for quality, mask in zip(theirs.iou_scores[0, 0].tolist(), theirs.pred_masks[0, 0], strict=True):
                lower = int((mask > -1).sum())
                if quality > GRID.quality and lower and int((mask > 1).sum()) / lower >= GRID.stability:
                    found.append((quality, mask))
    expected: list[tuple[float, torch.Tensor]] = []
    for quality, mask in sorted(found, key=lambda each: -each[0]):
        inside = (mask > 0).numpy()
        if all(iou(inside, (other > 0).numpy()) < 0.7 for _, other in expected):
            expected.append((quality, mask))

    assert isinstance(ours, Sam2Segmenter)
    masks, embeddings, qualities = everything(ours.sam_head, seen(ours, blocks()), GRID)

    assert 0 < len(expected) < len(found)
    assert embeddings.shape == (len(expected), 0)
    np.testing.assert_allclose(qualities, [min(1.0, quality) for quality, _ in expected], atol=1e-4)
    for mine, (_, theirs_mask) in zip(masks, expected, strict=True):
        torch.testing.assert_close(mine.float(), theirs_mask, atol=2e-2, rtol=2e-3)  # kept in half precision


def test_everything_is_a_task_without_words() -> None:
    ours = small.segmenter()

    answer = tasks.segment("everything", ours, seen(ours, blocks()), Vocabulary((), None), tasks.Options())

    assert answer.task == "everything"
    assert all(segment.label is None for segment in answer.segments)
