"""The image tower of `tiny`: a pretrained trunk, and a decoder with one unit embedding per 4 x 4 pixels.

In wider weights the map at stride 16 and what presence is read from also reach the embeddings past the decoder. One
vector for the whole image predicts by its cosine with a text whether a class is present. D is the embedding's width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.methods.tiny.scores import presence
from lexiseg_model.methods.tiny.trunk import HEAD, WIDTHS, Trunk

STRIDE = 4  # pixels of the input per cell of the pixel map
DECODER = 128  # channels
EMBEDDING = 96  # numbers of a pixel's and a text's vector, unless the weights have another width
SHORTCUT, ENLARGED = 192, 48  # channels of the path beside the decoder, at stride 16 and at stride 4
TEXT_WIDTH = 384  # of rows of the text tower
TEXT_PROJECTION = "text_projection.weight"  # [D, 384]
TAUGHT = "taught."  # name prefix of the tensors of taught classes
OWN_WORDS = "own_words."  # and of those of training's own words
PART_DIRECTIONS = "part_directions"
SAME_WORD = 0.98  # cosine of two texts from which they are one word
EVIDENCE = 256  # hidden channels of the evidence head
COARSE_LEVEL = 2  # of the pyramid, stride 16
MIDDLE = WIDTHS[COARSE_LEVEL]  # channels of the trunk's map there
TEACHING = DECODER + MIDDLE + 1  # numbers of a cell that classes are taught by; the last is 1


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
    """What tuning on a user's pictures adds: a decoder for the K taught classes, their directions and factors of
    text."""

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
    """Image tower for pixels as `trunk.normalised`, sides multiples of 32; text projection; scalars from cosines to
    logits."""

    def __init__(
        self,
        embedding: int = EMBEDDING,
        has_shortcut: bool = False,
        n_taught: int = 0,
        own_words: tuple[int, int] = (0, 0),
        n_parts: int = 0,
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
        self.nobody = nn.Parameter(torch.tensor(0.25))  # the background: the cosine that a class must exceed
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
        self.register_buffer("part_directions", torch.zeros(n_parts, embedding + MIDDLE + 1) if n_parts else None)
        self.part_directions: Tensor | None

    @classmethod
    def for_weights(cls, tensors: Mapping[str, Tensor]) -> TinyNetwork:
        """A network of the shape that tensors by name have; EMBEDDING wide if they are of another network."""
        projection = tensors.get(TEXT_PROJECTION)
        width = EMBEDDING if projection is None else len(projection)
        n_taught = len(tensors.get(f"{TAUGHT}directions", ()))
        n_words, n_directions = (len(tensors.get(f"{OWN_WORDS}{name}", ())) for name in ("rows", "directions"))
        n_parts = len(tensors.get(PART_DIRECTIONS, ()))
        return cls(width, "shortcut.project.weight" in tensors, n_taught, (n_words, n_directions), n_parts)

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
        """`scores.presence` by the scalars of the network."""
        return presence(image, cells, texts, self.presence_log_scale.exp(), self.presence_bias)


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
