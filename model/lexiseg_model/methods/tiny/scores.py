"""Scores of words in the cells of an image.

A class's score in a cell is the scaled cosine with its best text, plus the log presence in the whole image; words of
training, and in part words near them, add a learned direction. The words of a question are then drawn together: low
scores are raised, and mixed with the likeness to a word's own surest cells. Cells of a whole are divided between it and
its parts.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.tiny.settings import Parts, TogetherRule
from lexiseg_model.segmenter import AskedParts, Excluded, TextBank
from lexiseg_model.types import ClassEntry

PRESENCE_FLOOR = -6.0  # log probability; bounds the penalty of an absent class, so that pixels can overrule the image
SUREST = 0.01  # share of the pixels, the most probable ones, whose probabilities enter the presence of a class
EXCLUDED = -50.0  # logit of a cell that a class does not get
CHUNK = 64  # classes in one product, which bounds memory for many synonyms
NO_SCORE = -1e4  # of a word that does not compete
SUREST_OF_PART = 100  # one cell of so many says whether a part is there
PART_EVIDENCE = -1.7  # logit added to what the surest cells of a part exceed; fitted on training photographs


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


def together(scores: Tensor, pixels: Tensor, scale: Tensor, rule: TogetherRule, share: Tensor) -> Tensor:
    """Scores [K, ...] of words in company, by their own and the embeddings [D, ...] of cells; `share` [] of the rule
    holds."""
    flat, maps = scores.flatten(1), pixels.flatten(1)
    n = flat.shape[1]
    surest, places = flat.topk((n + rule.prototype - 1) // rule.prototype, dim=1)
    height = surest[:, : (n + rule.surest - 1) // rule.surest].mean(1)
    raised = rule.raised * (height.amax(0) - height).clamp_max(rule.most)
    own = maps.index_select(1, places.flatten()).view(len(maps), *places.shape).mean(2).T  # [K, D]
    length = own.norm(dim=1, keepdim=True)  # the mean likeness of the surest cells, where both stay equally high
    levels = surest.mean(1, keepdim=True) - scale * length + (raised / rule.mixed)[:, None]
    mixed = flat.lerp((own / length * scale) @ maps + levels, rule.mixed * share)
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


def asked_parts(
    classes: Sequence[ClassEntry], kinds: Sequence[Parts], taught: Container[str], directions: Tensor
) -> AskedParts | None:
    """The parts among classes that are not taught, and their rows of `directions` [M, F] in the wholes asked with
    them."""
    by_words = [() if entry.is_taught else [name.lower() for name in entry.names] for entry in classes]
    names = [
        {form for name in some if name not in taught for form in (name, name.removesuffix("s"))} for some in by_words
    ]
    parts = [index for index, forms in enumerate(names) if any(forms & kind.directions.keys() for kind in kinds)]
    if not parts:
        return None
    is_part, pairs = torch.zeros(len(classes), dtype=torch.bool), dict[tuple[int, int], int]()
    is_part[parts] = True
    for kind in kinds:
        wholes = [index for index, forms in enumerate(names) if forms & kind.wholes]
        for part in parts:
            for name in names[part] & kind.directions.keys():
                pairs.update({(part, whole): kind.directions[name] for whole in wholes if whole != part})
    places = torch.tensor([*pairs], dtype=torch.int64, device=directions.device).view(-1, 2)
    rows = torch.tensor([*pairs.values()], dtype=torch.int64, device=directions.device)
    return AskedParts(
        is_part.to(directions.device), places[:, 0], places[:, 1], directions[rows.clamp_min(0)], rows < 0
    )


def divide_wholes(scores: Tensor, parts: AskedParts, products: Tensor, share: Tensor) -> Tensor:
    """Scores [K, ...] in which `share` [] of a part's is at least its whole's plus the `products` [P, ...] of the
    pair."""
    flat, beyond = scores.flatten(1), products.flatten(1)
    rows, no = parts.part[:, None].expand_as(beyond), torch.zeros_like(flat[:, 0])
    involved = (no.scatter(0, parts.part, 1.0).scatter(0, parts.whole, 1.0) > 0)[:, None]
    divided = flat
    for _ in range(2):  # a part may have parts: a head its eyes
        divided = flat.scatter_reduce(0, rows, divided.index_select(0, parts.whole) + beyond, "amax")
    own, best = (some.masked_fill(~involved, NO_SCORE).amax(0) for some in (flat, divided))
    return flat.lerp(torch.where(involved, divided - (best - own), flat), share).view(scores.shape)


def presence_of_parts(presence: Tensor, scores: Tensor, part: Tensor, wholes: Tensor, exceeded: Tensor) -> Tensor:
    """Presence [A] of parts by their surest cells, where the head for whole images, which knows few, gives `presence`.

    There `scores` [A, n] exceed the background's, `exceeded` [n], and `wholes` [P, n] of each `part` [P], a row of A.
    """
    rivals = exceeded.expand_as(scores).scatter_reduce(0, part[:, None].expand_as(wholes), wholes, "amax")
    surest = (scores - rivals).topk((scores.shape[1] + SUREST_OF_PART - 1) // SUREST_OF_PART, dim=1).values
    evidence = surest.logsumexp(1) - torch.ones_like(surest[0]).sum().log() + PART_EVIDENCE
    is_inside = torch.zeros_like(presence).scatter(0, part, 1.0) > 0
    return torch.where(is_inside, evidence, torch.maximum(presence, evidence))
