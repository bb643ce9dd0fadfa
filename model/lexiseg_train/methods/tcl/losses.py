"""Losses of TCL (section 3.3): two contrastive losses, two area priors, two smoothness terms.

B is the number of images with captions in a batch, N that of a whole step, over all its batches and processes. The
network makes rows of a batch, and the losses are computed from the rows of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.clip.vision import Tokens
from lexiseg_model.methods.tcl.network import EPSILON, hard_mask, similarity
from lexiseg_train.methods.tcl.trainings import LossSettings
from lexiseg_train.training.distributed import gather, place
from lexiseg_train.training.losses import Contrast, LossParts

if TYPE_CHECKING:
    from lexiseg_model.methods.tcl.network import TclNetwork


@dataclass(frozen=True)
class Losses(LossParts):
    """Parts of TCL's loss."""

    image_contrast: Tensor  # the image under its mask against the captions, TCL_v
    feature_contrast: Tensor  # embeddings pooled under masks against the captions, TCL_f
    area: Tensor  # masks of the own caption
    negative_area: Tensor  # masks of the others
    image_variation: Tensor  # total variation of the embedding map
    mask_variation: Tensor  # total variation of the masks


class Inputs(NamedTuple):
    """A batch as the losses take it; the first two are frozen CLIP's."""

    tokens: Tokens  # of the images, before the last block
    texts: Tensor  # [B, D] of the captions, of unit length
    images: Tensor  # [B, 3, H, W] on any device, normalised; sides are multiples of the patch
    noise: Tensor  # [B, H/4, W/4], result of `logistic_noise` for the hard masks
    all_texts: Tensor  # [N, D], `texts` of all batches of a step in all processes
    first: int  # number of the batch's first text among them


class Rows(NamedTuple):
    """All that the losses need of B images."""

    images: Tensor  # [B, D], unit vectors of the images under their own masks
    texts: Tensor  # [B, D], unit vectors of the captions
    cosines: Tensor  # [B, N] of captions and embeddings pooled under their masks
    area: Tensor  # [B], mean of the own caption's mask
    other_area: Tensor  # [B], mean of all other masks, 0 without others
    image_variation: Tensor  # [B], total variation of the embedding map
    mask_variation: Tensor  # [B], that of the masks


class TclLosses(nn.Module):
    """Losses of TCL with their two learned temperatures."""

    def __init__(self, settings: LossSettings) -> None:
        super().__init__()
        self.settings = settings
        self.image_contrast = Contrast()
        self.feature_contrast = Contrast()

    def forward(self, network: TclNetwork, images: Tensor, texts: Tensor, noise: Tensor) -> Losses:
        """Losses of one batch in every process; `texts` are rows [B, D] of captions, the others as in `Inputs`."""
        [inputs] = joined([inputs_of(network, images, texts, noise)])
        return self.of_rows(rows_of(network, inputs))

    def of_rows(self, rows: Rows) -> Losses:
        """Losses of all images of a step; `rows` are this process's."""
        weight = self.settings
        all_texts = gather(rows.texts)
        first, n_own = place() * len(rows.texts), len(rows.texts)
        # Own captions over all images.
        by_text = rows.texts @ gather(rows.images).T, gather(rows.cosines)[:, first : first + n_own].T
        return Losses(
            image_contrast=weight.image_contrast * self.image_contrast(rows.images @ all_texts.T, by_text[0]),
            feature_contrast=weight.feature_contrast * self.feature_contrast(rows.cosines, by_text[1]),
            area=weight.area * area_gap(rows.area, weight.own_share),
            negative_area=weight.negative_area
            * (area_gap(rows.other_area, weight.other_share) if len(all_texts) > 1 else rows.other_area.sum()),
            image_variation=weight.image_variation * rows.image_variation.mean(),
            mask_variation=weight.mask_variation * rows.mask_variation.mean(),
        )


@torch.no_grad()
def inputs_of(network: TclNetwork, images: Tensor, texts: Tensor, noise: Tensor) -> Inputs:
    """Inputs of one batch by itself; arguments as of `TclLosses.forward`."""
    own = F.normalize(texts, dim=1, eps=EPSILON)
    return Inputs(network.tokens(images), own, images, noise, own, 0)


def joined(inputs: Sequence[Inputs]) -> list[Inputs]:
    """Batches of one step that know the texts of all batches and processes, which are in the order of ranks."""
    all_texts = gather(torch.cat([each.texts for each in inputs]))
    size = len(inputs[0].texts)
    first = place() * len(inputs) * size
    return [each._replace(all_texts=all_texts, first=first + place * size) for place, each in enumerate(inputs)]


def rows_of(network: TclNetwork, inputs: Inputs) -> Rows:
    """Rows of one batch; `network` is in training, its towers frozen."""
    tokens, texts, images, noise, all_texts, first = inputs
    embedding = network.grounder(*tokens)
    logits = network.sim2mask(similarity(embedding, all_texts))  # [B, N, H/4, W/4]
    masks = torch.sigmoid(logits)
    n_images, n_texts = masks.shape[:2]
    number = torch.arange(n_images, device=masks.device)
    own = number, first + number
    areas = masks.mean((2, 3))  # [B, N]
    others = torch.ones_like(areas).index_put(own, areas.new_zeros(()))
    images = images.to(masks.device)
    masked = images * F.interpolate(hard_mask(logits[own], noise)[:, None], size=images.shape[-2:], mode="nearest")
    return Rows(
        images=F.normalize(network.image_embedding(masked), dim=1, eps=EPSILON),
        texts=texts,
        cosines=cosines(embedding, masks, all_texts),
        area=areas[own],
        other_area=(areas * others).sum(1) / max(1, n_texts - 1),
        image_variation=total_variation(embedding),
        mask_variation=total_variation(masks),
    )


def cosines(embedding: Tensor, masks: Tensor, texts: Tensor) -> Tensor:
    """Cosines [B, N] of unit vectors of texts [N, D] and the mean embedding under each text's mask."""
    means = torch.einsum("bdhw,bnhw->bnd", embedding, masks) / (masks.sum((2, 3))[..., None] + EPSILON)
    pooled = F.normalize(means, dim=2, eps=EPSILON)  # [B, N, D]
    return torch.einsum("bnd,nd->bn", pooled, texts)


def area_gap(areas: Tensor, share: float) -> Tensor:
    """Distance between `share` and the mean of the areas [B] of all processes: several learn the same as one."""
    return (gather(areas.mean()[None]).mean() - share).abs()


def total_variation(maps: Tensor) -> Tensor:
    """[B] mean absolute difference of vertical neighbours in [B, C, h, w] plus that of horizontal ones."""
    return maps.diff(dim=2).abs().mean((1, 2, 3)) + maps.diff(dim=3).abs().mean((1, 2, 3))
