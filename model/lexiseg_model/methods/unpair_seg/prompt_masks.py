"""Masks for the prompts of one image. Prompts of the same form go through the network in one batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from lexiseg_model.errors import ShapeError
from lexiseg_model.methods.unpair_seg import compatibility
from lexiseg_model.methods.unpair_seg.layers.mask_decoder import Prediction
from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.layers.prompts import Places
from lexiseg_model.methods.unpair_seg.network import PromptableMasks
from lexiseg_model.methods.unpair_seg.settings import Compatibility
from lexiseg_model.segmenter import PromptMasks, require_shown
from lexiseg_model.types import Prompt

PER_PASS = 100  # prompts that go through the mask decoder together, as released


@torch.no_grad()
def prompt_masks(
    network: PromptableMasks,
    features: PixelFeatures,
    prompts: Sequence[Prompt],
    scale: tuple[float, float],
    canvas: tuple[int, int],
    mode: Compatibility = "none",
) -> list[PromptMasks]:
    """Predict the masks of every prompt of one image.

    Args:
        network: the learned part of stage one.
        features: features of one image (batch axis 1).
        prompts: points, boxes or both, in pixels of the image.
        scale: (x, y) factors from image pixels to pixels of the network's input.
        canvas: (height, width) of the network's input.
        mode: `released` repeats the authors' handling of several points (`compatibility.misread`).

    Returns:
        One entry per prompt, in order: logits [M, h, w] over the input and their quality [M], best first. M is 4 for a
        single positive point, 1 for any other prompt.

    Raises:
        OptionError: a prompt has neither points nor a box.
        ShapeError: the features are not those of exactly one image.
    """
    if len(features.masks) != 1:
        raise ShapeError(f"expected the features of one image, got {len(features.masks)}")
    require_shown(prompts)
    alike: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        alike[len(prompt.points), prompt.box is not None, prompt.is_lone_click].append(index)
    answers: dict[int, PromptMasks] = {}
    for members in alike.values():
        for start in range(0, len(members), PER_PASS):
            some = members[start : start + PER_PASS]
            prediction = _pass(network, features, [prompts[index] for index in some], scale, canvas, mode)
            answers |= zip(some, map(_best_first, prediction.masks[0], prediction.quality[0]), strict=True)
    return [answers[index] for index in range(len(prompts))]


def _pass(
    network: PromptableMasks,
    features: PixelFeatures,
    prompts: Sequence[Prompt],
    scale: tuple[float, float],
    canvas: tuple[int, int],
    mode: Compatibility,
) -> Prediction:
    """Prediction for prompts of one form: the same number of points each, and all or none with a box."""
    by_axis, encoder = features.masks.new_tensor(scale), network.predictor.prompt_encoder
    n_points, has_box = len(prompts[0].points), prompts[0].box is not None
    points = features.masks.new_tensor([[[(at.x, at.y) for at in prompt.points] for prompt in prompts]])
    places = points.view(1, len(prompts), n_points, 2) * by_axis
    positive = torch.tensor([[[at.positive for at in prompt.points] for prompt in prompts]], device=points.device)
    if has_box:
        boxes = features.masks.new_tensor([[prompt.box for prompt in prompts]]) * by_axis.repeat(2)
        if not n_points:
            return network.decode(features, encoder.boxes(boxes, features.masks, canvas))
        together = Places.of_boxes(boxes).beside(Places.of_points(places, positive))
        return network.decode(features, encoder.together(together, features.masks, canvas))
    if n_points == 1 and positive.all():
        return network.decode(features, encoder.points(places[:, :, 0], features.masks, canvas))
    tokens = encoder.together(Places.of_points(places, positive), features.masks, canvas)
    return network.decode(features, compatibility.misread(tokens) if mode == "released" else tokens)


def _best_first(masks: Tensor, quality: Tensor) -> PromptMasks:
    order = quality.argsort(descending=True, stable=True)
    return PromptMasks(masks[order], quality[order].float().sigmoid())
