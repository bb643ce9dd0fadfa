"""S-Seg network: masks of an image, and embeddings of masks, images and texts in one space."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.text import PROBE, encode_in_chunks, end_states, fresh_text_tower, rows_digest, tokenize
from lexiseg_model.methods.s_seg.backbone import Pyramid
from lexiseg_model.methods.s_seg.decoder import MaskHead
from lexiseg_model.methods.s_seg.settings import SSegSizes
from lexiseg_model.training.losses import Contrast


class SSegTextTower:
    """The transformer and its projector, as CLIP's tower is a transformer and its projection."""

    def __init__(self, transformer: TextTransformer, projector: Projector, device: torch.device) -> None:
        """Both in eval mode; they are moved to the device."""
        self._transformer = transformer.to(device)
        self._projector = projector.to(device)
        self._device = device
        self.width = projector.second.out_features
        state = nn.ModuleDict({"transformer": transformer, "projector": projector}).state_dict()
        # Heads show in no weight's shape.
        self.digest = rows_digest(("s-seg", transformer.heads, tokenize([PROBE]).tolist()), state)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [len(texts), width], not of unit length, in the order of `texts`."""
        if not texts:
            return np.empty((0, self.width), np.float32)
        return encode_in_chunks(tokenize(texts), self._forward, self.width, self._device, end_marked=True)

    @torch.inference_mode()
    def _forward(self, tokens: Tensor) -> Tensor:  # [B, L] -> [B, width]
        rows: Tensor = self._projector(end_states(self._transformer, tokens))
        return rows


class Masks(NamedTuple):
    """What the image side gives, of L decoder layers; the last is the answer."""

    logits: Tensor  # [L, B, N, h, w], h and w a quarter of the image
    queries: Tensor  # [L, B, N, 256], the mask features


class Projector(nn.Module):
    """Two linear layers with batch norm and ReLU between them.

    In training over several processes the norm is to be synchronised (`nn.SyncBatchNorm.convert_sync_batchnorm`).
    """

    def __init__(self, before: int, hidden: int, after: int) -> None:
        super().__init__()
        self.first = nn.Linear(before, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.second = nn.Linear(hidden, after)

    def forward(self, vectors: Tensor) -> Tensor:
        """[..., before] -> [..., after]; the norm sees all vectors alike."""
        rows = self.norm(self.first(vectors.flatten(0, -2)))
        projected: Tensor = self.second(F.relu(rows))
        return projected.view(*vectors.shape[:-1], -1)


class SSegNetwork(nn.Module):
    """Backbone and mask head, text transformer, a projector for each of the two sides, the temperature between.

    The head has the names of MaskFormer's checkpoints (`sem_seg_head`), the body of the backbone those of timm.
    """

    def __init__(self, settings: SSegSizes, backbone_weights: Path | None = None) -> None:
        """Fresh weights, but for a backbone's that are given. Raises as `Pyramid`."""
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
        self.contrast = Contrast()  # its scale is part of how masks are named, too
        query_width = self.sem_seg_head.width
        self.image_projector = Projector(query_width, settings.projector_hidden, settings.embedding)
        self.text_projector = Projector(settings.text_width, settings.projector_hidden, settings.embedding)

    def forward(self, images: Tensor) -> Masks:
        """Images [B, 3, H, W] of ImageNet's statistics -> L = depth layers: `masks` [L, B, N, H/4, W/4], `queries`."""
        queries, mask_features = self.sem_seg_head(self.backbone(images))
        return Masks(self.sem_seg_head.masks(queries, mask_features), queries)

    def last_masks(self, images: Tensor) -> Masks:
        """The same of the last layer alone, L = 1."""
        queries, mask_features = self.sem_seg_head(self.backbone(images))
        return Masks(self.sem_seg_head.masks(queries[-1:], mask_features), queries[-1:])

    def embed_masks(self, queries: Tensor) -> Tensor:
        """Mask features [..., 256] to unit vectors [..., D] that compare with texts; for networks in eval mode.

        The projector learns from images; it is applied to single masks as it stands (GroupViT does the same).
        """
        return F.normalize(self.image_projector(queries), dim=-1)

    def embed_images(self, queries: Tensor) -> Tensor:
        """Mask features [B, N, 256] to unit vectors of the images [B, D]."""
        if self.settings.pooling == "mean_then_project":
            pooled = self.image_projector(queries.mean(1))
        else:
            pooled = self.image_projector(queries).mean(1)
        return F.normalize(pooled, dim=-1)

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """Tokens [S, 77] to unit vectors [S, D]."""
        # Nothing reads on behind its own end mark, the largest number: most of the places are empty.
        longest = int(tokens.argmax(1).max()) + 1
        return F.normalize(self.text_projector(end_states(self.text, tokens[:, :longest])), dim=-1)


class ImagePass(nn.Module):
    """uint8 tiles [B, 3, s, t], sides multiples of 32, to the last layer's answer, float32.

    `masks` [B, N, s/4, t/4] logits, `queries` [B, N, 256] that made them, `embeddings` [B, N, D] of them and `image`
    [B, D] of the whole tile, both of unit length.
    """

    def __init__(self, network: SSegNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """uint8 [B, 3, s, t] -> masks [B, N, s/4, t/4], queries [B, N, 256], embeddings [B, N, D], image [B, D]."""
        images = normalise(tiles, "imagenet").to(next(self.network.backbone.parameters()).dtype)
        logits, queries = (part[-1].float() for part in self.network.last_masks(images))
        return logits, queries, self.network.embed_masks(queries), self.network.embed_images(queries)
