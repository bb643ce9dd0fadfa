"""Scores of words in the cells of an image.

A class's score in a cell is the scaled cosine with its best text, plus the log presence in the whole image; words of
training, and in part words near them, add a learned direction. The words of a question are then drawn together: low
scores are raised, and mixed with the likeness to a word's own surest cells. Classes of a head are a question of their
own, as in its lessons. Cells of a whole are divided between it and its parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.tiny.settings import TogetherRule
from lexiseg_model.segmenter import Excluded, TextBank

PRESENCE_FLOOR = -6.0  # log probability; bounds the penalty of an absent class, so that pixels can overrule the image
SUREST = 0.01  # share of the pixels, the most probable ones, whose probabilities enter the presence of a class
EXCLUDED = -50.0  # logit of a cell that a class does not get
CHUNK = 64  # classes in one product, which bounds memory for many synonyms


def presence(image: Tensor, cells: Tensor, texts: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Logit that a class is anywhere: of a scene [..., D], its cells [..., D, h, w] and texts [..., T, D] -> [...,
    T]."""
    whole = (texts @ image[..., None])[..., 0]
    flat = cells.flatten(-2)
    evidence = torch.logsumexp(texts @ flat, -1) - math.log(flat.shape[-1])
    return scale * whole + evidence + bias


def log_presence(presence: Tensor) -> Tensor:
    """The log probability of `presence` logits, at least PRESENCE_FLOOR."""
    return F.logsigmoid(presence).clamp_min(PRESENCE_FLOOR)


def best_per_class(pixels: Tensor, middle: Tensor, bank: TextBank, added: Tensor, scale: float) -> Tensor:
    """Scores [K, h, w] of embeddings [D, h, w] and the trunk's map [120, a, b]: scaled cosine plus `added` [T] and the
    shifts of words, of the best text of each class."""
    best, width, vectors = [], len(pixels), bank.vectors * scale
    if bank.shifts is not None:
        vectors, added = vectors + bank.shifts[:, :width], added + bank.shifts[:, -1]
    first = np.searchsorted(bank.owner, np.arange(bank.n_classes + 1))
    for start in range(0, bank.n_classes, CHUNK):
        end = min(start + CHUNK, bank.n_classes)
        texts = slice(first[start], first[end])
        # [t, D] x [D, h*w] -> [t, h*w]
        # Added in place: `addmm` would first expand it to a map for each text.
        scores = vectors[texts].mm(pixels.flatten(1)).add_(added[texts, None])
        if bank.shifts is not None:
            coarse = (bank.shifts[texts, width:-1] @ middle.flatten(1)).view(len(scores), *middle.shape[1:])
            scores += enlarged(coarse, pixels.shape[1:]).flatten(1)
        if len(scores) > end - start:
            inside = pairwise(first[start : end + 1] - first[start])
            scores = torch.stack([scores[a:b].amax(0) for a, b in inside])
        best.append(scores.view(end - start, *pixels.shape[1:]))
    return best[0] if len(best) == 1 else torch.cat(best)


def enlarged(maps: Tensor, size: torch.Size) -> Tensor:
    """Maps [C, a, b] at another `size`: [C, *size]. Regions have one size."""
    if maps.shape[1:] == size:
        return maps
    return F.interpolate(maps[None], size=size, mode="bilinear")[0]


def share_of(rule: TogetherRule, n_words: Tensor) -> Tensor:
    """How much of the rule holds for so many words []: 0..1, nothing for one or for a long list."""
    return (n_words > 1) * ((rule.until - n_words) / (rule.until - rule.full)).clamp(0, 1)


def together(scores: Tensor, pixels: Tensor, scale: Tensor, rule: TogetherRule, questions: Sequence[Tensor]) -> Tensor:
    """Scores [K, ...] of words in company, by their own and the embeddings [D, ...] of cells. `questions`: which words
    [K] are of each; those of none keep their scores."""
    flat, maps = scores.flatten(1), pixels.flatten(1)
    n = flat.shape[1]
    surest, places = flat.topk((n + rule.prototype - 1) // rule.prototype, dim=1)
    height = surest[:, : (n + rule.surest - 1) // rule.surest].mean(1)
    best, share = height, torch.zeros_like(height)
    for members in questions:
        best = torch.where(members, height.masked_fill(~members, -torch.inf).amax(0), best)
        share = torch.where(members, share_of(rule, members.to(height).sum()), share)
    raised = rule.raised * (best - height).clamp_max(rule.most)
    own = maps.index_select(1, places.flatten()).view(len(maps), *places.shape).mean(2).T  # [K, D]
    length = own.norm(dim=1, keepdim=True)  # the mean likeness of the surest cells, where both stay equally high
    levels = surest.mean(1, keepdim=True) - scale * length + (raised / rule.mixed)[:, None]
    mixed = flat.lerp((own / length * scale) @ maps + levels, rule.mixed * share[:, None])
    return mixed.view(scores.shape)


def reference(scores: Tensor, n_classes: int, background: float) -> Tensor:
    """What a class must exceed [h, w]: the background's bound, and the scores [K, h, w] of background words."""
    bound = scores.new_full(scores.shape[1:], background)
    return torch.maximum(bound, scores[n_classes:].amax(0)) if len(scores) > n_classes else bound


def is_excluded(pixels: Tensor, excluded: Excluded) -> Tensor:
    """Which of the embeddings [D, n] a class does not get: [n] bool."""
    negative = excluded.negatives @ pixels  # [N, D] x [D, n]
    is_like = (negative >= excluded.bound[:, None]).any(0)
    return is_like & (negative.amax(0) > (excluded.examples @ pixels).amax(0))


def mask_means(masks: Tensor, pixels: Tensor) -> Tensor:
    """Mean embeddings [N, D] under masks, logits [N, a, b], of [D, h, w]; an empty mask counts its highest cell."""
    cells = F.interpolate(masks.to(pixels)[:, None], size=pixels.shape[1:], mode="bilinear")[:, 0].flatten(1)
    inside = (cells > 0) | (cells == cells.amax(1, keepdim=True))
    weights = inside / inside.sum(1, keepdim=True)
    return weights @ pixels.flatten(1).T  # [N, h*w] x [h*w, D]
