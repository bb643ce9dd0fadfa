"""Predict masks for prompts in one image: convert prompts to tensors, run the head in batches, refine the masks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import Prompter, PromptMasks, Proposals, require_shown
from lexiseg_model.errors import TaskError
from lexiseg_model.export.exportable import TorchPass
from lexiseg_model.features import Features
from lexiseg_model.masks.parts import without_crumbs
from lexiseg_model.methods.tiny import closer_look
from lexiseg_model.methods.tiny.closer_look import Crop, around, cells_of
from lexiseg_model.methods.tiny.graphs import MaskPredictor, PromptGraphs
from lexiseg_model.methods.tiny.mask_rules import clip_to_box, is_exact, smoothed
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.prompt_head import MaskAnswers, PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.proposing import propose
from lexiseg_model.methods.tiny.settings import TinySettings
from lexiseg_model.tasks.mask_prompts import MAX_ANSWERS
from lexiseg_model.types import Point, Prompt

MAX_BATCH = 50  # prompts in one pass through the head
NO_BOX = (0.0, 0.0, 0.0, 0.0)

Scale = tuple[float, float]  # (x, y): pixels of the network's input per pixel of the image


def predict_masks(
    head: MaskPredictor, shared: SharedMaps, prompts: Sequence[Prompt], scale: Scale
) -> list[PromptMasks]:
    """Predict masks of prompts in one image, logits at stride 4, the best first: four for a single positive point, else
    one."""
    answers: dict[int, PromptMasks] = {}
    for is_click, predict in ((True, head.click_masks), (False, head.prompt_mask)):
        indices = [index for index, prompt in enumerate(prompts) if prompt.is_lone_click == is_click]
        for start in range(0, len(indices), MAX_BATCH):
            batch = indices[start : start + MAX_BATCH]
            predicted = predict(shared, as_tensors([prompts[index] for index in batch], scale, shared.fine.device))
            answers |= zip(batch, _best_first(predicted), strict=True)
    return [answers[index] for index in range(len(prompts))]


def before_corrections(prompt: Prompt) -> tuple[Prompt, tuple[Point, ...]]:
    """What a prompt shows before its first negative point, and the points that correct this, in their order."""
    if not prompt.negatives or (prompt.box is None and not prompt.positives):
        return prompt, ()
    leading = tuple(takewhile(lambda point: point.positive, prompt.points))
    if leading or prompt.box is not None:
        return replace(prompt, points=leading), prompt.points[len(leading) :]
    return replace(prompt, points=prompt.positives), prompt.negatives


def correct_mask(
    head: MaskPredictor, shared: SharedMaps, mask: Tensor, points: Sequence[Point], n_applied: int, scale: Scale
) -> PromptMasks:
    """A mask, logits [h, w], that follows the first `n_applied` points, corrected by one of the others after the
    other."""
    ends = range(n_applied + 1, len(points) + 1)
    for n in (*ends[: MAX_ANSWERS - 1], *ends[MAX_ANSWERS - 1 :][-1:]):
        tensors = as_tensors([Prompt(tuple(points[:n]))], scale, shared.fine.device)
        answer, quality = head.prompt_mask(shared, tensors, mask.to(shared.fine)[None, None])
        mask = answer[0, 0, 0].float()
    return PromptMasks(mask[None], quality[0, 0].float().sigmoid())


def _boxes(prompts: Sequence[Prompt], scale: Scale, device: torch.device) -> Tensor:
    """Boxes [N, 4] in pixels of the network's input; NO_BOX for prompts without one."""
    boxes = torch.tensor([prompt.box or NO_BOX for prompt in prompts], device=device)
    return boxes * torch.tensor(scale * 2, device=device)


def as_tensors(prompts: Sequence[Prompt], scale: Scale, device: torch.device) -> Prompts:
    """Convert the prompts of one image to tensors, padded to the largest number of points."""
    longest = max(1, *(len(prompt.points) for prompt in prompts))
    points = np.zeros((1, len(prompts), longest, 2), np.float32)
    signs = np.zeros((1, len(prompts), longest), np.float32)
    for row, prompt in enumerate(prompts):
        for column, point in enumerate(prompt.points):
            points[0, row, column] = point.x, point.y
            signs[0, row, column] = 1.0 if point.positive else -1.0
    points *= np.array(scale, np.float32)
    has_box = np.array([[prompt.box is not None for prompt in prompts]], np.float32)
    tensors = [torch.from_numpy(array).to(device) for array in (points, signs, has_box)]
    return Prompts(tensors[0], tensors[1], _boxes(prompts, scale, device)[None], tensors[2])


def _best_first(predicted: MaskAnswers) -> list[PromptMasks]:
    masks, quality = predicted.masks[0].float(), predicted.quality[0].float().sigmoid()
    if masks.shape[1] > 1:
        indices = quality.argsort(dim=1, descending=True, stable=True)
        masks, quality = masks.take_along_dim(indices[..., None, None], 1), quality.gather(1, indices)
    return [PromptMasks(*answer) for answer in zip(masks, quality, strict=True)]


class MaskSide(TorchPass):
    """What the segmenter does with masks: prompts, proposals, places."""

    settings: TinySettings
    _head: PromptHead | None
    _graphs: PromptGraphs | None
    _device: torch.device
    _dtype: torch.dtype

    @abstractmethod
    def _pixels(self, features: Features) -> Tensor: ...

    @abstractmethod
    def embed_masks(self, features: Features, masks: Tensor) -> Tensor: ...

    @abstractmethod
    def guide(self, features: Features) -> Tensor: ...

    @torch.inference_mode()
    def propose(self, features: Features) -> Proposals:
        head, shared = self._predictor(), self._shared(features)

        def make() -> Proposals:
            masks, quality = propose(head, shared, self.settings.proposals)
            return Proposals(masks, self.embed_masks(features, masks), quality)

        return features.derived.once("proposals", make)

    @torch.inference_mode()
    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        require_shown(prompts)
        self._predictor()  # raises without one
        settings, scale = self.settings, self._scale_of(features)
        crops = [closer_look.crop_for(prompt, features, self.card.input.multiple, settings.looks) for prompt in prompts]
        not_enlarged = [prompt for prompt, crop in zip(prompts, crops, strict=True) if crop is None]
        usual = iter(self._refined_masks(features, not_enlarged) if not_enlarged else ())
        answers = []
        for prompt, crop in zip(prompts, crops, strict=True):
            answer = next(usual) if crop is None else self._look_closer(prompt, crop, features)
            if is_exact(prompt):
                masks, rule = answer.masks, settings.boxes if crop is None else settings.looks.boxes
                if prompt.box is not None:
                    masks = clip_to_box(*answer, _boxes([prompt], scale, masks.device)[0], rule)
                answer = answer._replace(masks=without_crumbs(masks, settings.crumbs))
            answers.append(answer)
        return answers

    prompt_with_negatives = prompt  # the head was trained with them

    def near(self, features: Features, boxes: NDArray[np.float64]) -> Prompter:
        scale = self._scale_of(features)
        part = around(boxes * np.tile(scale, 2), cells_of(features))
        features_of_part = part.of(features)

        def prompt(prompts: Sequence[Prompt]) -> list[PromptMasks]:
            answers = self.prompt(features_of_part, [part.moved(prompt, scale) for prompt in prompts])
            return [PromptMasks(part.widened(answer.masks), answer.quality) for answer in answers]

        return prompt

    def mask_cells(self, features: Features) -> tuple[int, int]:
        return cells_of(features)

    @torch.inference_mode()
    def after_point(self, features: Features, mask: Tensor, point: Point) -> PromptMasks:
        return correct_mask(self._predictor(), self._shared(features), mask, [point], 0, self._scale_of(features))

    def _look_closer(self, prompt: Prompt, crop: Crop, whole: Features) -> PromptMasks:
        """Masks of a small box from an enlarged crop, on the cells of the whole image."""
        features = closer_look.encode_crop(crop, whole, lambda plan: self.assemble(plan, self.encode_tiles(plan.tiles)))
        [(masks, quality)] = self._refined_masks(features, [closer_look.to_crop(prompt, whole, crop)])
        return PromptMasks(closer_look.to_image_cells(masks, crop, whole), quality)

    def _refined_masks(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """Masks of the head, smoothed along the image's edges, and then corrected from the first negative point on."""
        scale = self._scale_of(features)
        size, head, shared = cells_of(features), self._predictor(), self._shared(features)
        cells = features.derived.once(
            "colours", lambda: F.interpolate(self.guide(features)[None].float(), size=size, mode="area")[0]
        )
        firsts, corrections = zip(*map(before_corrections, prompts), strict=True)
        refined = []
        for answer, first, points in zip(self.head_masks(features, firsts), firsts, corrections, strict=True):
            masks = answer._replace(masks=smoothed(answer.masks, cells)) if is_exact(first) else answer
            if points:
                masks = correct_mask(head, shared, masks.masks[0], (*first.points, *points), len(first.points), scale)
            refined.append(masks)
        return refined

    @torch.inference_mode()
    def head_masks(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """The ordered masks of the head, before they are smoothed and limited to boxes."""
        head, shared = self._predictor(), self._shared(features)
        return predict_masks(head, shared, prompts, self._scale_of(features))

    def places(self, features: Features) -> Tensor:
        """Unit embeddings [D, h, w] float32 at stride 8."""
        pixels = self._pixels(features)
        rows = pixels[:, 0::2] + pixels[:, 1::2]  # a tenth of the time of avg_pool2d and normalize
        sums = rows[..., 0::2] + rows[..., 1::2]
        return sums / sums.square().sum(0).sqrt()

    patches = places

    def _predictor(self) -> MaskPredictor:
        if self._head is None:
            raise TaskError(f"{self.card.name} has no prompt head: it takes no prompts and proposes no masks")
        return self._graphs or self._head

    def _shared(self, features: Features) -> SharedMaps:

        def make() -> SharedMaps:
            pixels, head = features.tensors["pixels"], self._predictor()
            if isinstance(head, PromptGraphs):
                return head.maps(pixels, features.tensors["guide"])
            guide = self.guide(features)[None].to(self._dtype)
            maps: SharedMaps = head.shared(pixels.to(self._device, self._dtype)[None], guide)
            return maps

        return features.derived.once("shared", make)

    def _scale_of(self, features: Features) -> tuple[float, float]:
        """Pixels of the network's input per pixel of the image, x and y."""
        (rows, columns), (height, width) = cells_of(features), features.size
        return columns * STRIDE / width, rows * STRIDE / height
