"""The network: one transformer over patches and text, with heads for centres, sizes and masks.

Written from the released computation (github.com/tiiuae/Falcon-Perception, Apache-2.0); parameters have its names.
Other than there, attention is torch's `scaled_dot_product_attention`: patches see one another and what is before them,
all other tokens what is before them, so a sequence is run in three pieces (the patches, the text, then token by token)
over one cache, without compiled masks. The gate of a head, sigmoid(logsumexp - sink), is a softmax with one more key
with the sink as score and zero as value: slot 0 of the cache.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import BaseModel, Field
from torch import Tensor, nn

from lexiseg_falcon.anyup import AnyUp

CHANNELS = 3
SINK = 1  # slots of the cache before the first token


class Architecture(BaseModel, extra="forbid", frozen=True):
    """Sizes of the network, under the names of the checkpoint's config.json."""

    dim: int = Field(gt=0, description="width of a token")
    n_layers: int = Field(gt=0, description="blocks of the transformer")
    n_heads: int = Field(gt=0, description="query heads of a block")
    n_kv_heads: int = Field(gt=0, description="heads of keys and values; each serves several query heads")
    head_dim: int = Field(
        gt=0, multiple_of=4, description="width of a head; half of it is rotated by place in the image"
    )
    vocab_size: int = Field(gt=0, description="tokens that there are")
    ffn_dim: int = Field(gt=0, description="hidden width of a block's feed-forward layers")
    norm_eps: float = Field(gt=0, description="added to the mean square in the last norm")
    rope_theta: float = Field(gt=0, description="base of the rotation by place in the sequence")
    max_seq_len: int = Field(gt=0, description="tokens of a sequence, image and answer included")
    spatial_patch_size: int = Field(gt=0, description="side of a patch in pixels")
    segm_out_dim: int = Field(gt=0, multiple_of=4, description="width of the pixel features that masks are made of")
    num_segm_layers: int = Field(gt=0, description="linear layers of the mask head")
    coord_enc_dim: int = Field(gt=0, description="Fourier features of a centre")
    coord_dec_dim: int = Field(gt=0, description="hidden width of the head for centres")
    coord_out_dim: int = Field(gt=0, description="bins of a centre, of both axes together")
    size_enc_dim: int = Field(gt=0, description="Fourier features of a size")
    size_dec_dim: int = Field(gt=0, description="hidden width of the head for sizes")
    size_out_dim: int = Field(gt=0, description="bins of a size, of both axes together")


class ControlTokens(BaseModel, extra="forbid", frozen=True):
    """Ids of the tokens that are no text."""

    bos: int | None = Field(description="token that begins every text; null: there is none")
    image: int = Field(description="place of a patch")
    before: list[int] = Field(description="tokens before the patches: the class token and the registers")
    after: int = Field(description="token that ends the image")
    coord: int = Field(description="an object's centre follows")
    size: int = Field(description="an object's size follows")
    seg: int = Field(description="an object's mask follows")
    stop: list[int] = Field(description="tokens that end the answer")


class FalconSettings(BaseModel, extra="forbid", frozen=True):
    """All that running the weights needs."""

    network: Architecture = Field(description="sizes of the network")
    tokens: ControlTokens = Field(description="ids of control tokens")
    # The values of the released demonstration.
    min_side: int = Field(256, gt=0, description="shortest side of the network's input, in pixels")
    max_pixels: int = Field(28 * 28 * 1280, gt=0, description="most pixels of the network's input")
    max_tokens: int = Field(
        600, gt=0, description="most tokens of an answer, three of each object; the release has 2048"
    )
    repeat_distance: float = Field(
        0.01, ge=0, lt=1, description="distance of two centres, as a share of the side, below which one is a repetition"
    )
    mask_threshold: float = Field(
        0.3, gt=0, lt=1, description="probability at which a pixel belongs to an object's mask"
    )


class KeyValues:
    """Keys and values of the tokens so far, after rotation; slot 0 is zero.

    `keys` [L, B, H, capacity, d] of all query heads, `values` [L, B, G, capacity, d] of the heads that they share.
    """

    def __init__(
        self, sizes: Architecture, batch: int, capacity: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (sizes.n_layers, batch, sizes.n_heads, SINK + capacity, sizes.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros((*shape[:2], sizes.n_kv_heads, *shape[3:]), device=device, dtype=dtype)
        self.length = SINK

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys [B, H, S, d] and values [B, G, S, d] behind the tokens so far; returns all of them."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def fill(self, keys: Tensor, values: Tensor) -> None:
        """Begin with keys [L, H, N, d] and values [L, G, N, d] of an image, for every sequence of the batch."""
        self.length = SINK + keys.shape[2]
        self.keys[:, :, :, SINK : self.length] = keys[:, None]
        self.values[:, :, :, SINK : self.length] = values[:, None]


class Fourier(nn.Module):
    """Embedding [N, out] of points [N, 2] in 0..1."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.embed = nn.Linear(2, features // 2, bias=False)
        self.transform = nn.Linear(features, out, bias=False)

    def forward(self, points: Tensor) -> Tensor:
        angle = 2 * math.pi * self.embed(points.to(self.embed.weight.dtype))
        embedded: Tensor = self.transform(torch.cat([angle.cos(), angle.sin()], -1))
        return embedded


class Bins(nn.Module):
    """Logits [N, 2, bins] of two numbers, of tokens [N, width]."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, out, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.w2(F.relu(self.w1(tokens)).square())
        return torch.unflatten(logits, -1, (2, -1))


class MaskQuery(nn.Module):
    """What a mask is made of [N, out], of tokens [N, width]."""

    def __init__(self, width: int, out: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(layers - 1)])
        self.pixel_layer = nn.Linear(width, out, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        for layer in self.layers:
            tokens = F.relu(layer(tokens)).square()
        query: Tensor = self.pixel_layer(tokens)
        return query


class Attention(nn.Module):
    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.heads, self.groups, self.width = sizes.n_heads, sizes.n_kv_heads, sizes.head_dim
        self.wqkv = nn.Linear(sizes.dim, (sizes.n_heads + 2 * sizes.n_kv_heads) * sizes.head_dim, bias=False)
        self.wo = nn.Linear(sizes.n_heads * sizes.head_dim, sizes.dim, bias=False)
        self.sinks = nn.Parameter(torch.zeros(sizes.n_heads))

    def forward(self, tokens: Tensor, turn: Tensor, cache: KeyValues, layer: int, causal: bool) -> Tensor:
        """Tokens [B, S, dim] -> [B, S, dim]; `turn` [S, H, d / 2] complex rotates their pairs."""
        batch, length = tokens.shape[:2]
        heads = torch.unflatten(self.wqkv(_unit(tokens)), -1, (-1, self.width))  # [B, S, H + 2 G, d]
        query, key, value = torch.split(heads, [self.heads, self.groups, self.groups], 2)
        query = _rotated(_unit(query), turn)
        key = _rotated(_unit(key).repeat_interleave(self.heads // self.groups, 2), turn)
        keys, values = cache.write(layer, key.transpose(1, 2), value.transpose(1, 2))
        # A group of query heads is the heads of one row, for which its values need no copy.
        shape = (batch * self.groups, self.heads // self.groups, -1, self.width)
        bias = self._bias(length, keys.shape[2], causal, keys.dtype).repeat(batch, 1, 1, 1)
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2).reshape(shape).to(keys.dtype),
            keys.reshape(shape),
            values.reshape(batch * self.groups, 1, -1, self.width).expand(-1, shape[1], -1, -1),
            attn_mask=bias.expand(-1, -1, length, -1),
        )
        mixed = mixed.reshape(batch, self.heads, length, self.width).transpose(1, 2).flatten(2)
        out: Tensor = self.wo(mixed)
        return out

    def _bias(self, length: int, total: int, causal: bool, dtype: torch.dtype) -> Tensor:
        """Added to the scores: the sink in slot 0, -inf at later tokens; [G, H / G, S or 1, total]."""
        rows = length if causal and length > 1 else 1
        bias = self.sinks.new_zeros(self.groups, self.heads // self.groups, rows, total, dtype=dtype)
        bias[..., 0] = self.sinks.view(self.groups, -1, 1)
        if rows > 1:
            later = torch.full((length, length), -torch.inf, device=bias.device, dtype=dtype).triu(1)
            bias[..., total - length :] += later
        return bias


class FeedForward(nn.Module):
    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.w13 = nn.Linear(sizes.dim, 2 * sizes.ffn_dim, bias=False)  # gate and value alternate
        self.w2 = nn.Linear(sizes.ffn_dim, sizes.dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        gate, value = torch.unflatten(self.w13(_unit(tokens)), -1, (-1, 2)).unbind(-1)
        out: Tensor = self.w2(F.relu(gate).square() * value)
        return out


class Block(nn.Module):
    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.feed_forward = FeedForward(sizes)

    def forward(self, tokens: Tensor, turn: Tensor, cache: KeyValues, layer: int, causal: bool) -> Tensor:
        tokens = tokens + self.attention(tokens, turn, cache, layer, causal)
        out: Tensor = tokens + self.feed_forward(tokens)
        return out


class FalconNetwork(nn.Module):
    """All weights of a Falcon Perception with masks."""

    freqs_cis_golden: Tensor  # [H, d / 4, 2]: turns of a pair by height and width

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.sizes = sizes
        patch = sizes.spatial_patch_size
        self.img_projector = nn.Linear(patch * patch * CHANNELS, sizes.dim, bias=False)
        self.tok_embeddings = nn.Embedding(sizes.vocab_size, sizes.dim)
        self.layers = nn.ModuleDict({str(layer): Block(sizes) for layer in range(sizes.n_layers)})
        self.norm = nn.RMSNorm(sizes.dim, eps=sizes.norm_eps)
        self.output = nn.Linear(sizes.dim, sizes.vocab_size, bias=False)
        self.coord_encoder = Fourier(sizes.coord_enc_dim, sizes.dim)
        self.coord_decoder = Bins(sizes.dim, sizes.coord_dec_dim, sizes.coord_out_dim)
        self.size_encoder = Fourier(sizes.size_enc_dim, sizes.dim)
        self.size_decoder = Bins(sizes.dim, sizes.size_dec_dim, sizes.size_out_dim)
        self.itok_upsampler = AnyUp()
        self.proj_segm = MaskQuery(sizes.dim, sizes.segm_out_dim, sizes.num_segm_layers)
        self.conv_segm = nn.Conv2d(sizes.dim, sizes.segm_out_dim, 3, padding=1)
        self.register_buffer("freqs_cis_golden", torch.zeros(sizes.n_heads, sizes.head_dim // 4, 2))

    def forward(
        self, tokens: Tensor, cache: KeyValues, position: Tensor, place: Tensor | None = None, causal: bool = True
    ) -> Tensor:
        """Run tokens [B, S, dim] behind the cache's, and add them to it: [B, S, dim] after the last norm.

        `position` [S] is in the sequence, `place` [S, 2] (height, width) in the image; None: these are no patches. A
        `causal` token sees itself and earlier ones, else all of `tokens` as well.
        """
        turn = self._turn(position, place)
        for layer, block in enumerate(self.layers.values()):
            tokens = block(tokens, turn, cache, layer, causal)
        cache.length += tokens.shape[1]
        out: Tensor = self.norm(tokens)
        return out

    def patches(self, pixels: Tensor) -> Tensor:
        """Embeddings [B, h w, dim] of colours [B, 3, h p, w p] in -1..1."""
        side = self.sizes.spatial_patch_size
        cells = torch.unflatten(torch.unflatten(pixels, 2, (-1, side)), 4, (-1, side))  # [B, 3, h, p, w, p]
        embedded: Tensor = self.img_projector(
            cells.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2).to(self.img_projector.weight.dtype)
        )
        return embedded

    def _turn(self, position: Tensor, place: Tensor | None) -> Tensor:
        """Rotations [S, H, d / 2] complex: the first half of the pairs by position, the others by place."""
        pairs = self.sizes.head_dim // 4
        steps = torch.arange(0, 2 * pairs, 2, device=position.device).float() / (2 * pairs)
        angle = torch.outer(position, 1 / self.sizes.rope_theta**steps).float()
        by_position = angle[:, None].expand(-1, self.sizes.n_heads, -1)
        by_place = torch.zeros_like(by_position)
        if place is not None:
            by_place = torch.einsum("sp,hfp->shf", place.float(), self.freqs_cis_golden.float())
        both = torch.cat([by_position, by_place], -1)
        return torch.polar(torch.ones_like(both), both)


def _unit(tokens: Tensor) -> Tensor:
    return F.rms_norm(tokens, (tokens.shape[-1],))


def _rotated(heads: Tensor, turn: Tensor) -> Tensor:
    """Heads [B, S, H, d] with each pair of numbers turned, in float32."""
    pairs = torch.view_as_complex(torch.unflatten(heads.float(), -1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turn).flatten(-2)
