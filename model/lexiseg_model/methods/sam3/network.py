"""transformers' SAM 3 in parts: an image pass, a text pass, a decoder pass per word, and the tracker for prompts."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from lexiseg_model.catalogue.transformers_model import TOKENIZER, Tokens, filled
from lexiseg_model.catalogue.weights import state_digest
from lexiseg_model.clip.compat import without_compiler
from lexiseg_model.methods.sam3.examples import Shown
from lexiseg_model.types import StrictModel
from lexiseg_model.video.sam import PromptHead


class Sam3Settings(StrictModel):
    """All that is needed beside the weights to run them."""

    config: dict[str, Any] = Field(description="of `transformers.Sam3Model` or `Sam3LiteTextModel`, as saved")
    tracker: dict[str, Any] | None = Field(None, description="of `Sam3TrackerVideoModel`; None: words alone")
    side: int = Field(gt=0, description="of the network's input in pixels; pictures are brought to this square")
    mean: tuple[float, float, float] = Field(description="of colours in 0..1")
    std: tuple[float, float, float] = Field(description="of colours in 0..1")
    tokens: int = Field(gt=0, description="of a text, with those that begin and end it, and padding")
    padding: int = Field(ge=0, description="the token that fills a text up")
    probability: float = Field(0.5, gt=0, lt=1, description="that a class needs to own a pixel")


NAME = "SAM 3"


def kind_of(model_type: str | None) -> tuple[Any, Any]:
    """The classes of a model type: of its configuration, and its model."""
    import transformers  # optional, and slow to import

    name = "Sam3LiteText" if model_type == "sam3_lite_text" else "Sam3"
    return getattr(transformers, f"{name}Config"), getattr(transformers, f"{name}Model")


class Seen(NamedTuple):
    """What the passes of B words see: `score` [B, Q] and mask logits `masks` [B, Q, h, w] of instances, `presence` [B]
    of the word in the image, `semantic` logits [B, h, w]. Scores are probabilities, presence is in them."""

    score: Tensor
    masks: Tensor
    presence: Tensor
    semantic: Tensor


class Tracker(nn.Module):
    """What a `Sam3VideoModel` has beside its detector, under the same names of weights."""

    def __init__(self, settings: Sam3Settings) -> None:
        from transformers import Sam3Config, Sam3TrackerVideoConfig, Sam3TrackerVideoModel  # optional, slow to import
        from transformers.models.sam3.modeling_sam3 import Sam3VisionNeck

        super().__init__()
        config = Sam3TrackerVideoConfig(**(settings.tracker or {}))
        self.tracker_model = Sam3TrackerVideoModel(config, remove_vision_encoder=True)
        self.tracker_neck = Sam3VisionNeck(Sam3Config(**settings.config).vision_config)


TRACKER = ("tracker_model.", "tracker_neck.")  # its weights


class Sam3Network:
    """A `Sam3Model` on one device, with its tracker where it has one; float32 but for the image pass."""

    head: PromptHead | None = None

    def __init__(self, settings: Sam3Settings, state: dict[str, Tensor], device: torch.device) -> None:
        config, model = kind_of(settings.config.get("model_type"))
        detector = {name: value for name, value in state.items() if not name.startswith(TRACKER)}
        self.model: Any = filled(model, config(**settings.config), detector, NAME).to(device)
        self.device = device
        if settings.tracker is not None:
            rest = {name: value for name, value in state.items() if name.startswith(TRACKER)}
            self.tracker: Any = filled(Tracker, settings, rest, NAME).to(device)
            self.head = PromptHead(self.tracker.tracker_model, self.tracker.tracker_neck.position_encoding, device)
        colours = torch.tensor([settings.mean, settings.std]).view(2, 1, 3, 1, 1)
        self._mean, self._std = colours.to(device)
        self.width = int(self.model.text_projection.out_features)

    def levels(self, tiles: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """uint8 [N, 3, s, s] -> the maps [N, C, h, w] that words are asked of, finest first, then those of the head."""
        pixels = (tiles.to(self.device).float() / 255 - self._mean) / self._std
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            seen = self.model.vision_encoder(pixels)
            maps = seen.fpn_hidden_states[:-1]  # forward() leaves out the last, too
            if self.head is not None:
                patches = seen.last_hidden_state.transpose(1, 2).unflatten(2, maps[-1].shape[2:])  # [N, C, h, w]
                maps = (*maps, *self.head.maps(self.tracker.tracker_neck(patches)[0][:-1]))
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


AT_ONCE = 32  # texts
TEXT_SIDE = ("text_encoder.", "text_projection.", TOKENIZER)


class TextRows:
    """Rows [L * C + 1] of texts: their tokens' vectors, then how many tokens are no padding."""

    def __init__(self, network: Sam3Network, settings: Sam3Settings, state: dict[str, Tensor]) -> None:
        self._network = network
        self._settings = settings
        self._tokens = Tokens(state, settings.tokens, settings.padding, NAME)
        own = state_digest({name: value for name, value in state.items() if name.startswith(TEXT_SIDE)})
        self.digest = hashlib.sha256(f"sam3 {own} {settings.tokens} {settings.padding}".encode()).hexdigest()[:16]
        self.width = settings.tokens * network.width + 1

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """[S, L * C + 1]."""
        rows = np.empty((len(texts), self.width), np.float32)
        for first in range(0, len(texts), AT_ONCE):
            ids, valid = self._tokens(texts[first : first + AT_ONCE])
            some = rows[first : first + len(ids)]
            some[:, :-1] = self._network.tokens(ids, valid).flatten(1).cpu().numpy()
            some[:, -1] = valid.sum(1).numpy()
        return rows

    def words(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [T, L * C + 1] -> tokens [T, L, C], and which are no padding [T, L]."""
        valid = torch.arange(self._settings.tokens, device=vectors.device) < vectors[:, -1:]
        return vectors[:, :-1].reshape(-1, self._settings.tokens, self._network.width), valid
