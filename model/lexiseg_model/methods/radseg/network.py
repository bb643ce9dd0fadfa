"""RADSeg's towers: C-RADIO with a recursive last attention and a SigLIP 2 head, and SigLIP 2's text tower."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from lexiseg_model.catalogue.transformers_model import build_network
from lexiseg_model.catalogue.weights import require_tensors, under
from lexiseg_model.clip.images import Normalisation, normalise
from lexiseg_model.clip.patch_text import ImageTower
from lexiseg_model.clip.pretrained_text import PretrainedTextTower, TokenSettings
from lexiseg_model.clip.vision import patch_map

NAME = "RADSeg"
RADIO, HEAD, TEXTS = "radio.", "head.", "text."  # prefixes of weight names in a model directory


class RadSettings(TokenSettings):
    """Settings of a RADSeg card; both configurations are read from the checkpoints."""

    normalisation: Normalisation = "clip"
    attention_scale: float = Field(10, gt=0, description="of likeness in the last attention (SCRA)")
    picture_scale: float = Field(10, gt=0, description="of likeness over the whole picture (SCGA)")
    present: float = Field(0.5, ge=0, le=1, description="probability that a class must have somewhere to compete")
    config: dict[str, Any] = Field(description="of `transformers.RadioModel`")
    text_config: dict[str, Any] = Field(description="of `transformers.SiglipTextModel`")


class RecursiveAttention(nn.Module):
    """Self-correlating recursive attention (SCRA): each head's outputs attend to similar outputs of the same head.

    Args:
        attention: transformers' attention of the last layer, whose weights are used.
        scale: of cosines, before the softmax.
    """

    def __init__(self, attention: Any, scale: float) -> None:
        super().__init__()
        self.attention = attention
        self._scale = scale

    def forward(self, hidden_states: Tensor, **options: Any) -> tuple[Tensor, None]:
        """Attended tokens [N, L, C], and None in place of attention weights."""
        units = F.normalize(self._heads(self.attention(hidden_states, **options)[0]), dim=-1)
        cosines = units @ units.transpose(-1, -2) * self._scale  # [N, heads, L, L]
        weights = cosines.masked_fill(cosines < 0, -torch.inf).softmax(-1)
        mixed = weights @ self._heads(self.attention.v_proj(hidden_states))
        return self.attention.o_proj(mixed.transpose(1, 2).flatten(2)), None

    def _heads(self, tokens: Tensor) -> Tensor:
        """Split tokens [N, L, C] into heads: [N, heads, L, C / heads]."""
        return tokens.view(*tokens.shape[:2], -1, self.attention.head_dim).transpose(1, 2)


def aggregate(maps: Tensor, scale: float) -> Tensor:
    """Self-correlating global aggregation (SCGA): average each patch of [D, h, w] with those of above-mean cosine."""
    tokens = maps.flatten(1).T  # [h*w, D]
    units = F.normalize(tokens, dim=1)
    cosines = units @ units.T
    cosines = (cosines - cosines.mean()) * scale
    weights = cosines.masked_fill_(cosines < 0, -torch.inf).softmax(1)
    return (weights @ tokens).T.reshape(maps.shape)


class Head(nn.Module):
    """C-RADIO's summary adaptor, version 2, for one teacher; attribute names are those of its weights."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        """Build the head and load its weights. Raises ForeignWeightsError if they belong to another head."""
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
        """Project patches [..., C] into the teacher's space: [..., D]."""
        hidden = self.fc1(patches)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        projected: Tensor = self.final(hidden)
        return projected


class RadImageTower(ImageTower):
    """C-RADIO's patches before the head: windows are averaged first."""

    def __init__(self, settings: RadSettings, state: dict[str, Tensor]) -> None:
        """Build the tower. Raises ForeignWeightsError if the weights belong to another network."""
        super().__init__()
        from transformers import RadioConfig, RadioModel  # optional, and slow to import

        self.radio = build_network(RadioModel, RadioConfig(**settings.config), under(RADIO, state), NAME)
        self.radio.make_preprocessor_external()
        last = self.radio.encoder.layer[-1]
        last.attention = RecursiveAttention(last.attention, settings.attention_scale)
        self.head = Head(under(HEAD, state)).requires_grad_(False)
        self.multiple = int(self.radio.config.patch_size)
        self._settings = settings

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Patches [N, C, h, w] of tiles uint8 [N, 3, s, t] whose sides are multiples of the patch."""
        images = normalise(tiles, self._settings.normalisation).to(self.head.fc1.weight.dtype)
        grid = (tiles.shape[2] // self.multiple, tiles.shape[3] // self.multiple)
        return (patch_map(self.radio(images).features, grid).float(),)

    def to_text_space(self, maps: Tensor) -> Tensor:
        """Unit vectors [D, h, w] in the text space of the patches [C, h, w] of a whole image."""
        maps = aggregate(maps, self._settings.picture_scale).to(self.head.fc1.weight.dtype)
        return F.normalize(self.head(maps.permute(1, 2, 0)).float(), dim=2).permute(2, 0, 1)


class RadTextTower(PretrainedTextTower):
    """SigLIP 2's text tower; texts are lower-cased and lose their punctuation, as in SigLIP's training."""

    def __init__(self, settings: RadSettings, state: dict[str, Tensor], device: torch.device) -> None:
        """Build the tower. Raises WeightsError if the weights belong to another network or lack the tokenizer."""
        from transformers import SiglipTextConfig, SiglipTextModel  # optional, and slow to import

        text_state = under(TEXTS, state)
        model = build_network(SiglipTextModel, SiglipTextConfig(**settings.text_config), text_state, NAME)
        super().__init__(NAME, model, settings.text_config, settings, text_state, device)

    def tokens(self, texts: list[str]) -> Tensor:
        from open_clip.tokenizer import canonicalize_text  # after lexiseg_model.clip has declared operators

        return super().tokens([canonicalize_text(text) for text in texts])


def _layers(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, out))
