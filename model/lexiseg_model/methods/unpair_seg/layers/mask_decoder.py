"""Mask decoder: nine layers of masked attention from prompt tokens to masks.

As in Mask2Former, a layer attends only inside the mask of the layer before. Two differences: prompts never attend to
each other, and the tokens of one prompt share their attention mask. So an answer does not depend on other prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.layers.prompts import GRANULARITIES, FourierPositions, PromptTokens

MASK_THRESHOLD = 0.5  # probability from which a pixel belongs to a mask, and may be looked at


class Prediction(NamedTuple):
    """`masks` [B, Q, M, H/4, W/4] as logits, `quality` [B, Q, M] as logits of the expected overlap with an object."""

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

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None = None) -> Tensor:
        """[N, Q, C], [N, S, C], [N, S, C] -> [N, Q, C]; `seen` [N, Q, S] bool says what a query may look at."""
        triples = zip((queries, keys, values), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        q, k, v = (F.linear(x, w, b).view(*x.shape[:2], self.heads, -1).transpose(1, 2) for x, w, b in triples)
        mask = None if seen is None else seen[:, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        attended: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return attended


class NormedAttention(nn.Module):
    """Attention, what was there added, and a norm behind."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, query_positions: Tensor | None, keys: Tensor, values: Tensor, seen: Tensor | None = None
    ) -> Tensor:
        """Tokens and their positions [N, Q, C], keys and values [N, S, C] -> [N, Q, C]; `seen` [N, Q, S]."""
        queries = tokens if query_positions is None else tokens + query_positions
        normed: Tensor = self.norm(tokens + self.attention(queries, keys, values, seen))
        return normed


class DecoderLayer(nn.Module):
    """Looks at the image, then at the prompt's other tokens, then thinks: [B, Q, K, C] -> same."""

    def __init__(self, width: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.across = NormedAttention(width, heads)
        self.within = NormedAttention(width, heads)
        self.up = nn.Linear(width, feed_forward)
        self.down = nn.Linear(feed_forward, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, start: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        """One layer.

        Args:
            tokens: [B, Q, K, C].
            start: [B, Q, K, C], the tokens as the prompt gave them; they stand for positions.
            keys, values: [B, S, C] of one level.
            seen: [B, Q, S] bool, what the tokens of each prompt may look at.

        Returns:
            [B, Q, K, C].
        """
        n_tokens, width = tokens.shape[2:]
        flat, places = tokens.flatten(1, 2), start.flatten(1, 2)
        flat = self.across(flat, places, keys, values, seen.repeat_interleave(n_tokens, 1))
        by_prompt, places = (x.view(-1, n_tokens, width) for x in (flat, places))  # [B * Q, K, C]
        by_prompt = self.within(by_prompt, places, by_prompt + places, by_prompt)
        by_prompt = self.norm(by_prompt + self.down(F.relu(self.up(by_prompt))))
        shaped: Tensor = by_prompt.view(tokens.shape)
        return shaped


class Perceptron(nn.Module):
    """Three linear layers, rectified between."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, each) for each in (width, width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., outputs]."""
        first, second, last = self.layers
        out: Tensor = last(F.relu(second(F.relu(first(x)))))
        return out


class MaskDecoder(nn.Module):
    """Prompt tokens and pixel features -> masks, after every layer or at the end."""

    def __init__(
        self, width: int = 256, heads: int = 8, depth: int = 9, feed_forward: int = 2048, levels: int = 3
    ) -> None:
        super().__init__()
        self.positions = FourierPositions(width)
        self.level = nn.Parameter(torch.randn(levels, width))
        self.first = NormedAttention(width, heads)
        self.layers = nn.ModuleList(DecoderLayer(width, heads, feed_forward) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.to_masks = nn.Conv2d(width, width, 1)
        self.mask_heads = nn.ModuleList(Perceptron(width, width) for _ in range(1 + GRANULARITIES))
        self.quality_heads = nn.ModuleList(Perceptron(width, 1) for _ in range(1 + GRANULARITIES))

    def forward(self, features: PixelFeatures, prompt: PromptTokens) -> Prediction:
        """Tokens [B, Q, K, C] of prompts -> `masks` [B, Q, M, H/4, W/4], `quality` [B, Q, M] after the last layer."""
        maps = self.to_masks(features.masks)
        *_, last = self._states(features, prompt, maps)
        return self._predict(last, prompt, maps)

    def every_layer(self, features: PixelFeatures, prompt: PromptTokens) -> list[Prediction]:
        """Masks before the first layer and after each: what deep supervision trains."""
        maps = self.to_masks(features.masks)
        return [self._predict(tokens, prompt, maps) for tokens in self._states(features, prompt, maps)]

    def _states(self, features: PixelFeatures, prompt: PromptTokens, maps: Tensor) -> Iterator[Tensor]:
        """Tokens [B, Q, K, C] before the first layer and after each."""
        levels = [self._level(*each) for each in zip(features.levels, self.level, strict=True)]
        # Masks are linear in the maps: made from smaller maps, they are the masks made smaller, for a fraction.
        with torch.no_grad():
            small = [_resized(maps, (each.shape[2], each.shape[3])) for each in features.levels]
        start = prompt.tokens
        by_prompt = start.flatten(0, 1)
        tokens = self.first(by_prompt, None, by_prompt, by_prompt).view(start.shape)
        yield tokens
        for index, layer in enumerate(self.layers):
            at = index % len(levels)
            with torch.no_grad():
                seen = visible(torch.einsum("bqmc,bchw->bqmhw", self._mask_vectors(tokens, prompt), small[at]))
            tokens = layer(tokens, start, *levels[at], seen)
            yield tokens

    def _level(self, maps: Tensor, mark: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, h * w, C] of a level."""
        values = maps.flatten(2).transpose(1, 2) + mark
        return values + self.positions.grid(maps.shape[2], maps.shape[3]), values

    def _mask_vectors(self, tokens: Tensor, prompt: PromptTokens) -> Tensor:  # [B, Q, K, C] -> [B, Q, M, C]
        pairs = zip(prompt.read, prompt.heads, strict=True)
        return torch.stack([self.mask_heads[head](self.norm(tokens[:, :, token])) for token, head in pairs], 2)

    def _predict(self, tokens: Tensor, prompt: PromptTokens, maps: Tensor) -> Prediction:
        pairs = zip(prompt.read, prompt.heads, strict=True)
        quality = torch.cat([self.quality_heads[head](self.norm(tokens[:, :, token])) for token, head in pairs], 2)
        return Prediction(torch.einsum("bqmc,bchw->bqmhw", self._mask_vectors(tokens, prompt), maps), quality)


def visible(masks: Tensor) -> Tensor:
    """Cells inside any mask of a prompt, [B, Q, M, h, w] -> [B, Q, h * w] bool; all cells where no mask has any."""
    inside = (masks.sigmoid() >= MASK_THRESHOLD).any(2).flatten(2)
    return inside | ~inside.any(-1, keepdim=True)


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
