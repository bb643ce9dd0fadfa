"""Trident (Shi et al., ICCV 2025) transcribed from its released code: float64, plain arrays.

What is transcribed: `custom_attn`, `guidance_attn`, `get_sam_sim` of the image tower,
`preprocess_image`, `postprocess_result` and `sam_refinement`. The networks around them (CLIP, DINO, SAM) are the
caller's; half precision is left out. Slips are kept where they change a result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Size = tuple[int, int]
Corner = tuple[int, int, int, int]  # y1, x1, y2, x2

MINIMAL_AREA, MASK_COEFFICIENT = 225, 0.005


def bilinear(maps: Array, size: Size) -> Array:
    """[C, h, w] -> [C, *size], half-pixel centres."""
    return torch.nn.functional.interpolate(torch.from_numpy(maps)[None], size, mode="bilinear")[0].numpy()


def nearest(labels: NDArray[Any], size: Size) -> NDArray[Any]:
    rows = [y * labels.shape[0] // size[0] for y in range(size[0])]
    columns = [x * labels.shape[1] // size[1] for x in range(size[1])]
    return labels[np.ix_(rows, columns)]


def preprocessed_size(size: Size, stride: int, crop: int) -> Size:
    """The size that `preprocess_image` gives an image."""
    height, width = size
    if height % stride == 0 and width % stride == 0:
        return size
    longer = max(size)
    target = longer if longer % stride == 0 else (longer // stride + 1) * stride
    sides = []
    for side in size:
        new = int(side * target / longer)
        if new % stride:
            new = (new // stride + 1) * stride
        sides.append(max(new, crop))
    return sides[0], sides[1]


def proxy_tokens(values: list[Array], likeness: list[Array], beta: float, gamma: float) -> list[Array]:
    """`custom_attn` without its last linear layer: values [C, h, w] and DINO's maps [D, H, W] -> [C, H, W]."""
    flat = [each.reshape(len(each), -1).T for each in likeness]
    units = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in flat]
    similar = [each @ each.T for each in units]
    mean = np.mean(similar)  # of the whole batch, which is all windows of the picture
    out = []
    for value, alike, shape in zip(values, similar, (each.shape[1:] for each in likeness), strict=True):
        logits = (alike - mean * beta) * gamma
        shares = np.where(logits < 0, 0.0, np.exp(logits))
        shares /= shares.sum(1, keepdims=True)
        fine = bilinear(value, (shape[0], shape[1])).reshape(len(value), -1).T
        out.append((shares @ fine).T.reshape(-1, *shape))
    return out


def spliced(tokens: list[Array], corners: list[Corner], size: Size, patch: int) -> Array:
    """First half of `guidance_attn`: tokens [C, h, w] of windows -> their mean over the image [C, H, W]."""
    coarse = ((corners[0][2] - corners[0][0]) // patch, (corners[0][3] - corners[0][1]) // patch)
    fine = tokens[0].shape[1:]
    if fine[1] % coarse[1]:
        ratio = int(round(fine[0] / coarse[0]))
        tokens = [bilinear(each, (coarse[0] * ratio, coarse[1] * ratio)) for each in tokens]
    else:
        ratio = fine[1] // coarse[1]
    total = np.zeros((len(tokens[0]), size[0] // patch * ratio, size[1] // patch * ratio))
    hits = np.zeros(total.shape[1:])
    for each, corner in zip(tokens, corners, strict=True):
        y1, x1, y2, x2 = (length // patch * ratio for length in corner)
        total[:, y1:y2, x1:x2] += each
        hits[y1:y2, x1:x2] += 1
    return total / hits


def sam_attention(weights: Array, values: Array, cos_fac: float, refine_neg_cos: bool) -> Array:
    """`get_sam_sim`: weights [heads, P, P], values [heads, P, d] -> [P, P]."""
    heads, count = values.shape[:2]
    similar = np.zeros((heads, count, count))
    for head in range(heads):
        units = values[head] / np.linalg.norm(values[head], axis=1, keepdims=True)
        similar[head] = units @ units.T
    out = np.zeros((count, count))
    for row in range(count):
        bound = cos_fac * float(np.mean(similar[:, row]))  # over heads, then over the row
        if not refine_neg_cos and bound < 0:
            bound = 0.6
        bound = min(bound, 0.9)
        for head in range(heads):
            out[row] += np.where(similar[head, row] > bound, weights[head, row], 0.0) / heads
    return out / out.sum(1, keepdims=True)


def guided(plane: Array, views: list[tuple[Array, Array, Size]], cos_fac: float, refine_neg_cos: bool) -> Array:
    """Second half of `guidance_attn`: [C, H, W] -> [C, h, w], by weights, values and grid of each strip of the image."""
    half = plane.shape[2] // 2
    strips = [plane] if len(views) == 1 else [plane[:, :, :half], plane[:, :, half:]]
    out = []
    for strip, (weights, values, grid) in zip(strips, views, strict=True):
        tokens = bilinear(strip, grid).reshape(len(plane), -1).T
        out.append((sam_attention(weights, values, cos_fac, refine_neg_cos) @ tokens).T.reshape(-1, *grid))
    return np.concatenate(out, axis=2)


class Seg(NamedTuple):
    shares: Array  # [K, H, W]
    labels: Labels  # [H, W]


def postprocessed(cosines: Array, size: Size, n_classes: int, scale: float, threshold: float) -> Seg:
    """`get_trident_seg`'s last line and `postprocess_result`: cosines [T, h, w] of texts, those of class 0 first."""
    logits = bilinear(cosines, size) * scale
    shares = np.exp(logits - logits.max(0))
    shares /= shares.sum(0)
    if len(shares) != n_classes:
        shares = np.concatenate([shares[: -n_classes + 1].max(0)[None], shares[-n_classes + 1 :]])
    return Seg(shares, np.where(shares.max(0) < threshold, 0, shares.argmax(0)))


def longest_side(size: Size, side: int) -> Size:
    """`ResizeLongestSide.get_preprocess_shape`."""
    scale = side / max(size)
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


class Refinement:
    """`sam_refinement` over a `transformers.SamModel`, whose picture SAM saw at the size `seen`."""

    def __init__(self, sam: Any, embedding: torch.Tensor, seen: Size, coarse_thresh: float) -> None:
        self._sam, self._embedding, self._seen, self._coarse = sam, embedding, seen, coarse_thresh
        self._side = sam.config.vision_config.image_size

    def _regions(self, seg: Seg) -> tuple[Array, dict[int, list[NDArray[np.bool_]]]]:
        size = (seg.labels.shape[0] // 2, seg.labels.shape[1] // 2)
        shares, labels = bilinear(seg.shares, size), nearest(seg.labels, size)
        labels = np.where(shares.max(0) < self._coarse, len(shares), labels)
        regions = {}
        for index in range(len(shares)):
            if shares[index].max() < self._coarse:
                continue
            numbers, count = ndimage.label(labels == index, structure=np.ones((3, 3)))
            parts = [numbers == number for number in range(1, count + 1)]
            regions[index] = [part for part in parts if part.sum() >= MINIMAL_AREA]
        return shares, regions

    def _mask(self, share: Array, region: NDArray[np.bool_], size: Size) -> tuple[Array, float]:
        """Logits at the picture's size and the expected IoU."""
        low = 4 * self._embedding.shape[1]
        fitted = longest_side(size, low)
        hint = np.zeros((low, low))
        hint[: fitted[0], : fitted[1]] = bilinear(share[None], fitted)[0]
        hint = np.where(hint > self._coarse, MASK_COEFFICIENT * hint, 0.0)
        inside = longest_side((share.shape[0], share.shape[1]), self._side)
        scale = np.array([inside[1] / share.shape[1], inside[0] / share.shape[0]])
        rows, columns = np.nonzero(region)
        y, x = np.unravel_index(np.argmax(share * region), share.shape)
        corners = np.array([[columns.min(), rows.min()], [columns.max(), rows.max()]]) * scale
        out = self._sam(
            image_embeddings=self._embedding[None],
            input_points=torch.tensor(np.array([x, y]) * scale).float().view(1, 1, 1, 2),
            input_labels=torch.ones(1, 1, 1, dtype=torch.int64),
            input_boxes=torch.tensor(corners).float().view(1, 1, 4),
            input_masks=torch.tensor(hint).float()[None, None],
            multimask_output=False,
        )
        square = bilinear(out.pred_masks[0, 0].double().numpy(), (self._side, self._side))
        height, width = longest_side(self._seen, self._side)
        logits = bilinear(square[:, :height, :width], self._seen)
        return bilinear(logits, size)[0], float(out.iou_scores[0, 0, 0])

    def expected_iou(self, seg: Seg) -> list[float]:
        shares, regions = self._regions(seg)
        size = (seg.labels.shape[0], seg.labels.shape[1])
        return [self._mask(shares[index], part, size)[1] for index, parts in regions.items() for part in parts]

    def __call__(self, seg: Seg, iou_thresh: float) -> Seg:
        size = (seg.labels.shape[0], seg.labels.shape[1])
        half, regions = self._regions(seg)
        refined, failed, valid = np.zeros_like(seg.shares), np.zeros(size, bool), 0
        for index, parts in regions.items():
            masks = [(part, *self._mask(half[index], part, size)) for part in parts]
            good = [logits for _, logits, quality in masks if quality > iou_thresh]
            for part, _, quality in masks:
                if quality <= iou_thresh:
                    failed |= nearest(part, size)
            if good:
                valid += len(good)
                inside = np.any([logits > 0 for logits in good], axis=0)
                refined[index] = np.max([seg.shares[index] / (1 + np.exp(-logits)) for logits in good], axis=0) * inside
        if not valid:
            return seg
        labels = np.where(refined.sum(0) == 0, seg.labels, refined.argmax(0))
        # The released code also asks whether the failed regions' probabilities are higher, but of the maximum of both,
        # so that the labels stay.
        return Seg(np.maximum(refined, np.where(failed, seg.shares, 0.0)), labels)
