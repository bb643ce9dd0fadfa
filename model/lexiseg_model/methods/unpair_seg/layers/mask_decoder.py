"""Mask decoder: nine layers of masked attention from prompt tokens to masks, as in Mask2Former.

Unlike there, prompts do not attend to each other and the tokens of one prompt share an attention mask, so a result does
not depend on other prompts. Parameters have the names of the authors' checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.layers.prompts import GRANULARITIES, FourierPositions, PromptEncoder, PromptTokens
from lexiseg_model.methods.unpair_seg.settings import LEVELS

MASK_THRESHOLD = 0.5  # probability from which a pixel belongs to a mask and is visible to the next layer


class Prediction(NamedTuple):
    """Logits `masks` [B, Q, M, H/4, W/4], and `quality` [B, Q, M], logits of the expected overlap with an object."""

    masks: Tensor
    quality: Tensor


class Attention(nn.Module):
    """Multi-head attention with parameters packed as in torch's `MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, visible_keys: Tensor | None = None) -> Tensor:
        """Attend from [N, Q, C] to keys and values [N, S, C]: [N, Q, C]. `visible_keys` bool [N, Q, S]."""
        triples = zip((queries, keys, values), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        q, k, v = (F.linear(x, w, b).view(*x.shape[:2], self.heads, -1).transpose(1, 2) for x, w, b in triples)
        mask = None if visible_keys is None else visible_keys[:, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        attended: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return attended


class NormedAttention(nn.Module):
    """Attention with a residual and a final norm; `name` is the attention's name among the parameters."""

    def __init__(self, width: int, heads: int, name: str = "self_attn") -> None:
        super().__init__()
        self._name = name
        self.add_module(name, Attention(width, heads))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, query_positions: Tensor | None, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Attend from tokens [N, Q, C] with positions [N, Q, C] to [N, S, C]: [N, Q, C]; `mask` as in `Attention`."""
        queries = tokens if query_positions is None else tokens + query_positions
        normed: Tensor = self.norm(tokens + getattr(self, self._name)(queries, keys, values, mask))
        return normed


class FeedForward(nn.Module):
    """Two linear layers with a residual and a final norm."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply the layers to tokens [..., C]; the shape stays."""
        normed: Tensor = self.norm(tokens + self.linear2(F.relu(self.linear1(tokens))))
        return normed


class Perceptron(nn.Module):
    """Three linear layers with ReLU in between."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, each) for each in (width, width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors [..., width] to [..., outputs]."""
        first, second, last = self.layers
        out: Tensor = last(F.relu(second(F.relu(first(x)))))
        return out


class MaskDecoder(nn.Module):
    """Masks from prompt tokens and pixel features, after the last layer or after every layer."""

    def __init__(self, prompt_encoder: PromptEncoder, width: int, heads: int, depth: int, feed_forward: int) -> None:
        super().__init__()
        self.prompt_encoder = prompt_encoder
        self.pe_layer = FourierPositions(width)
        self.level_embed = nn.Embedding(LEVELS, width)
        self.extra_self_attention_layer = NormedAttention(width, heads)
        self.transformer_cross_attention_layers = nn.ModuleList()
        self.transformer_self_attention_layers = nn.ModuleList()
        self.transformer_ffn_layers = nn.ModuleList()
        for _ in range(depth):
            self.transformer_cross_attention_layers.append(NormedAttention(width, heads, "multihead_attn"))
            self.transformer_self_attention_layers.append(NormedAttention(width, heads))
            self.transformer_ffn_layers.append(FeedForward(width, feed_forward))
        self.decoder_norm = nn.LayerNorm(width)
        self.feat_embed = nn.Conv2d(width, width, 1)
        self.mask_embed = nn.ModuleList(Perceptron(width, width) for _ in range(1 + GRANULARITIES))
        self.iou_embed = nn.ModuleList(Perceptron(width, 1) for _ in range(1 + GRANULARITIES))

    def forward(self, features: PixelFeatures, prompt: PromptTokens) -> Prediction:
        """Prediction of the last layer for prompt tokens [B, Q, K, C]."""
        maps = self.feat_embed(features.masks)
        *_, last = self._states(features, prompt, maps)
        return self._predict(last, prompt, maps)

    def every_layer(self, features: PixelFeatures, prompt: PromptTokens) -> list[Prediction]:
        """Predictions before the first layer and after each, for deep supervision."""
        maps = self.feat_embed(features.masks)
        return [self._predict(tokens, prompt, maps) for tokens in self._states(features, prompt, maps)]

    def _states(self, features: PixelFeatures, prompt: PromptTokens, maps: Tensor) -> Iterator[Tensor]:
        """Yield tokens [B, Q, K, C] before the first layer and after each."""
        levels = [self._level(*each) for each in zip(features.levels, self.level_embed.weight, strict=True)]
        # Masks are linear in the maps, so masks of resized maps equal resized masks, at a fraction of the cost.
        with torch.no_grad():
            small = [
                F.interpolate(maps, size=each.shape[2:], mode="bilinear", align_corners=False)
                for each in features.levels
            ]
        start = prompt.tokens
        by_prompt = start.flatten(0, 1)
        tokens = self.extra_self_attention_layer(by_prompt, None, by_prompt, by_prompt).view(start.shape)
        yield tokens
        for index in range(len(self.transformer_ffn_layers)):
            at = index % len(levels)
            with torch.no_grad():
                mask = visible(torch.einsum("bqmc,bchw->bqmhw", self._mask_vectors(tokens, prompt), small[at]))
            tokens = self._layer(index, tokens, start, *levels[at], mask)
            yield tokens

    def _layer(self, index: int, tokens: Tensor, start: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Apply a layer to tokens [B, Q, K, C]: attention to the image, attention within each prompt, feed-forward.

        `start` tokens are positions; of keys and values [B, S, C] each prompt attends to the cells of `mask`, bool [B,
        Q, S].
        """
        n_tokens, width = tokens.shape[2:]
        flat, places = tokens.flatten(1, 2), start.flatten(1, 2)
        mask = mask.repeat_interleave(n_tokens, 1)
        flat = self.transformer_cross_attention_layers[index](flat, places, keys, values, mask)
        by_prompt, places = (x.view(-1, n_tokens, width) for x in (flat, places))  # [B * Q, K, C]
        within = self.transformer_self_attention_layers[index]
        by_prompt = within(by_prompt, places, by_prompt + places, by_prompt)
        shaped: Tensor = self.transformer_ffn_layers[index](by_prompt).view(tokens.shape)
        return shaped

    def _level(self, maps: Tensor, mark: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, [B, h * w, C] each, of a level [B, C, h, w] with its embedding [C]."""
        values = maps.flatten(2).transpose(1, 2) + mark
        return values + self.pe_layer.grid(maps.shape[2], maps.shape[3]), values

    def _mask_vectors(self, tokens: Tensor, prompt: PromptTokens) -> Tensor:  # [B, Q, K, C] -> [B, Q, M, C]
        pairs = zip(prompt.read, prompt.heads, strict=True)
        return torch.stack([self.mask_embed[head](self.decoder_norm(tokens[:, :, token])) for token, head in pairs], 2)

    def _predict(self, tokens: Tensor, prompt: PromptTokens, maps: Tensor) -> Prediction:
        pairs = zip(prompt.read, prompt.heads, strict=True)
        quality = torch.cat([self.iou_embed[head](self.decoder_norm(tokens[:, :, token])) for token, head in pairs], 2)
        return Prediction(torch.einsum("bqmc,bchw->bqmhw", self._mask_vectors(tokens, prompt), maps), quality)


def visible(masks: Tensor) -> Tensor:
    """Cells inside any mask of each prompt: bool [B, Q, h * w] of logits [B, Q, M, h, w]; all if there are none."""
    inside = (masks.sigmoid() >= MASK_THRESHOLD).any(2).flatten(2)
    return inside | ~inside.any(-1, keepdim=True)
