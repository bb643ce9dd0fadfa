"""ONNX graphs for the browser: what `tiny` computes with texts and scores."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model import cards, types
from lexiseg_model.methods.tiny import teaching
from lexiseg_model.methods.tiny.network import OwnWords, TinyNetwork
from lexiseg_model.methods.tiny.scores import (
    SUREST,
    log_presence,
    mask_means,
    share_of,
    together,
)
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import TinySettings
from lexiseg_model.methods.tiny.words import familiar as familiar_words
from lexiseg_model.methods.tiny.words.parts import divide_wholes, presence_of_parts
from lexiseg_model.methods.tiny.words.text_tower import TOKENS, WIDTH, MiniLM, pooled
from lexiseg_model.segmenter import AskedParts
from lexiseg_model.tasks.pixels import score_weights, segment_scores
from lexiseg_model.tasks.regions import thing_probability, thing_weights
from lexiseg_model.vocabulary.scoring import gives_way, relief

ABSENT = -1e4  # logit of what is not there


class Scores(nn.Module):
    """Scores of classes and of the background for an image's cells, as `class_scores` and the card's background
    rule."""

    background: Tensor
    background_shifts: Tensor
    rule: Tensor

    def __init__(
        self, tiny: TinyNetwork, settings: TinySettings, background: tuple[Tensor, Tensor], rule: cards.BackgroundRule
    ) -> None:
        super().__init__()
        self.log_scale, self.presence_log_scale = tiny.log_scale, tiny.presence_log_scale
        self.presence_bias, self.bound, self.weight = tiny.presence_bias, tiny.nobody, settings.presence
        self.together = settings.together
        self.register_buffer("background", background[0])
        self.register_buffer("background_shifts", background[1])
        self.register_buffer("rule", torch.tensor([rule.offset, rule.margin, rule.fades_at, rule.gives_way]))

    def forward(
        self,
        pixels: Tensor,
        image: Tensor,
        cells: Tensor,
        decoded: Tensor,
        middle: Tensor,
        vectors: Tensor,
        shifts: Tensor,
        owner: Tensor,
        classes: Tensor,
        dropped: Tensor,
        directions: Tensor,
        learned: Tensor,
        text: Tensor,
        company: Tensor,
        is_part: Tensor,
        part: Tensor,
        divided: Tensor,
        dividing: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of K classes with T texts.

        Args:
            pixels: float16 [1, D, h, w], as `image` [1, D] and `cells` [1, D, a, b].
            decoded: float16 [1, 128, h, w], what teaches, with `middle` [1, 120, h/4, w/4].
            vectors: of the texts, [T, D], with the `shifts` [T, D + 121] of words and the class `owner` [T] of each.
            classes: [K] 1 for stuff, else 0; `dropped` [B] 1 for background words that do not compete, else 0.
            directions: [L, F] of the classes `learned` [L], with the factors `text` [L] of their words, 1: the class
                keeps what words give to it; K is no class: what has learned nothing gives one of these.
            company: [] how many of the classes, the first ones, compete as in a question.
            is_part: [K] 1 for parts, else 0; `part` and `divided` whole [P] of pairs with their directions
                `dividing` [P, D + 121]; K is no class: a question without such pairs gives one of these.

        Returns:
            Scores [K + 1, h, w], the most present text [K + 1] of each class in the whole image, and the log-sum-exp
            [h, w] of the background words.
        """
        offset, margin, fades_at, falls_by = self.rule.unbind()
        factor = relief(torch.ones_like(classes).sum(), fades_at)
        bound = self.log_scale.exp() * self.bound + factor * offset
        floors = torch.cat([torch.full_like(classes, ABSENT), bound[None]])
        whole, scores = self._of_texts(pixels, middle, image, cells, vectors, shifts)
        common = self._of_texts(pixels, middle, image, cells, self.background, self.background_shifts)[1]
        common = common + ABSENT * dropped[:, None]
        best = _best(floors[:, None].expand(-1, scores.shape[1]), owner, scores)
        most = _best(torch.full_like(floors, ABSENT), owner, whole)
        products = teaching.products_of(decoded[0].float(), middle[0].float(), directions).flatten(1)
        exceeded = torch.maximum(self.log_scale.exp() * self.bound, common.amax(0))
        scores = self._together(best, pixels[0].float(), company, learned)
        own, presence = _with_taught(scores, most, exceeded, products, learned, text)
        parts = AskedParts(torch.cat([is_part, is_part[:1] * 0]) > 0, part, divided, dividing, part < 0)
        divisions = teaching.products_of(pixels[0].float(), middle[0].float(), dividing).flatten(1)
        own = divide_wholes(own, parts, divisions, share_of(self.together, company))
        listed = most.scatter(0, learned, presence)
        listed = torch.where(parts.is_part, presence_of_parts(listed, own, part, own[divided], exceeded), listed)
        most, own = torch.cat([listed[:-1], most[-1:]]), own[:-1]
        falls = falls_by * gives_way(own, most[:-1], classes > 0)
        rows = torch.cat([own, torch.maximum(best[-1:], common.amax(0) - factor * margin) - falls])
        return rows.view(-1, *pixels.shape[2:]), most, common.logsumexp(0).view(pixels.shape[2:])

    def _together(self, best: Tensor, pixels: Tensor, company: Tensor, learned: Tensor) -> Tensor:
        """Scores [K + 1, h * w] of classes, of which the first ones compete as in a question, and those of a head."""
        is_asked = torch.ones_like(best[:, 0]).cumsum(0) <= company
        of_head = torch.zeros_like(best[:, 0]).index_fill(0, learned, 1.0) > 0
        return together(best, pixels, self.log_scale.exp(), self.together, [is_asked & ~of_head, is_asked & of_head])

    def _of_texts(
        self, pixels: Tensor, middle: Tensor, image: Tensor, cells: Tensor, vectors: Tensor, shifts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Presence [T] in the whole image, and scores [T, h * w] of embeddings [1, D, h, w]."""
        coarse = cells[0].float().flatten(1)
        directions = F.normalize(vectors, dim=1)
        evidence = torch.logsumexp(directions @ coarse, 1) - torch.log(torch.ones_like(coarse[0]).sum())
        whole = (directions @ image[0].float()) * self.presence_log_scale.exp() + evidence + self.presence_bias
        added = log_presence(whole) * self.weight + shifts[:, -1]
        width = pixels.shape[1]
        fine = (vectors * self.log_scale.exp() + shifts[:, :width]) @ pixels[0].float().flatten(1)
        low = (shifts[:, width:-1] @ middle[0].float().flatten(1)).view(1, -1, *middle.shape[2:])
        enlarged = F.interpolate(low, size=pixels.shape[2:], mode="bilinear")[0].flatten(1)
        return whole, fine + enlarged + added[:, None]


def _best(floors: Tensor, owner: Tensor, values: Tensor) -> Tensor:
    """The highest of the values [T, ...] of each owner, at least `floors` [R, ...]."""
    index = owner.view(-1, *(1 for _ in values.shape[1:])).expand_as(values)
    return floors.scatter_reduce(0, index, values, "amax")


def _with_taught(
    best: Tensor, most: Tensor, exceeded: Tensor, products: Tensor, learned: Tensor, text: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores [K + 1, h * w] as `teaching.with_learned`, and the presence [L] of taught classes."""
    by_words, is_taught = best.index_select(0, learned), text < 1
    above = teaching.margins(by_words, exceeded, text, products)
    others = by_words.masked_fill(is_taught[:, None], -torch.inf).amax(0)
    rivals = by_words.masked_fill(~is_taught[:, None], -torch.inf).amax(0)
    above = torch.where(others > torch.maximum(exceeded, rivals), by_words - exceeded, above)
    taught = torch.where(is_taught[:, None], above + exceeded, by_words)
    own = best.scatter(0, learned[:, None].expand_as(taught), taught)
    presence = torch.where(is_taught, _surest(above), most.index_select(0, learned))
    return own, presence


def _surest(logits: Tensor) -> Tensor:
    """The log of the mean of each row's surest cells' exponentials, of logits [R, n]: [R]."""
    n = (SUREST * torch.ones_like(logits[0]).sum()).round().clamp_min(1)
    rank = torch.arange(logits.shape[1])
    surest = logits.sort(1, descending=True).values.masked_fill(rank >= n, -torch.inf).logsumexp(1)
    return surest - n.log()


class Presence(nn.Module):
    """Outputs of `Scores` -> presence [K] of the classes, as `TinySegmenter.presence`."""

    def __init__(self, tiny: TinyNetwork) -> None:
        super().__init__()
        self.log_scale, self.nobody = tiny.log_scale, tiny.nobody

    def forward(self, scores: Tensor, whole: Tensor, others: Tensor) -> tuple[Tensor]:
        own = scores[:-1].flatten(1)
        others = torch.logaddexp(others.flatten(), self.log_scale.exp() * self.nobody)
        sure = own - torch.logaddexp(own.logsumexp(0), others)
        return (whole[:-1] + _surest(sure),)


class SegmentScores(nn.Module):
    """Scores [N] of segments by the card's rule, of `whole` [K + 1] of `Scores`, class, mean probability and share
    [N]."""

    rule: Tensor

    def __init__(self, rule: cards.ScoreRule | None) -> None:
        super().__init__()
        self.register_buffer("rule", torch.zeros(5).double() if rule is None else score_weights(rule))

    def forward(self, whole: Tensor, owner: Tensor, probability: Tensor, area: Tensor) -> tuple[Tensor]:
        n_classes = torch.ones_like(whole).double().sum() - 1
        return (segment_scores(self.rule, whole.double()[owner], probability, n_classes, area),)


class Things(nn.Module):
    """`presence` [K] of `Presence`; of N regions class, mean probability and share [N] -> their probability [N]."""

    rule: Tensor

    def __init__(self, rule: cards.ThingBelief | None) -> None:
        super().__init__()
        self.register_buffer("rule", torch.zeros(4).double() if rule is None else thing_weights(rule))

    def forward(self, presence: Tensor, owner: Tensor, probability: Tensor, area: Tensor) -> tuple[Tensor]:
        return (thing_probability(self.rule, presence.double()[owner], probability, area),)


class Means(nn.Module):
    """Embeddings [1, D, h, w], what teaches [1, 128, h, w] and [1, 120, h/4, w/4], and logits [N, h, w] of masks -> the
    means of all three under these, float16 [1, C, 1, N]."""

    def forward(self, pixels: Tensor, decoded: Tensor, middle: Tensor, masks: Tensor) -> tuple[Tensor, ...]:
        coarse = F.interpolate(middle.float(), size=pixels.shape[2:], mode="bilinear")
        maps = (pixels[0].float(), decoded[0].float(), coarse[0])
        return tuple(mask_means(masks, part).T[None, :, None].half() for part in maps)


class Reading(nn.Module):
    """Rows of the text tower [N, 384] -> properties of the texts.

    Vectors [N, D]; 1 [N, W] for background words of the same meaning; cosine [N] with the nearest training word; 1 [N]
    for a text that is not English; the direction [N] of training's nearest own word, and the share [N] of it.
    """

    background: Tensor
    known: Tensor
    foreign: Tensor
    same_meaning: Tensor

    def __init__(self, model: TinySegmenter) -> None:
        super().__init__()
        self.projection = model.network.text_projection
        own = model.network.own_words or OwnWords(1, 1, model.network.embedding)
        self.own_words = own.to(torch.device("cpu"))
        words = tuple(map(types.ClassEntry, model.card.background.words))
        familiar = model.familiar.rows if model.familiar else np.zeros((1, WIDTH), np.float32)
        foreign = model.familiar.foreign if model.familiar else None
        self.register_buffer("background", torch.from_numpy(model.encode_texts(model.texts(words))).float())
        self.register_buffer("known", torch.from_numpy(familiar))
        foreign = np.zeros(WIDTH + 1, np.float32) if foreign is None else foreign
        self.register_buffer("foreign", torch.from_numpy(foreign).float())
        self.register_buffer("same_meaning", torch.tensor(model.card.background.same_meaning))

    def forward(self, rows: Tensor) -> tuple[Tensor, ...]:
        rows = rows.half().float()  # the precision of the service's cache
        unit = F.normalize(rows, dim=1)
        likeness = (unit @ self.known.T).amax(1)
        foreign = (unit @ self.foreign[:-1] + self.foreign[-1] > 0) & (likeness < familiar_words.MAX_FOREIGN_LIKENESS)
        vectors = F.normalize(self.projection(rows), dim=1)
        same = (rows @ self.background.T >= self.same_meaning).float()
        return vectors, same, likeness, foreign.float(), *self.own_words.nearest(rows)


class Tower(nn.Module):
    """Token ids [1, L] of a text -> its row [1, 384]; the token embeddings are int8 with a scale for each token."""

    table: Tensor
    scale: Tensor

    def __init__(self, tower: MiniLM) -> None:
        super().__init__()
        tokens = tower.weights[TOKENS]
        scale = tokens.abs().amax(1, keepdim=True).clamp_min(1e-9) / 127
        self.register_buffer("table", (tokens / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.places = {name: name.replace(".", "/") for name in tower.weights if name != TOKENS}
        for name, place in self.places.items():  # a buffer's name has no dots
            self.register_buffer(place, tower.weights[name])

    def forward(self, ids: Tensor) -> Tensor:
        weights = {name: self.get_buffer(place) for name, place in self.places.items()}
        return pooled(weights, self.table[ids].float() * self.scale[ids])
