"""How the words of a question compete: none is lost because another one scores higher wherever it is.

A word of low scores is raised towards the best one, by the surest cells of both. Then each word's scores are mixed with
the likeness to its own surest cells, which tells a thing from what is beside it better than a text does.
"""

from __future__ import annotations

from torch import Tensor

from lexiseg_model.methods.tiny.settings import TogetherRule


def share_of(rule: TogetherRule, n_words: Tensor) -> Tensor:
    """How much of the rule holds for so many words []: 0..1, nothing for one or for a long list."""
    return (n_words > 1) * ((rule.until - n_words) / (rule.until - rule.full)).clamp(0, 1)


def together(scores: Tensor, pixels: Tensor, scale: Tensor, rule: TogetherRule, share: Tensor) -> Tensor:
    """Scores [K, ...] of words in company, by those that each has by itself and the embeddings [D, ...] of cells.

    `share` [] of the rule holds; `scale` [] is that of cosines.
    """
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
