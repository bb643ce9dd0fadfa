"""RADSeg's two towers: C-RADIO by transformers with another last attention and SigLIP 2's head, SigLIP's text tower."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from lexiseg_model.catalogue.transformers_model import Tokens, filled
from lexiseg_model.catalogue.weights import require_tensors, under
from lexiseg_model.clip.images import Normalisation, normalise
from lexiseg_model.clip.patch_text import ImageTower, PatchTextSettings
from lexiseg_model.clip.text import encode_in_chunks, rows_digest
from lexiseg_model.clip.vision import patch_map

NAME = "RADSeg"
RADIO, HEAD, TEXTS = "radio.", "head.", "text."  # of names in a model directory
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class RadSettings(PatchTextSettings):
    """A card's settings. The last four come from the checkpoints."""

    normalisation: Normalisation = "clip"
    attention_scale: float = Field(10, gt=0, description="of likeness in the last attention (SCRA)")
    picture_scale: float = Field(10, gt=0, description="of likeness over the whole picture (SCGA)")
    present: float = Field(0.5, ge=0, le=1, description="probability that a class must have somewhere to compete")
    config: dict[str, Any] = Field(description="of `transformers.RadioModel`")
    text_config: dict[str, Any] = Field(description="of `transformers.SiglipTextModel`")
    tokens: int = Field(gt=0, description="of a text, padding included")
    padding: int = Field(ge=0, description="the token that fills a text up")


class RecursiveAttention(nn.Module):
    """SCRA: attends, and attends once more from each head's output to those that are like it.

    Args:
        attention: `transformers`' of the last layer, whose weights are used.
        scale: of likeness.
    """

    def __init__(self, attention: Any, scale: float) -> None:
        super().__init__()
        self.v_proj, self.o_proj = attention.v_proj, attention.o_proj
        self.attention = attention
        self._head_width, self._scale = attention.head_dim, scale

    def forward(self, hidden_states: Tensor, **options: Any) -> tuple[Tensor, None]:
        """[N, L, C] -> the same, and no weights."""
        units = F.normalize(self._heads(self.attention(hidden_states, **options)[0]), dim=-1)
        likeness = units @ units.transpose(-1, -2) * self._scale  # [N, heads, L, L]
        weights = likeness.masked_fill(likeness < 0, -torch.inf).softmax(-1)
        seen = weights @ self._heads(self.v_proj(hidden_states))
        out: Tensor = self.o_proj(seen.transpose(1, 2).flatten(2))
        return out, None

    def _heads(self, tokens: Tensor) -> Tensor:
        """[N, L, C] -> [N, heads, L, C / heads]."""
        return tokens.view(*tokens.shape[:2], -1, self._head_width).transpose(1, 2)


def aggregated(maps: Tensor, scale: float) -> Tensor:
    """SCGA: each patch [D, h, w] becomes a mean of those that are more like it than patches of the picture are."""
    tokens = maps.flatten(1).T  # [h*w, D]
    units = F.normalize(tokens, dim=1)
    likeness = units @ units.T
    likeness = (likeness - likeness.mean()) * scale
    weights = likeness.masked_fill_(likeness < 0, -torch.inf).softmax(1)
    return (weights @ tokens).T.reshape(maps.shape)


class Head(nn.Module):
    """C-RADIO's adaptor of a teacher's summary, in its second version: names and shapes are those of its weights."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        """Raises ForeignWeightsError where the weights are of another head."""
        super().__init__()
        hidden, width = state["fc1.weight"].shape if "fc1.weight" in state else (1, 1)
        out = len(state.get("final.2.bias", ()))
        n_blocks = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
        self.fc1 = nn.Linear(width, hidden)
        self.blocks = nn.ModuleList(_layers(hidden, hidden) for _ in range(n_blocks))
        self.final = _layers(hidden, out)
        require_tensors(f"{NAME}'s head", state, self.state_dict())
        self.load_state_dict(state)

    def forward(self, patches: Tensor) -> Tensor:
        """[..., C] -> [..., D]."""
        hidden = self.fc1(patches)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        made: Tensor = self.final(hidden)
        return made


class RadImageTower(ImageTower):
    """Patches of C-RADIO, as they are: windows are averaged before the head."""

    def __init__(self, settings: RadSettings, state: dict[str, Tensor]) -> None:
        """Raises ForeignWeightsError where the weights are of another network."""
        super().__init__()
        from transformers import RadioConfig, RadioModel  # optional, and slow to import

        self.radio = filled(RadioModel, RadioConfig(**settings.config), under(RADIO, state), NAME)
        self.radio.make_preprocessor_external()
        last = self.radio.encoder.layer[-1]
        last.attention = RecursiveAttention(last.attention, settings.attention_scale)
        self.head = Head(under(HEAD, state)).requires_grad_(False)
        self.multiple = int(self.radio.config.patch_size)
        self._settings = settings

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """uint8 [N, 3, s, t] of whole patches -> [N, C, h, w]."""
        images = normalise(tiles, self._settings.normalisation).to(self.head.fc1.weight.dtype)
        grid = (tiles.shape[2] // self.multiple, tiles.shape[3] // self.multiple)
        return (patch_map(self.radio(images).features, grid).float(),)

    def of_picture(self, maps: Tensor) -> Tensor:
        """The patches [C, h, w] of a whole picture -> unit vectors [D, h, w] in the space of texts."""
        seen = aggregated(maps, self._settings.picture_scale).to(self.head.fc1.weight.dtype)
        return F.normalize(self.head(seen.permute(1, 2, 0)).float(), dim=2).permute(2, 0, 1)


class RadTextTower:
    """Rows [S, D] of SigLIP 2's text tower, of texts in small letters without punctuation."""

    def __init__(self, settings: RadSettings, state: dict[str, Tensor], device: torch.device) -> None:
        """Raises WeightsError where the weights are of another network, or lack the tokenizer."""
        from transformers import SiglipTextConfig, SiglipTextModel  # optional, and slow to import

        own = under(TEXTS, state)
        self._model = filled(SiglipTextModel, SiglipTextConfig(**settings.text_config), own, NAME).to(device)
        self._device = device
        self._tokens = Tokens(own, settings.tokens, settings.padding, NAME)
        self.width = int(self._model.head.out_features)
        self.digest = rows_digest((NAME, settings.text_config, settings.tokens, settings.padding), own)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [len(texts), width], not of unit length."""
        if not texts:
            return np.empty((0, self.width), np.float32)
        tokens, _ = self._tokens([canonical(text) for text in texts])
        return encode_in_chunks(tokens, self._rows, self.width, self._device, end_marked=False)

    @torch.inference_mode()
    def _rows(self, tokens: Tensor) -> Tensor:
        rows: Tensor = self._model(input_ids=tokens).pooler_output
        return rows.float()


def canonical(text: str) -> str:
    """As SigLIP's texts were written for training."""
    return " ".join(text.replace("_", " ").translate(NO_PUNCTUATION).lower().split())


def _layers(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, out))
