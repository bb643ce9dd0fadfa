"""The image tower of `tiny`: its input, a pretrained trunk, and a decoder with one unit embedding per 4 x 4 pixels.

The decoder is separable: a filter per channel, then a product over channels. It sees the trunk's pyramid, the maps
that ImageNet's classifier reads, and their mean over the image. In wider weights the map at stride 16 and what presence
is read from also reach the embeddings past the decoder, whose width would lose much of them. The network also outputs
one vector for the whole image, whose cosine with a text predicts whether the class is present. Shapes say D for the
embedding's width.

A class's score in a cell is the scaled cosine with its text, plus the log presence in the whole image; a class with
several texts has the score of its best one. To a word of training, and in part to words near it, the score adds a
direction that was learned from all cells that show it: a text by itself has too few numbers for what training knows.
The words of a question are then drawn together: one of low scores is raised towards the best one, by the surest cells
of both, and mixed with the likeness to its own surest cells, which tells a thing from what is beside it better than a
text does. A part that is asked with its whole has a lead over it, as its cells are the whole's, too.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.methods.tiny.settings import Parts, TogetherRule
from lexiseg_model.methods.tiny.trunk import HEAD, WIDTHS, Trunk
from lexiseg_model.segmenter import Excluded, TextBank
from lexiseg_model.types import ClassEntry, InputSize

KEPT = 2  # largest side of the picture kept for small objects, in sides of the input
STRIDE = 4  # pixels of the input per cell of the pixel map
DECODER = 128  # channels
EMBEDDING = 96  # numbers of a pixel's and a text's vector, unless the weights have another width
SHORTCUT, ENLARGED = 192, 48  # channels of the path beside the decoder, at stride 16 and at stride 4
TEXT_WIDTH = 384  # of rows of the text tower
TEXT_PROJECTION = "text_projection.weight"  # [D, 384]
TAUGHT = "taught."  # name prefix of the tensors of taught classes
OWN_WORDS = "own_words."  # and of those of training's own words
SAME_WORD = 0.98  # cosine of two texts from which they are one word
PRESENCE_FLOOR = -6.0  # log probability; bounds the penalty of an absent class, so that pixels can overrule the image
EVIDENCE = 256  # hidden channels of the evidence head
COARSE_LEVEL = 2  # of the pyramid, stride 16
MIDDLE = WIDTHS[COARSE_LEVEL]  # channels of the trunk's map there
SUREST = 0.01  # share of the pixels, the most probable ones, whose probabilities enter the presence of a class
TEACHING = DECODER + MIDDLE + 1  # numbers of a cell that classes are taught by; the last is 1
NO_SCORE = -1e4  # of a word that does not compete
PART_EVIDENCE = 3.0  # logit added to the mean evidence of all cells, of which few show a part; fitted
EXCLUDED = -50.0  # logit of a cell that a class does not get
CHUNK = 64  # classes in one product, which bounds memory for many synonyms


class ImageFeatures(NamedTuple):
    """Outputs of one image pass: unit vectors `pixels` [B, D, H/4, W/4] and `image` [B, D], and `cells`
    [B, D, H/32, W/32], whose product with a text is the logit of the class being in that cell."""

    pixels: Tensor
    image: Tensor
    cells: Tensor


class ConvNormRelu(nn.Sequential):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


def _unit(vectors: Tensor) -> Tensor:
    """Normalise along dimension 1, in float32."""
    vectors = vectors.float()
    # Multiplying by the reciprocal norm saves a tenth of a training step over dividing.
    return vectors * vectors.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()


def log_presence(presence: Tensor) -> Tensor:
    """The log probability of `presence` logits, at least PRESENCE_FLOOR."""
    return F.logsigmoid(presence).clamp_min(PRESENCE_FLOOR)


class Separable(nn.Sequential):
    """A 3 x 3 filter for each channel, then a product over channels, batch norm and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False),
            ConvNormRelu(channels, channels, kernel=1),
        )


def _laterals() -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(channels, DECODER, 1) for channels in WIDTHS)


def _smoothing() -> nn.ModuleList:
    return nn.ModuleList(Separable(DECODER) for _ in WIDTHS)


class Shortcut(nn.Module):
    """What the embeddings [B, D, H/4, W/4] get of the trunk's map at stride 16 and of the evidence at stride 32."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.middle = nn.Conv2d(WIDTHS[COARSE_LEVEL], SHORTCUT, 1)
        self.deep = nn.Conv2d(EVIDENCE, SHORTCUT, 1, bias=False)
        self.narrow = nn.Conv2d(SHORTCUT, ENLARGED, 1)
        self.project = nn.Conv2d(ENLARGED, embedding, 1, bias=False)
        nn.init.zeros_(self.project.weight)  # an untrained path adds nothing

    def forward(self, middle: Tensor, evidence: Tensor, size: torch.Size) -> Tensor:
        deep = F.interpolate(self.deep(evidence), size=middle.shape[-2:], mode="bilinear")
        narrow = self.narrow(F.relu(self.middle(middle) + deep))
        # Enlarged before it is projected: enlarging costs more than the projection.
        projected: Tensor = self.project(F.interpolate(narrow, size=size, mode="bilinear"))
        return projected


class Taught(nn.Module):
    """What tuning on a user's pictures adds: a decoder for the taught classes alone, and these.

    Args:
        n_classes: K; `directions` [K, F] and `text` [K] are as in a head.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.lateral, self.smooth = _laterals(), _smoothing()
        self.meaning, self.context = (nn.Conv2d(HEAD, DECODER, 1, bias=False) for _ in range(2))
        self.directions = nn.Parameter(torch.zeros(n_classes, TEACHING))
        self.register_buffer("text", torch.ones(n_classes))
        self.text: Tensor


class OwnWords(nn.Module):
    """What training learned of its own words, beside their texts.

    Buffers: `rows` [W, 384], the unit rows of the words and their synonyms; `meaning` [W], which of the directions is
    theirs; `directions` [M, D + 121], whose product with a cell's embedding, the trunk's map at stride 16 and 1 is
    added to the score; `near` [], the cosine from which another word has a part of the nearest word's.
    """

    def __init__(self, n_words: int, n_directions: int, embedding: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(n_words, TEXT_WIDTH))
        self.register_buffer("meaning", torch.zeros(n_words))
        self.register_buffer("directions", torch.zeros(n_directions, embedding + MIDDLE + 1))
        self.register_buffer("near", torch.tensor(SAME_WORD))
        self.rows: Tensor
        self.meaning: Tensor
        self.directions: Tensor
        self.near: Tensor

    def nearest(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of texts [T, 384] the direction [T] int64, and the share [T] of it that is theirs."""
        cosine, word = (F.normalize(rows, dim=1) @ self.rows.T).max(1)
        share = (cosine - self.near + 1e-6) / (SAME_WORD - self.near + 1e-6)
        return self.meaning[word].long(), share.clamp(0, 1)

    def shifts(self, rows: Tensor) -> Tensor:
        """The directions [T, D + 121] of texts [T, 384], each with the text's share."""
        meaning, share = self.nearest(rows)
        return self.directions[meaning] * share[:, None]


class TinyNetwork(nn.Module):
    """Image tower, text projection and the scalars that turn cosines into logits.

    Input: [B, 3, H, W] float, pixels as `trunk.normalised`, H and W multiples of 32. `has_shortcut`: the trunk's maps
    reach the embeddings past the decoder, too. A tuned network has `n_taught` classes of its own. `own_words`: how many
    words, and how many directions, training learned beside the texts.
    """

    def __init__(
        self,
        embedding: int = EMBEDDING,
        has_shortcut: bool = False,
        n_taught: int = 0,
        own_words: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.trunk = Trunk()
        self.lateral = _laterals()
        # Every coarse cell also gets the image's mean: a cow is more likely on a meadow.
        self.meaning = nn.Conv2d(HEAD, DECODER, 1, bias=False)
        self.context = nn.Conv2d(HEAD, DECODER, 1, bias=False)
        self.smooth = _smoothing()
        self.pixel_head = nn.Conv2d(DECODER, embedding, 1)
        self.shortcut = Shortcut(embedding) if has_shortcut else None
        self.image_head = nn.Sequential(
            nn.Linear(HEAD * 2, EVIDENCE), nn.ReLU(inplace=True), nn.Linear(EVIDENCE, embedding)
        )
        self.text_projection = nn.Linear(TEXT_WIDTH, embedding, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.6))  # of the pixel cosine
        self.nobody = nn.Parameter(
            torch.tensor(0.25)
        )  # the background: the cosine that a class must exceed to win a pixel
        self.presence_log_scale = nn.Parameter(torch.tensor(2.3))
        self.presence_bias = nn.Parameter(torch.tensor(-3.0))
        # Evidence is read from what the trunk's classifier reads, before the decoder reduces it to its width.
        self.evidence = nn.Sequential(
            nn.Conv2d(HEAD, EVIDENCE, 1), nn.ReLU(inplace=True), nn.Conv2d(EVIDENCE, embedding, 1)
        )
        for parameter in self.evidence[-1].parameters():
            nn.init.zeros_(parameter)  # an untrained head gives zero evidence
        self.taught = Taught(n_taught) if n_taught else None
        self.own_words = OwnWords(*own_words, embedding) if own_words[0] else None

    @classmethod
    def for_weights(cls, tensors: Mapping[str, Tensor]) -> TinyNetwork:
        """A network of the shape that tensors by name have; EMBEDDING wide if they are of another network."""
        projection = tensors.get(TEXT_PROJECTION)
        width = EMBEDDING if projection is None else len(projection)
        n_taught = len(tensors.get(f"{TAUGHT}directions", ()))
        n_words, n_directions = (len(tensors.get(f"{OWN_WORDS}{name}", ())) for name in ("rows", "directions"))
        return cls(width, "shortcut.project.weight" in tensors, n_taught, (n_words, n_directions))

    def forward(self, images: Tensor) -> ImageFeatures:
        return self.decode(*self.trunk(images))[0]

    def teaching(self, images: Tensor) -> tuple[Tensor, ...]:
        """The tensors of `forward`, then what a head is taught by: the decoder's map [B, 128, H/4, W/4], in a tuned
        network that of its second decoder, and the trunk's [B, 120, H/16, W/16]."""
        pyramid, head = self.trunk(images)
        mean = head.mean((2, 3), keepdim=True)
        decoded, _ = decoded_maps(self, pyramid, head, mean)
        taught = decoded if self.taught is None else decoded_maps(self.taught, pyramid, head, mean)[0]
        return *self._features(pyramid, head, mean, decoded), taught, pyramid[COARSE_LEVEL]

    def answering(self, images: Tensor) -> tuple[Tensor, ...]:
        """The tensors of `forward`, then the trunk's map [B, 120, H/16, W/16]: what questions are answered by."""
        pyramid, head = self.trunk(images)
        return *self.decode(pyramid, head)[0], pyramid[COARSE_LEVEL]

    def decode(self, pyramid: list[Tensor], head: Tensor) -> tuple[ImageFeatures, Tensor]:
        """The features of the trunk's maps and, for auxiliary losses, the decoder's output at stride 16:
        [B, 128, H/16, W/16]."""
        mean = head.mean((2, 3), keepdim=True)
        decoded, coarse = decoded_maps(self, pyramid, head, mean)
        return self._features(pyramid, head, mean, decoded), coarse

    def _features(self, pyramid: list[Tensor], head: Tensor, mean: Tensor, decoded: Tensor) -> ImageFeatures:
        pooled = torch.cat([mean[:, :, 0, 0], head.amax((2, 3))], 1)
        pixels, first, last = self.pixel_head(decoded), self.evidence[:2], self.evidence[2]
        if self.shortcut is None:  # the order of operations is that of the ranges of bundled graphs
            return ImageFeatures(_unit(pixels), _unit(self.image_head(pooled)), last(first(head)))
        hidden = first(head)
        pixels = pixels + self.shortcut(pyramid[COARSE_LEVEL], hidden, pixels.shape[-2:])
        return ImageFeatures(_unit(pixels), _unit(self.image_head(pooled)), last(hidden))

    def project_texts(self, rows: Tensor) -> Tensor:
        """Sentence embeddings [T, 384] -> unit vectors [T, D] in the pixels' space."""
        return F.normalize(self.text_projection(rows.float()), dim=1)

    def presence(self, image: Tensor, cells: Tensor, texts: Tensor) -> Tensor:
        """Logit that a class is anywhere in the image: [..., D], [..., D, h, w] and [..., T, D] -> [..., T].

        The image vector describes the scene; the cells most similar to a text, the objects in it.
        """
        whole = (texts @ image[..., None])[..., 0]
        flat = cells.flatten(-2)
        evidence = torch.logsumexp(texts @ flat, -1) - math.log(flat.shape[-1])
        return self.presence_log_scale.exp() * whole + evidence + self.presence_bias


def decoded_maps(
    parts: TinyNetwork | Taught, pyramid: list[Tensor], head: Tensor, mean: Tensor
) -> tuple[Tensor, Tensor]:
    """The output of a decoder at stride 4 and at stride 16, of the trunk's maps and the mean [B, C, 1, 1] of `head`."""
    decoded = parts.smooth[-1](parts.lateral[-1](pyramid[-1]) + parts.meaning(head) + parts.context(mean))
    coarse = decoded
    for level in range(len(WIDTHS) - 2, -1, -1):
        lateral = parts.lateral[level](pyramid[level])
        decoded = F.interpolate(decoded, size=lateral.shape[-2:], mode="bilinear")
        decoded = parts.smooth[level](lateral + decoded)
        if level == COARSE_LEVEL:
            coarse = decoded
    return decoded, coarse


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


def reference(scores: Tensor, n_classes: int, background: float) -> Tensor:
    """What a class must exceed [h, w]: the background's bound, and the scores [K, h, w] of background words.

    So a taught class differs from its words only by what was learned, and is what is none of the background's words.
    """
    bound = scores.new_full(scores.shape[1:], background)
    return torch.maximum(bound, scores[n_classes:].amax(0)) if len(scores) > n_classes else bound


def part_leads(classes: Sequence[ClassEntry], kinds: Sequence[Parts], taught: Container[str]) -> Tensor | None:
    """Leads [K, K] of parts (rows) over wholes (columns), -1 on the diagonal of a part, else 0; None: no class is one.

    Taught classes, also by the names that the model was tuned on, are neither: pictures say which cells are theirs.
    """
    by_words = [() if entry.is_taught else [name.lower() for name in entry.names] for entry in classes]
    names = [
        {form for name in some if name not in taught for form in (name, name.removesuffix("s"))} for some in by_words
    ]
    parts = [index for index, forms in enumerate(names) if any(forms & kind.leads.keys() for kind in kinds)]
    if not parts:
        return None
    leads = torch.zeros(len(classes), len(classes))
    leads[parts, parts] = -1
    for kind in kinds:
        wholes = [index for index, forms in enumerate(names) if forms & kind.wholes]
        for part in parts:
            for name in names[part] & kind.leads.keys():
                leads[part, wholes] = kind.leads[name]
    return leads


def lead_parts(scores: Tensor, leads: Tensor, share: Tensor) -> Tensor:
    """Scores [K, ...] in which a part wins over its whole by the `leads` [K, K] of `part_leads`, of which `share` []
    holds. What part and whole win together of other words stays."""
    flat, lead = scores.flatten(1), leads.amax(1).clamp_min(0)
    lead = (leads + lead * (leads > 0)).amax(1).clamp_min(0)  # a part of a part leads both
    no_whole, is_free = leads.amax(0) <= 0, (leads + leads.T).amax(0) <= 0
    whole = flat.masked_fill(no_whole[:, None], NO_SCORE).amax(0)
    # Where a part wins by itself it needs no lead, which would change how parts compete.
    led = flat + (share * lead[:, None] - (flat - whole).clamp_min(0)).clamp_min(0)
    free = is_free[:, None]
    excess = led.masked_fill(free, NO_SCORE).amax(0) - flat.masked_fill(free, NO_SCORE).amax(0)
    return torch.where(free, flat, led - excess).view(scores.shape)


def presence_of_parts(presence: Tensor, leads: Tensor, above: Tensor) -> Tensor:
    """Presence [K] in the whole image, of parts at least what their cells say: the head for whole images knows few.

    `above` [K, n]: by how much cells exceed the background.
    """
    evidence = above.logsumexp(1) - torch.ones_like(above[0]).sum().log() + PART_EVIDENCE
    return torch.where((leads < 0).any(1), torch.maximum(presence, evidence), presence)


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


def input_shape(size: tuple[int, int], limits: InputSize, max_side: int | None) -> tuple[int, int]:
    """The input shape (height, width) for an image of `size` (H, W); sides are rounded to multiples, not padded."""
    long_side = limits.long_side
    if max_side is not None:  # a multiple, or rounding could exceed the cap
        long_side = min(long_side, max_side // limits.multiple * limits.multiple)
    factor = min(limits.short_side / min(size), long_side / max(size))
    height, width = (max(limits.multiple, round(side * factor / limits.multiple) * limits.multiple) for side in size)
    return height, width


def resize_to(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image uint8 [H, W, 3] to planes [3, h, w] of `size` (h, w)."""
    smaller = size[0] * size[1] < rgb.shape[0] * rgb.shape[1]
    resized = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), np.uint8)


def kept_picture(rgb: NDArray[np.uint8], tile: tuple[int, int]) -> NDArray[np.uint8]:
    """A copy of the image [H, W, 3], shrunk to KEPT times the sides of its tile if it is larger."""
    height, width = (KEPT * side for side in tile)
    if height * width >= rgb.shape[0] * rgb.shape[1]:
        return rgb.copy()
    # Every request pays for this: area averaging only where it matters.
    is_near = 2 * height >= rgb.shape[0] and 2 * width >= rgb.shape[1]
    method = cv2.INTER_LINEAR if is_near else cv2.INTER_AREA
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=method), np.uint8)


def halved(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean of each 2 x 2 pixels: uint8 [3, h, w] of even sides -> [3, h/2, w/2]; halves are rounded to even."""
    rows = planes[:, 0::2].astype(np.uint16) + planes[:, 1::2]
    sums = rows[..., 0::2] + rows[..., 1::2]
    means: NDArray[np.uint8] = ((sums + 1 + (sums >> 2 & 1)) >> 2).astype(np.uint8)
    return means


def buckets(limits: InputSize) -> tuple[tuple[int, int], ...]:
    """All input shapes (height, width) of images with an aspect ratio up to long_side / short_side (2.2 for tiny)."""
    wide = [(limits.short_side, side) for side in range(limits.short_side, limits.long_side + 1, limits.multiple)]
    return tuple(sorted({*wide, *((width, height) for height, width in wide)}))
