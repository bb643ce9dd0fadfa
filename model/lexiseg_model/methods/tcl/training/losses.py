"""Losses of TCL (section 3.3): two contrastive losses, two area priors, two smoothness terms.

B is the number of images with captions in this process, N that over all processes; caption j belongs to image j.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.methods.tcl.blend import similarity
from lexiseg_model.methods.tcl.grounder import EPSILON, hard_mask
from lexiseg_model.methods.tcl.training import LossSettings
from lexiseg_model.processes import rank
from lexiseg_model.training.distributed import gather
from lexiseg_model.training.losses import Contrast, LossParts

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


class TclLosses(nn.Module):
    """Losses of TCL with their two learned temperatures."""

    def __init__(self, settings: LossSettings) -> None:
        super().__init__()
        self.settings = settings
        self.image_contrast = Contrast()
        self.feature_contrast = Contrast()

    def forward(self, network: TclNetwork, images: Tensor, texts: Tensor, noise: Tensor) -> Losses:
        """Losses of one step.

        Args:
            network: the model in training, its towers frozen.
            images: [B, 3, H, W], normalised; sides are multiples of the patch.
            texts: rows [B, D] of the captions.
            noise: [B, H/4, W/4], result of `logistic_noise` for the hard masks.
        """
        weight = self.settings
        embedding = network.grounder(*network.tokens(images))
        all_texts = gather(F.normalize(texts, dim=1, eps=EPSILON))
        logits = network.sim2mask(similarity(embedding, all_texts))  # [B, N, H/4, W/4]
        masks = torch.sigmoid(logits)
        first, n_own = rank() * len(images), len(images)
        is_own = torch.zeros(logits.shape[:2], dtype=torch.bool, device=logits.device)
        is_own[torch.arange(n_own), first + torch.arange(n_own)] = True

        masked_embedding = network.image_embedding(_under(hard_mask(logits[is_own], noise), images))
        return Losses(
            image_contrast=weight.image_contrast * self._image_contrast(masked_embedding, all_texts, first),
            feature_contrast=weight.feature_contrast * self._feature_contrast(embedding, masks, all_texts, first),
            area=weight.area * area_gap(masks[is_own], weight.own_share),
            negative_area=weight.negative_area * area_gap(masks[~is_own], weight.other_share),
            image_variation=weight.image_variation * total_variation(embedding),
            mask_variation=weight.mask_variation * total_variation(masks),
        )

    def _image_contrast(self, images: Tensor, all_texts: Tensor, first: int) -> Tensor:
        """Contrast of masked images, embeddings [B, D], with captions [N, D] of unit length."""
        images = F.normalize(images, dim=1, eps=EPSILON)
        own_texts = all_texts[first : first + len(images)]
        loss: Tensor = self.image_contrast(images @ all_texts.T, own_texts @ gather(images).T)
        return loss

    def _feature_contrast(self, embedding: Tensor, masks: Tensor, all_texts: Tensor, first: int) -> Tensor:
        """Contrast of images and captions by the mean embedding under the caption's mask."""
        pooled = F.normalize(masked_mean(embedding, masks), dim=2, eps=EPSILON)  # [B, N, D]
        cosine = torch.einsum("bnd,nd->bn", pooled, all_texts)
        by_text = gather(cosine)[:, first : first + len(embedding)].T  # own captions over all images
        loss: Tensor = self.feature_contrast(cosine, by_text)
        return loss


def masked_mean(embedding: Tensor, masks: Tensor) -> Tensor:
    """Means [B, N, D] of maps [B, D, h, w] under soft masks [B, N, h, w]."""
    summed = torch.einsum("bdhw,bnhw->bnd", embedding, masks)
    return summed / (masks.sum((2, 3))[..., None] + EPSILON)


def area_gap(masks: Tensor, share: float) -> Tensor:
    """Distance between `share` and the mean of all masks [M, h, w] of all processes; 0 without masks.

    The mean is taken first, so that several processes learn the same as one.
    """
    return (gather(masks.mean()[None]).mean() - share).abs() if masks.numel() else masks.new_zeros(())


def total_variation(maps: Tensor) -> Tensor:
    """Mean absolute difference of vertical neighbours in [B, C, h, w] plus that of horizontal ones."""
    return maps.diff(dim=2).abs().mean() + maps.diff(dim=3).abs().mean()


def _under(masks: Tensor, images: Tensor) -> Tensor:
    """Images [B, 3, H, W] times their masks [B, h, w] at full size."""
    return images * F.interpolate(masks[:, None], size=images.shape[-2:], mode="nearest")
