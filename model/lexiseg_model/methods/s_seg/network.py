"""S-Seg network: masks of an image, and embeddings of masks, images and texts in a common space.

Names of weights: `sem_seg_head.` (MaskFormer's), `backbone.body.` (timm's), `text.` (open_clip's) and our own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from lexiseg_model.catalogue.weights import for_inference, listed, n_layers, names_in_network, naming_files
from lexiseg_model.clip.checkpoint import read_tensors
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.scale import LearnedScale
from lexiseg_model.clip.text import PROBE, ChunkedTower, end_states, fresh_text_tower, rows_digest, tokenize
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.s_seg.backbone import Pyramid
from lexiseg_model.methods.s_seg.decoder import MaskHead
from lexiseg_model.methods.s_seg.settings import SSegSettings, SSegSizes

HEAD = "sem_seg_head."
CLASS_HEAD = f"{HEAD}predictor.class_embed."  # of MaskFormer, not in S-Seg
DECODER_LAYER = re.compile(re.escape(f"{HEAD}predictor.transformer.decoder.layers.") + r"(\d+)\.")
TEXT_LAYER = re.compile(r"text\.transformer\.resblocks\.(\d+)\.")


class SSegTextTower(ChunkedTower):
    """Text tower of the text transformer and its projector."""

    end_marked = True

    def __init__(self, transformer: nn.Module, projector: Projector, device: torch.device) -> None:
        self._transformer = transformer.to(device)
        self._projector = projector.to(device)
        self.device = device
        self.width = projector.second.out_features
        state = nn.ModuleDict({"transformer": transformer, "projector": projector}).state_dict()
        # The number of heads is not visible in the weights.
        self.digest = rows_digest(("s-seg", transformer.heads, tokenize([PROBE]).tolist()), state)

    def tokens(self, texts: list[str]) -> Tensor:
        return tokenize(texts)

    def rows(self, tokens: Tensor) -> Tensor:
        rows: Tensor = self._projector(end_states(self._transformer, tokens))
        return rows


class Masks(NamedTuple):
    """Output of the image side for L decoder layers; the last one is the result."""

    logits: Tensor  # [L, B, N, H/4, W/4]
    queries: Tensor  # [L, B, N, 256]


class Projector(nn.Module):
    """Two linear layers with batch norm and ReLU in between; the norm is synchronised over several processes."""

    def __init__(self, before: int, hidden: int, after: int) -> None:
        super().__init__()
        self.first = nn.Linear(before, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.second = nn.Linear(hidden, after)

    def forward(self, vectors: Tensor) -> Tensor:
        """Project [..., before] to [..., after]; the batch norm counts all leading axes as batch."""
        rows = self.norm(self.first(vectors.flatten(0, -2)))
        projected: Tensor = self.second(F.relu(rows))
        return projected.view(*vectors.shape[:-1], -1)


class SSegNetwork(nn.Module):
    """Backbone, mask head, text transformer, a projector for each side, and the temperature of the contrast."""

    def __init__(self, settings: SSegSizes, backbone_weights: Path | None = None) -> None:
        """Build with random weights, or with given weights of the backbone; raises as `Pyramid`."""
        super().__init__()
        self.settings = settings
        self.backbone = Pyramid(settings.backbone, settings.drop_path, backbone_weights)
        self.sem_seg_head = MaskHead(
            self.backbone.channels,
            n_queries=settings.n_queries,
            depth=settings.decoder_layers,
            dropout=settings.dropout,
            width=settings.mask_width,
        )
        self.text = fresh_text_tower(settings.text_width, settings.text_layers)
        self.contrast = LearnedScale()  # of the contrast in training, and of class logits
        query_width = self.sem_seg_head.width
        self.image_projector = Projector(query_width, settings.projector_hidden, settings.embedding)
        self.text_projector = Projector(settings.text_width, settings.projector_hidden, settings.embedding)

    def forward(self, images: Tensor) -> Masks:
        """Masks of all decoder layers for images [B, 3, H, W] with ImageNet's statistics."""
        return self._masks(images, slice(None))

    def last_masks(self, images: Tensor) -> Masks:
        """Masks of the last layer only, L = 1."""
        return self._masks(images, slice(-1, None))

    def _masks(self, images: Tensor, layers: slice) -> Masks:
        queries, mask_features = self.sem_seg_head(self.backbone(images))
        return Masks(self.sem_seg_head.masks(queries[layers], mask_features), queries[layers])

    def embed_masks(self, queries: Tensor) -> Tensor:
        """Unit vectors [..., D] of queries [..., 256] by the projector of pooled images, as in GroupViT."""
        return F.normalize(self.image_projector(queries), dim=-1)

    def embed_images(self, queries: Tensor) -> Tensor:
        """Unit vectors [B, D] of images with queries [B, N, 256]."""
        return self.project_images(self.pool(queries))

    def pool(self, queries: Tensor) -> Tensor:
        """What the projector of images gets of queries [B, N, 256]: their mean [B, 1, 256], or all of them."""
        return queries.mean(1, keepdim=True) if self.settings.pooling == "mean_then_project" else queries

    def project_images(self, pooled: Tensor) -> Tensor:
        """Unit vectors [B, D] of `pool`'s vectors [B, M, 256]."""
        return F.normalize(self.image_projector(pooled).mean(1), dim=-1)

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """Unit vectors [S, D] of tokens [S, 77]."""
        return self.project_texts(self.encode_texts(tokens))

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """What the projector of texts gets, [S, text_width], of tokens [S, 77]."""
        # Places after the last end mark, the largest number, have no influence.
        longest = int(tokens.argmax(1).max()) + 1
        return end_states(self.text, tokens[:, :longest])

    def project_texts(self, states: Tensor) -> Tensor:
        """Unit vectors [S, D] of `encode_texts`' vectors."""
        return F.normalize(self.text_projector(states), dim=-1)


class ImagePass(nn.Module):
    """Image side for uint8 tiles, as one module for serving and export."""

    def __init__(self, network: SSegNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of tiles uint8 [B, 3, s, t] with sides that are multiples of 32, float32: mask logits [B, N, s/4, t/4],
        queries [B, N, 256], and unit vectors of masks [B, N, D] and of tiles [B, D]."""
        images = normalise(tiles, "imagenet").to(next(self.network.backbone.parameters()).dtype)
        logits, queries = (part[-1].float() for part in self.network.last_masks(images))
        return logits, queries, self.network.embed_masks(queries), self.network.embed_images(queries)


def read_trained(path: Path, backbone: str | None = None) -> tuple[dict[str, Tensor], SSegSettings]:
    """Weights of a training checkpoint and the settings of their sizes; the `backbone` they do not show, None:
    Swin-S."""
    saved = read_tensors(path)
    named_in = names_in_network(saved)
    state = {name: saved[outer] for outer, name in named_in.items() if not name.startswith(CLASS_HEAD)}
    named = {} if backbone is None else {"backbone": backbone}
    with naming_files(path):
        try:
            settings = SSegSettings(**named, **_sizes(state))
        except ValidationError as error:
            raise WeightsError(f"not the sizes of an S-Seg: {error}") from None
        return dict(restore(state, settings).state_dict()), settings


def restore(state: dict[str, Tensor], settings: SSegSettings) -> SSegNetwork:
    """Build the network of a flat state, in evaluation mode and without gradients."""
    return for_inference(SSegNetwork(settings), f"S-Seg over {settings.backbone}", state)


def _sizes(state: dict[str, Tensor]) -> dict[str, Any]:
    """Settings that follow from the weights; dropout and drop path are 0, as they apply to training only."""
    try:
        return {
            "n_queries": len(state[f"{HEAD}predictor.query_embed.weight"]),
            "mask_width": state[f"{HEAD}predictor.query_embed.weight"].shape[1],
            "decoder_layers": n_layers(state, DECODER_LAYER),
            "text_layers": n_layers(state, TEXT_LAYER),
            "text_width": state["text.token_embedding.weight"].shape[1],
            "embedding": len(state["image_projector.second.weight"]),
            "projector_hidden": len(state["image_projector.first.weight"]),
            "drop_path": None,
            "dropout": 0.0,
        }
    except KeyError as error:
        raise WeightsError(f"not the weights of S-Seg: no {error.args[0]}; got {listed(sorted(state))}") from None
