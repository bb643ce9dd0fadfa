"""Training of S-Seg: pseudo-masks supervise the masks, captions the embeddings.

Both losses train the queries and the backbone. Mask embedding and mask features learn from pseudo-masks only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.clip.text import tokenize
from lexiseg_model.methods.s_seg.network import SSegNetwork
from lexiseg_model.methods.s_seg.training import LossSettings, SSegRecipe
from lexiseg_model.methods.s_seg.training.pseudo_masks import PseudoMasks, mask_maker
from lexiseg_model.training.distributed import gather
from lexiseg_model.training.losses import LossParts, info_nce, matched_mask_losses
from lexiseg_model.training.pair_run import PairRun, recall
from lexiseg_model.training.pairs import PairBatch

BATCH = 50  # held-out pairs in one pass
NETWORK = "network."  # prefix of weight names in `SSegLosses`


@dataclass(frozen=True)
class Losses(LossParts):
    """Parts of S-Seg's loss."""

    masks: Tensor  # of the last decoder layer
    earlier_masks: Tensor  # of the layers before it
    contrast: Tensor  # images against captions, in both directions


class SSegLosses(nn.Module):
    """A network and its losses, as one module for training over several processes."""

    def __init__(self, network: SSegNetwork, settings: LossSettings) -> None:
        super().__init__()
        self.network = network
        self.settings = settings

    def forward(self, images: Tensor, tokens: Tensor, pseudo: PseudoMasks) -> Losses:
        """Losses of one step.

        Args:
            images: [B, 3, H, W], normalised.
            tokens: [B, 77], caption of each image.
            pseudo: pseudo-masks of the images.
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
        """Sum of image-to-text and text-to-image InfoNCE over all processes, of unit vectors [B, D] each."""
        both: Tensor = 2 * self.network.contrast(images @ gather(texts).T, texts @ gather(images).T)
        return both


class SSegTrainer(PairRun[SSegRecipe, SSegLosses]):
    """Trains the whole network; the tower of the pseudo-masks stays frozen."""

    file = WEIGHTS

    def __init__(self, recipe: SSegRecipe) -> None:
        """
        Raises:
            DatasetError: there are no pairs.
            WeightsError: the weights of the tower or of the backbone cannot be read or fetched.
        """
        self.maker = mask_maker(recipe.masks, recipe.tower)
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, SSegLosses(SSegNetwork(recipe.network, recipe.backbone), recipe.loss), tokenize)
        self.maker = self.maker.to(self.device)

    def _loss(self, batch: PairBatch) -> Tensor:
        self.skips.add(batch.skipped)
        images = batch.images.to(self.device, non_blocking=True)
        pseudo = self.maker(images)
        with self.autocast():
            losses = self.network(images, batch.tokens.to(self.device, non_blocking=True), pseudo)
        self.note(**losses.figures)
        total: Tensor = losses.total
        return total

    def _extra_figures(self) -> dict[str, float]:
        return {"scale": round(self.network.network.contrast.scale.item(), 2)}

    def _validate(self) -> dict[str, float]:
        """Retrieval among N held-out pairs; by chance a loss of at least 2 ln N, recall 1,000 / N."""
        if self.held_out is None:
            return {}
        network, pairs = self.network.network, self.held_out_pairs
        images = [
            network.embed_images(network.last_masks(some.to(self.device)).queries[-1])
            for some in torch.split(pairs.images, BATCH)
        ]
        texts = [network.embed_texts(some.to(self.device)) for some in torch.split(pairs.tokens, BATCH)]
        cosines = torch.cat(images) @ torch.cat(texts).T
        logits = network.contrast.scale * cosines
        return {"held_out_contrast": 2 * info_nce(logits, logits.T).item()} | recall(cosines, (10,))

    def _weights(self) -> dict[str, Tensor]:
        return {name.removeprefix(NETWORK): value for name, value in self.average.items()}


def untrained(recipe: SSegRecipe) -> SSegNetwork:
    """Untrained network of a recipe."""
    return SSegNetwork(recipe.network)
