"""Losses of S-Seg: pseudo-masks supervise where objects are, captions what they are.

Both losses train the queries and the backbone. Captions train neither the mask embedding nor the mask features, which
learn from pseudo-masks alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from lexiseg_model.methods.s_seg.network import SSegNetwork
from lexiseg_model.methods.s_seg.training.pseudo_masks import PseudoMasks
from lexiseg_model.methods.s_seg.training.recipe import PUBLISHED
from lexiseg_model.methods.s_seg.training.recipe import LossSettings as LossSettings
from lexiseg_model.training.distributed import gather
from lexiseg_model.training.losses import LossParts, matched_mask_losses


@dataclass(frozen=True)
class Losses(LossParts):
    """The parts of S-Seg's loss."""

    masks: Tensor  # of the last decoder layer
    earlier_masks: Tensor  # of the layers before it
    contrast: Tensor  # images against captions, both ways


class SSegLosses(nn.Module):
    """A network and what it is to learn; one module, so that it can be trained over several processes as a whole."""

    def __init__(self, network: SSegNetwork, settings: LossSettings = PUBLISHED) -> None:
        super().__init__()
        self.network = network
        self.settings = settings

    def forward(self, images: Tensor, tokens: Tensor, pseudo: PseudoMasks) -> Losses:
        """One step's losses.

        Args:
            images: [B, 3, H, W], normalised.
            tokens: [B, 77] of each image's own caption.
            pseudo: masks of the same images.
        """
        settings = self.settings
        logits, queries = self.network(images)
        supervised = logits if settings.earlier_layers else logits[-1:]
        mask_losses = matched_mask_losses(supervised, pseudo.masks, settings.mask_losses, pseudo.present)
        *earlier, last = settings.masks * mask_losses.weighted(settings.mask_losses)  # one of each layer
        contrast = self._contrast(self.network.embed_images(queries[-1]), self.network.embed_texts(tokens))
        return Losses(
            masks=last,
            earlier_masks=settings.earlier_layers * sum(earlier, logits.new_zeros(())),
            contrast=settings.contrast * contrast,
        )

    def _contrast(self, images: Tensor, texts: Tensor) -> Tensor:
        """Image to text plus text to image, of unit vectors [B, D] each, against those of all processes."""
        both: Tensor = 2 * self.network.contrast(images @ gather(texts).T, texts @ gather(images).T)
        return both
