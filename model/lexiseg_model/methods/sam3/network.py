"""`transformers`' SAM 3 in the parts that are asked apart: an image pass, a text pass, and a pass for each word."""

from __future__ import annotations

from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.clip.compat import without_compiler
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.sam3.examples import Shown
from lexiseg_model.methods.sam3.settings import Sam3Settings

TOKENIZER = "tokenizer.json"  # its bytes, among the weights


class Seen(NamedTuple):
    """What the passes of B words see: `score` [B, Q] and mask logits `masks` [B, Q, h, w] of instances, `presence` [B]
    of the word in the image, `semantic` logits [B, h, w]. Scores are probabilities, presence is in them."""

    score: Tensor
    masks: Tensor
    presence: Tensor
    semantic: Tensor


def require_transformers() -> None:
    """Says what to install.

    Raises:
        WeightsError: it is not there.
    """
    if find_spec("transformers") is None:
        raise WeightsError("SAM 3 runs by transformers, which is not installed: pip install 'transformers>=5.23,<6'")


class Sam3Network:
    """A `Sam3Model` on one device; float32 but for the image pass."""

    def __init__(self, settings: Sam3Settings, state: dict[str, Tensor], device: torch.device) -> None:
        from transformers import Sam3Config, Sam3Model  # optional, and slow to import

        with torch.random.fork_rng(devices=[]):  # its random weights give way to `state`
            self.model: Any = Sam3Model(Sam3Config(**settings.config))
        self.model.float()
        missing, unexpected = self.model.load_state_dict(state, strict=False)
        if missing or unexpected:
            raise WeightsError(f"weights of another SAM 3: {len(missing)} missing, {len(unexpected)} unexpected")
        self.model.eval().requires_grad_(False).to(device)
        self.device = device
        colours = torch.tensor([settings.mean, settings.std]).view(2, 1, 3, 1, 1)
        self._mean, self._std = colours.to(device)
        self.width = int(self.model.text_projection.out_features)

    def levels(self, tiles: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """uint8 [N, 3, s, s] -> the maps [N, C, h, w] that words are asked of, finest first."""
        pixels = (tiles.to(self.device).float() / 255 - self._mean) / self._std
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            maps = self.model.vision_encoder(pixels).fpn_hidden_states[:-1]  # forward() leaves out the last, too
        return tuple(level.float() for level in maps)

    def tokens(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Tokens [S, L], and which are no padding -> [S, L, C], zero where they are."""
        there = valid.to(self.device)
        features: Tensor = self.model.get_text_features(ids.to(self.device), attention_mask=there.long()).pooler_output
        return features.float() * there[..., None]

    def see(self, levels: list[Tensor], words: Tensor, valid: Tensor, shown: Shown | None = None) -> Seen:
        """B words in one image.

        Args:
            levels: [C, h, w] each, of `levels`.
            words: [B, L, C], of `tokens`.
            valid: [B, L] bool.
            shown: boxes of this image beside the word, of which there is but one then.
        """
        from transformers.modeling_outputs import BaseModelOutputWithPooling
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        n = len(words)
        maps = tuple(level.expand(n, *level.shape) for level in levels)
        place = self.model.vision_encoder.neck.position_encoding
        places = tuple(place(level.shape, level.device, level.dtype) for level in maps)
        with nullcontext() if shown is None else without_compiler():
            seen = self.model(
                # The last of either is left out by forward().
                vision_embeds=Sam3VisionEncoderOutput(
                    fpn_hidden_states=(*maps, maps[-1]), fpn_position_encoding=(*places, places[-1])
                ),
                text_embeds=BaseModelOutputWithPooling(pooler_output=words),
                attention_mask=valid.long(),
                input_boxes=None if shown is None else shown.boxes[None],
                input_boxes_labels=None if shown is None else shown.labels[None],
            )
        presence = seen.presence_logits.sigmoid().view(n)
        return Seen(seen.pred_logits.sigmoid() * presence[:, None], seen.pred_masks, presence, seen.semantic_seg[:, 0])


def resized(rgb: Tensor, side: int) -> Tensor:
    """uint8 [H, W, 3] -> uint8 [3, side, side], as `Sam3ImageProcessor` does: bilinear, smoothed where it shrinks."""
    return F.interpolate(rgb.permute(2, 0, 1)[None], (side, side), mode="bilinear", antialias=True)[0]
