"""Masks of stage one: for prompts of one image, and proposals of a grid of points, the best by quality and overlap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from lexiseg_model.abilities import PromptMasks, require_shown
from lexiseg_model.masks.nms import suppress
from lexiseg_model.methods.unpair_seg import compatibility
from lexiseg_model.methods.unpair_seg.layers.mask_decoder import MASK_THRESHOLD, Prediction
from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.layers.prompts import Places
from lexiseg_model.methods.unpair_seg.network import PromptableMasks
from lexiseg_model.methods.unpair_seg.settings import PROPOSALS, Compatibility, ProposalSettings
from lexiseg_model.types import Prompt

Size = tuple[int, int]

PER_PASS = 100  # prompts that go through the mask decoder together, as released


def grid_points(n: int, image: Size, canvas: Size) -> Tensor:
    """Points [n * n, 2] (x, y), in pixels of a canvas, of a grid over the image in its top left corner, row by row.

    As published, the image ends at the centre of its last pixel, not at its edge.
    """
    steps = torch.linspace(1 / (2 * n), 1 - 1 / (2 * n), n)
    last = torch.tensor([image[1] - 1, image[0] - 1], dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    scale = (max(canvas) - 1) / last.max().clamp(min=1)
    return torch.stack([x, y], -1).flatten(0, 1) * (last * scale)


@torch.no_grad()
def propose(
    network: PromptableMasks,
    features: PixelFeatures,
    points: Tensor,
    canvas: Size,
    settings: ProposalSettings = PROPOSALS,
    mode: Compatibility = "none",
) -> PromptMasks:
    """Propose masks from points [P, 2] of the canvas, best first, as logits over the network's input; memory is
    bounded."""
    masks: list[Tensor] = []
    quality, inside = [], []
    for some in torch.split(points.to(features.masks), settings.points_per_pass):
        tokens = network.predictor.prompt_encoder.points(some[None], features.masks, canvas)
        prediction = network.decode(features, tokens)
        of_some = prediction.quality.float().sigmoid().flatten()
        if mode == "released":  # twice: 0.5 to 0.731
            of_some = of_some.sigmoid()
        good = (of_some >= (compatibility.QUALITY if mode == "released" else settings.quality)).nonzero()[:, 0]
        some_masks = prediction.masks.flatten(0, 2)[good]
        masks.extend(some_masks)
        quality.append(of_some[good])
        if mode == "released":
            inside.append(compatibility.binarised(some_masks, canvas))
        else:
            inside.append(some_masks.sigmoid() >= MASK_THRESHOLD)
    by_quality = torch.cat(quality)
    best = suppress(torch.cat(inside), by_quality, settings.rule)
    best_masks = [masks[index] for index in best.tolist()]
    empty = features.masks.new_zeros(0, *features.masks.shape[2:])
    return PromptMasks(torch.stack(best_masks) if best_masks else empty, by_quality[best])


@torch.no_grad()
def prompt_masks(
    network: PromptableMasks,
    features: PixelFeatures,
    prompts: Sequence[Prompt],
    scale: tuple[float, float],
    canvas: tuple[int, int],
    mode: Compatibility = "none",
) -> list[PromptMasks]:
    """Predict the masks of every prompt of one image, best first: four of a single positive point, one of any other.

    `scale` (x, y) is from pixels of the image to those of the network's input, `canvas`.
    """
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
