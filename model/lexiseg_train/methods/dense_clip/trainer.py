"""Training of both towers of a CLIP with InfoNCE over captioned photographs, and their publication."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.weights import under
from lexiseg_model.clip.scale import MAX_SCALE
from lexiseg_model.clip.text import end_states
from lexiseg_model.clip.towers import configuration, fresh_clip, tokenizer
from lexiseg_model.methods.dense_clip.import_ import Options, read
from lexiseg_train.methods.dense_clip.trainings import ClipRecipe
from lexiseg_train.training.distributed import gather
from lexiseg_train.training.losses import contrast_loss, info_nce
from lexiseg_train.training.model_card import pairs_entries, write_model
from lexiseg_train.training.pair_run import PairBatch, PairRun, recall

FILE = "clip.safetensors"
CONFIGURATION = "open_clip_config.json"  # next to the weights: architecture and activation of the towers


class Rows(NamedTuple):
    images: Tensor
    texts: Tensor


class TowerPair(nn.Module):
    def __init__(self, architecture: str, quick_gelu: bool) -> None:
        super().__init__()
        self.clip: Any = fresh_clip(architecture, quick_gelu)  # open_clip is untyped

    def rows(self, images: Tensor, tokens: Tensor) -> Rows:
        """Unit vectors of images [B, 3, S, S], normalised, and of their captions, tokens [B, L]."""
        return Rows(F.normalize(self.clip.visual(images)), F.normalize(self.texts(tokens)))

    def of_rows(self, rows: Rows) -> Tensor:
        """Symmetric InfoNCE over the pairs of all processes (CLIP, figure 3); `rows` are this process's."""
        images, texts = rows
        by_image, by_text = images @ gather(texts).T, texts @ gather(images).T
        return contrast_loss(self.scale, by_image, by_text)

    @property
    def scale(self) -> Tensor:
        scale: Tensor = self.clip.logit_scale.exp().clamp(max=MAX_SCALE)
        return scale

    def texts(self, tokens: Tensor) -> Tensor:
        """Rows [B, D] of tokens [B, L], not of unit length."""
        rows: Tensor = end_states(self.clip, tokens) @ self.clip.text_projection
        return rows


class PairTrainer(PairRun[ClipRecipe, TowerPair]):
    file = FILE
    normalisation = "clip"

    def __init__(self, recipe: ClipRecipe) -> None:
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, TowerPair(recipe.architecture, recipe.quick_gelu), tokenizer(recipe.architecture))

    def _inputs(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        tokens = batch.tokens[:, : int(batch.tokens.argmax(1).max()) + 1]  # cut after the longest
        return batch.images, tokens

    def _rows(self, inputs: tuple[Tensor, Tensor]) -> Rows:
        with self.autocast():
            return self.network.rows(*(each.to(self.device) for each in inputs))

    def _loss_of_rows(self, rows: Rows) -> Tensor:
        return self.network.of_rows(rows)

    def _validate(self) -> dict[str, float]:
        if self.held_out is None:
            return {}
        pairs = self.held_out_pairs
        images, tokens = pairs.images.to(self.device), pairs.tokens.to(self.device)
        by_image, by_text = F.normalize(self.network.clip.visual(images)), F.normalize(self.network.texts(tokens))
        likeness = by_image @ by_text.T
        logits = likeness * self.network.scale
        return {"held_out_loss": info_nce(logits, logits.T).item()} | recall(likeness)

    def _extra_figures(self) -> dict[str, float]:
        return {"scale": round(self.network.clip.logit_scale.exp().item(), 2)}

    def _weights(self) -> dict[str, Tensor]:
        return under("clip.", self.average)

    def _save(self, name: str) -> None:
        super()._save(name)
        described = {"model_cfg": configuration(self.recipe.architecture) | {"quick_gelu": self.recipe.quick_gelu}}
        (self.recipe.out / CONFIGURATION).write_text(json.dumps(described, indent=2))


def untrained(recipe: ClipRecipe) -> TowerPair:
    with torch.device("meta"):
        return TowerPair(recipe.architecture, recipe.quick_gelu)


def publish(recipe: ClipRecipe, weights: Path) -> ModelCard | None:
    """Write a model directory; None for an image tower of timm, a ConvNeXt, which `dense-clip` does not support."""
    if "timm_model_name" in configuration(recipe.architecture)["vision_cfg"]:
        return None
    imported = read(
        Options(
            clip=(weights,), architecture=recipe.architecture, activation="quickgelu" if recipe.quick_gelu else "gelu"
        )
    )
    return write_model(imported, weights.parent, recipe, "random weights", {"training_data": pairs_entries(recipe)})
