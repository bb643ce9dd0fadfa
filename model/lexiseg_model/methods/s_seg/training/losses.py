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
        earlier = logits.new_zeros(())
        if settings.earlier_layers:
            for layer in logits[:-1]:
                earlier = earlier + self._mask_loss(layer, pseudo)
        contrast = self._contrast(self.network.embed_images(queries[-1]), self.network.embed_texts(tokens))
        return Losses(
            masks=settings.masks * self._mask_loss(logits[-1], pseudo),
            earlier_masks=settings.masks * settings.earlier_layers * earlier,
            contrast=settings.contrast * contrast,
        )

    def _mask_loss(self, logits: Tensor, pseudo: PseudoMasks) -> Tensor:
        """Of one layer's masks [B, N, h, w], which are matched anew for every layer."""
        settings = self.settings.mask_losses
        return matched_mask_losses(logits, pseudo.masks, settings, pseudo.present).weighted(settings)

    def _contrast(self, images: Tensor, texts: Tensor) -> Tensor:
        """Image to text plus text to image, of unit vectors [B, D] each, against those of all processes."""
        both: Tensor = 2 * self.network.contrast(images @ gather(texts).T, texts @ gather(images).T)
        return both
