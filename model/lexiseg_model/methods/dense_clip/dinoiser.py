"""CLIP-DINOiser (Wysoczanska et al., ECCV 2024): two convolutions taught what DINO and FOUND see.

Inference needs CLIP alone. The heads' state dict, as the authors' file has it:

    obj_proj.weight     [256, 768, 3, 3]   correlations between patches
    obj_proj.bias       [256]
    bkg_decoder.weight  [1, 768, 1, 1]     whether a patch shows an object
    bkg_decoder.bias    [1]

Both read the input of the feed-forward layer (after its norm) of the third block from the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.errors import ShapeError, WeightsError

DEPTH = 3  # the block whose tokens the heads read, counted from the end
CHANNELS = 256  # of the correlations' space
EPSILON = 1e-6  # beside the sum of the weights


class Pooled(NamedTuple):
    """`vectors` [N, D, h, w], not of unit length, and `objectness` [N, h, w], a probability."""

    vectors: Tensor
    objectness: Tensor


class DinoiserHeads(nn.Module):
    """Pools CLIP's patch vectors by learned correlations; says which patches show an object."""

    def __init__(self, width: int = 768, least_correlation: float = 0.2) -> None:
        super().__init__()
        self.obj_proj = nn.Conv2d(width, CHANNELS, 3, padding=1, padding_mode="replicate")
        self.bkg_decoder = nn.Conv2d(width, 1, 1)
        self.least_correlation = least_correlation

    def forward(self, inner: Tensor, vectors: Tensor) -> Pooled:
        """Pools one batch.

        Args:
            inner: [N, width, h, w], tokens of the opened block (`tokens_with_inner`, depth `DEPTH`).
            vectors: [N, D, h, w] MaskCLIP's, in the space of texts, not of unit length.

        Raises:
            ShapeError: the two have different grids.
        """
        if inner.shape[2:] != vectors.shape[2:]:
            raise ShapeError(f"grids differ: {list(inner.shape[2:])} and {list(vectors.shape[2:])}")
        correlation = self.correlations(inner)
        weights = correlation.where(correlation >= self.least_correlation, 0)
        pooled = vectors.flatten(2) @ weights  # the weights are symmetric: [N, D, P] x [N, P, P]
        pooled = pooled / (weights.sum(1, keepdim=True) + EPSILON)
        return Pooled(pooled.view_as(vectors), torch.sigmoid(self.object_logits(inner)))

    def correlations(self, inner: Tensor) -> Tensor:
        """Cosines [N, P, P] of all patches with all, from tokens [N, width, h, w] of the opened block; P = h * w."""
        units = F.normalize(self.obj_proj(inner).flatten(2), dim=1)  # [N, 256, P]
        cosines: Tensor = units.transpose(1, 2) @ units
        return cosines

    def object_logits(self, inner: Tensor) -> Tensor:
        """[N, width, h, w] -> [N, h, w]: above 0 where a patch shows an object."""
        logits: Tensor = self.bkg_decoder(F.normalize(inner, dim=1))
        return logits[:, 0]


def heads_from_state(raw: Mapping[str, Any], least_correlation: float = 0.2) -> DinoiserHeads:
    """Heads from a state dict; other entries, and prefixes before the four names, are ignored.

    Raises:
        WeightsError: one of the four is missing or of another shape.
    """
    names = ("obj_proj.weight", "obj_proj.bias", "bkg_decoder.weight", "bkg_decoder.bias")
    tensors = {
        name: value.float()
        for name in names
        for key, value in raw.items()
        if (key == name or key.endswith(f".{name}")) and isinstance(value, Tensor)
    }
    missing = [name for name in names if name not in tensors]
    if missing:
        raise WeightsError(f"no heads of CLIP-DINOiser: {missing[0]} is missing")
    if tensors["obj_proj.weight"].ndim != 4:
        raise WeightsError(f"obj_proj.weight is {list(tensors['obj_proj.weight'].shape)}; expected [256, width, 3, 3]")
    heads = DinoiserHeads(tensors["obj_proj.weight"].shape[1], least_correlation)
    try:
        heads.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"no heads of CLIP-DINOiser: {str(error).splitlines()[-1].strip()}") from None
    return heads.eval().requires_grad_(False)
