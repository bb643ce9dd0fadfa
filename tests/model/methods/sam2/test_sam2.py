"""Masks of prompts, of a grid of points, and of objects in a video, against transformers' own classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.released import hugging_face
from lexiseg_model import tasks
from lexiseg_model.abilities import PromptMasks, prompts_of
from lexiseg_model.errors import WeightsError
from lexiseg_model.masks.rle import decode, encode_mask
from lexiseg_model.methods.sam2.head import Grid, everything
from lexiseg_model.methods.sam2.import_ import Options, read
from lexiseg_model.methods.sam2.segmenter import Sam2Segmenter
from lexiseg_model.testing.suite import BOX, CLICK, SIZE, blocks
from lexiseg_model.types import Point, Prompt, Vocabulary
from lexiseg_model.video.following import Follower, Start
from tests.model.methods import pretrained
from tests.model.methods.sam2 import small
from tests.model.methods.tipsv2 import small as tipsv2

NOTHING = Vocabulary((), None)
INSIDE = np.zeros((60, 100), bool)
INSIDE[10:40, 20:70] = True
MASK = Prompt(mask=encode_mask(INSIDE))
BOTH = Prompt((Point(30, 30), Point(80, 5, positive=False)), box=(10.0, 8.0, 90.0, 50.0), mask=encode_mask(INSIDE))


@pytest.mark.parametrize(("prompt", "seed"), [(MASK, 5), (BOTH, 0)])
def test_a_mask_as_prompt_has_the_masks_of_the_models_own_forward_pass(prompt: Prompt, seed: int) -> None:
    from transformers import Sam2Model, Sam2Processor

    ours, hub = small.segmenter(seed=seed), small.imported(seed).parent / "hub"
    processor = Sam2Processor.from_pretrained(hub)
    inputs = processor(images=Image.fromarray(blocks()), **hugging_face.inputs_of(prompt), return_tensors="pt")
    assert prompt.mask is not None
    inputs["input_masks"] = torch.from_numpy(decode(prompt.mask))[None, None].float() * 20 - 10
    with torch.inference_mode():
        theirs = Sam2Model.from_pretrained(hub).eval()(
            **{name: value for name, value in inputs.items() if name != "original_sizes"},
            multimask_output=prompt.is_lone_click,
        )

    (mine,) = prompts_of(ours).prompt(ours.encode(blocks()), [prompt])

    order = theirs.iou_scores[0, 0].argsort(descending=True)
    torch.testing.assert_close(mine.quality, theirs.iou_scores[0, 0][order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine.masks, theirs.pred_masks[0, 0][order], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seed", [17, 20])
def test_an_object_is_followed_as_by_transformers_streaming_session(seed: int) -> None:
    assert hugging_face.sam2(seed, (60, 100)) <= 1e-4


def test_an_object_is_followed_by_edgetam_as_by_transformers() -> None:
    assert hugging_face.edgetam(0, (60, 100)) <= 1e-4


def test_memory_of_a_stream_is_bounded_and_goes_with_its_objects() -> None:
    ours = small.segmenter()
    features, follower = ours.encode(blocks()), Follower()
    follower.step(ours, features, [Start(1, BOX), Start(2, CLICK)])
    held = []
    for _ in range(40):
        follower.step(ours, features)
        held.append(follower.nbytes)

    assert held[0] < held[15] == held[20] == held[39]
    follower.step(ours, features, ends=[1])
    assert len(follower) == 1
    assert follower.nbytes < held[39]
    follower.forget()
    assert (len(follower), follower.nbytes) == (0, 0)


def test_a_mask_prompt_is_answered_by_the_model_itself() -> None:
    ours = small.segmenter()
    features = ours.encode(blocks())
    masks: PromptMasks = prompts_of(ours).prompt(features, [BOTH])[0]

    answer = tasks.segment("prompt", ours, features, NOTHING, tasks.Options(prompts=(BOTH,)))

    size = torch.nn.functional.interpolate(masks.masks[None], (60, 100), mode="bilinear")[0, 0]
    assert answer.segments[0].quality == pytest.approx(float(masks.quality[0]))
    assert (decode(answer.segments[0].mask) == (size >= 0).numpy()).mean() > 0.999


@pytest.mark.parametrize(
    ("save", "says"),
    [
        (lambda folder: (folder / "sam2.1_hiera_tiny.pt").touch(), "layout of Meta's own code.*hf download"),
        (lambda folder: (folder / "other").touch(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot read it as SAM 2"),
        (tipsv2.save, r"cannot read a folder of tipsv2 as SAM 2\.1"),
    ],
)
def test_what_is_no_checkpoint_of_the_hub_is_refused(save: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    save(tmp_path)

    with pytest.raises(WeightsError, match=says):
        read(Options(checkpoint=tmp_path))


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
    masks, embeddings, qualities = everything(ours.sam_head, ours.encode(blocks()), GRID)

    assert 0 < len(expected) < len(found)
    assert embeddings.shape == (len(expected), 0)
    np.testing.assert_allclose(qualities, [min(1.0, quality) for quality, _ in expected], atol=1e-4)
    for mine, (_, theirs_mask) in zip(masks, expected, strict=True):
        torch.testing.assert_close(mine.float(), theirs_mask, atol=2e-2, rtol=2e-3)  # kept in half precision
