"""transformers' SAM 3 in parts: image pass, text pass, decoder pass per text, and the tracker for prompts."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from lexiseg_model.catalogue.transformers_model import TOKENIZER, Tokens, build_network
from lexiseg_model.catalogue.weights import state_digest
from lexiseg_model.clip.compat import without_compiler
from lexiseg_model.methods.sam2.head import PromptHead, SquareSettings
from lexiseg_model.methods.sam3.examples import Exemplars

NAME = "SAM 3"
TRACKER = ("tracker_model.", "tracker_neck.")  # prefixes of its weight names
BATCH_SIZE = 32  # texts
TEXT_SIDE = ("text_encoder.", "text_projection.", TOKENIZER)


class Sam3Settings(SquareSettings):
    """All that running the weights needs."""

    config: dict[str, Any] = Field(
        description="configuration of `transformers.Sam3Model` or `Sam3LiteTextModel`, as saved"
    )
    tracker: dict[str, Any] | None = Field(
        None, description="configuration of `Sam3TrackerVideoModel`; None: words alone"
    )
    tokens: int = Field(gt=0, description="tokens of a text, with those that begin and end it, and padding")
    padding: int = Field(ge=0, description="the token that fills a text up")
    probability: float = Field(0.5, gt=0, lt=1, description="probability that a class needs to own a pixel")


def classes_of(model_type: str | None) -> tuple[Any, Any]:
    """transformers' configuration and model classes of a model type."""
    import transformers  # optional, and slow to import

    name = "Sam3LiteText" if model_type == "sam3_lite_text" else "Sam3"
    return getattr(transformers, f"{name}Config"), getattr(transformers, f"{name}Model")


class Detections(NamedTuple):
    """Of B texts and Q queries: `score` [B, Q], `masks` [B, Q, h, w], `presence` [B], `semantic` [B, h, w]; masks are
    logits."""

    score: Tensor
    masks: Tensor
    presence: Tensor
    semantic: Tensor


class Tracker(nn.Module):
    """The tracker of a `Sam3VideoModel`, with the same weight names."""

    def __init__(self, settings: Sam3Settings) -> None:
        from transformers import Sam3Config, Sam3TrackerVideoConfig, Sam3TrackerVideoModel  # optional, slow to import
        from transformers.models.sam3.modeling_sam3 import Sam3VisionNeck

        super().__init__()
        config = Sam3TrackerVideoConfig(**(settings.tracker or {}))
        self.tracker_model = Sam3TrackerVideoModel(config, remove_vision_encoder=True)
        self.tracker_neck = Sam3VisionNeck(Sam3Config(**settings.config).vision_config)


class Sam3Network:
    """A `Sam3Model` on one device, with its tracker if it has one; float32 except in the image pass."""

    head: PromptHead | None = None

    def __init__(self, settings: Sam3Settings, state: dict[str, Tensor], device: torch.device) -> None:
        config, model = classes_of(settings.config.get("model_type"))
        detector = {name: value for name, value in state.items() if not name.startswith(TRACKER)}
        self.model: Any = build_network(model, config(**settings.config), detector, NAME).to(device)
        self.device = device
        if settings.tracker is not None:
            tracker = {name: value for name, value in state.items() if name.startswith(TRACKER)}
            self.tracker: Any = build_network(Tracker, settings, tracker, NAME).to(device)
            self.head = PromptHead(self.tracker.tracker_model, self.tracker.tracker_neck.position_encoding, device)
        self.width = int(self.model.text_projection.out_features)

    def levels(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Maps [N, C, h, w] of the detector, finest first, then of the tracker, for normalised colours [N, 3, s, s]."""
        encoded = self.model.vision_encoder(pixels)
        maps: tuple[Tensor, ...] = encoded.fpn_hidden_states[:-1]  # forward() leaves out the last as well
        if self.head is not None:
            patches = encoded.last_hidden_state.transpose(1, 2).unflatten(2, maps[-1].shape[2:])  # [N, C, h, w]
            maps = (*maps, *self.head.maps(self.tracker.tracker_neck(patches)[0][:-1]))
        return maps

    def detect(
        self, levels: list[Tensor], words: Tensor, valid: Tensor, exemplars: Exemplars | None = None
    ) -> Detections:
        """Decoder pass of B texts, `words` [B, L, C] with `valid` [B, L], in an image; B is 1 with exemplar boxes."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        n = len(words)
        maps = tuple(level.expand(n, *level.shape) for level in levels)
        encode_positions = self.model.vision_encoder.neck.position_encoding
        positions = tuple(encode_positions(level.shape, level.device, level.dtype) for level in maps)
        with nullcontext() if exemplars is None else without_compiler():
            output = self.model(
                # forward() leaves out the last of both.
                vision_embeds=Sam3VisionEncoderOutput(
                    fpn_hidden_states=(*maps, maps[-1]), fpn_position_encoding=(*positions, positions[-1])
                ),
                text_embeds=BaseModelOutputWithPooling(pooler_output=words),
                attention_mask=valid.long(),
                input_boxes=None if exemplars is None else exemplars.boxes[None],
                input_boxes_labels=None if exemplars is None else exemplars.labels[None],
            )
        presence = output.presence_logits.sigmoid().view(n)
        score = output.pred_logits.sigmoid() * presence[:, None]
        return Detections(score, output.pred_masks, presence, output.semantic_seg[:, 0])


class TokenRows:
    """Encoder of texts as rows [L * C + 1]: the features of their tokens, and the number of tokens without padding."""

    def __init__(self, network: Sam3Network, settings: Sam3Settings, state: dict[str, Tensor]) -> None:
        self._network = network
        self._settings = settings
        self._tokens = Tokens(state, settings.tokens, settings.padding, NAME)
        weights = state_digest({name: value for name, value in state.items() if name.startswith(TEXT_SIDE)})
        self.digest = hashlib.sha256(f"sam3 {weights} {settings.tokens} {settings.padding}".encode()).hexdigest()[:16]
        self.width = settings.tokens * network.width + 1

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Encode S texts: rows [S, L * C + 1] float32."""
        rows, device = np.empty((len(texts), self.width), np.float32), self._network.device
        for first in range(0, len(texts), BATCH_SIZE):
            ids, valid = (part.to(device) for part in self._tokens(texts[first : first + BATCH_SIZE]))
            features = self._network.model.get_text_features(ids, attention_mask=valid.long()).pooler_output
            batch = rows[first : first + len(ids)]
            batch[:, :-1] = (features.float() * valid[..., None]).flatten(1).cpu().numpy()  # zero at padding
            batch[:, -1] = valid.sum(1).cpu().numpy()
        return rows

    def words(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Token features [T, L, C] of rows [T, L * C + 1], and a bool mask [T, L], False at padding."""
        valid = torch.arange(self._settings.tokens, device=vectors.device) < vectors[:, -1:]
        return vectors[:, :-1].reshape(-1, self._settings.tokens, self._network.width), valid
