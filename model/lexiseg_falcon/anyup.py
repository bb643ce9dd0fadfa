"""AnyUp: pixel features of a coarse map of features and the image, by attention within a window.

Written from the released computation; parameters have its names. Other than there, windows are cut out block by block
for torch's `scaled_dot_product_attention`, in place of one compiled sparse mask.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 128  # of queries and keys
HEADS = 4
BASIS = 5  # side of the filters that unify features of any width
WINDOW = 0.1  # share of a side to each direction that a pixel sees
BLOCK = 64  # side of the pixels attended to together
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.GroupNorm(8, WIDTH), nn.SiLU(), nn.Conv2d(WIDTH, WIDTH, 1, bias=False)]
        self.block = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.block(maps) + maps
        return out


class Unified(nn.Module):
    """Maps [B, 128, h, w] of features [B, C, h, w]: shares of filtered channels, averaged.

    The released code splits C x 128 maps, a channel's together, as 128 x C, and its weights were learned so: a
    share is among the maps that lie C places apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.zeros(WIDTH, 1, BASIS, BASIS))

    def forward(self, features: Tensor) -> Tensor:
        flat = features.flatten(0, 1)[:, None]  # [B C, 1, h, w]
        filtered = F.conv2d(flat, self.basis, padding=BASIS // 2)
        inside = F.conv2d(torch.ones_like(flat[:1]), torch.ones_like(self.basis[:1]), padding=BASIS // 2)
        batch, channels, height, width = features.shape
        split = (filtered / inside).reshape(batch, WIDTH, channels, height, width)
        return split.softmax(1).mean(2)


class Rotation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.freqs = nn.Parameter(torch.zeros(2, WIDTH))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, 128, h, w], rotated by the place of each pixel in 0..1."""
        rows, columns = (torch.linspace(0, 1, side, device=maps.device, dtype=maps.dtype) for side in maps.shape[2:])
        places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1)  # [h, w, 2]
        angle = (places @ self.freqs).permute(2, 0, 1)
        first, second = maps.chunk(2, 1)
        return maps * angle.cos() + torch.cat([-second, first], 1) * angle.sin()


class WindowAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm_q = nn.RMSNorm(WIDTH)
        self.norm_k = nn.RMSNorm(WIDTH)
        shapes = {"in_proj_weight": (3 * WIDTH, WIDTH), "in_proj_bias": (3 * WIDTH,)}  # the last third is not used
        self.attention = nn.ParameterDict({name: torch.zeros(shape) for name, shape in shapes.items()})

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Values [B, C, H, W] for queries [B, 128, H, W], of keys [B, 128, h, w] and values [B, C, h, w]."""
        weight, bias = (self.attention[name].chunk(3) for name in ("in_proj_weight", "in_proj_bias"))
        query = F.linear(self.norm_q(query.permute(0, 2, 3, 1)), weight[0], bias[0])  # [B, H, W, 128]
        key = F.linear(self.norm_k(key.permute(0, 2, 3, 1)), weight[1], bias[1])
        value = value.permute(0, 2, 3, 1)
        sides = zip(query.shape[1:3], key.shape[1:3], strict=True)
        sees = [_sees(pixels, cells, query.device) for pixels, cells in sides]
        out = query.new_zeros(*query.shape[:3], value.shape[3])
        for corner in product(*(range(0, side, BLOCK) for side in query.shape[1:3])):
            block = tuple(slice(start, start + BLOCK) for start in corner)
            spans = tuple(_span(side[part]) for side, part in zip(sees, block, strict=True))
            rows, columns = (side[part, cells] for side, part, cells in zip(sees, block, spans, strict=True))
            mask = (rows[:, None, :, None] & columns[None, :, None]).flatten(2).flatten(0, 1)
            heads = [_heads(part) for part in (query[:, *block], key[:, *spans], value[:, *spans])]
            mixed = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)
            out[:, *block] = mixed.transpose(1, 2).reshape(out[:, *block].shape).to(out.dtype)
        return out.permute(0, 3, 1, 2)


class AnyUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = _encoder(nn.Conv2d(3, WIDTH, 1, bias=False))
        self.key_encoder = _encoder(nn.Conv2d(WIDTH, WIDTH, 1, bias=False))
        self.query_encoder = _encoder(nn.Conv2d(WIDTH, WIDTH, 1, bias=False))
        self.key_features_encoder = _encoder(Unified())
        self.cross_decode = nn.ModuleDict(
            {"cross_attn": WindowAttention(), "conv2d": nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)}
        )
        joined = nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1, padding_mode="reflect", bias=False)
        self.aggregation = _encoder(joined)
        self.rope = Rotation()

    def forward(self, image: Tensor, features: Tensor, side: int) -> Tensor:
        """Features [B, C, side, side] of a square image [B, 3, S, S] in -1..1 and coarse features [B, C, s, s].

        S is a multiple of `side` and of s: all pixels pass the encoders, and are averaged after them.
        """
        mean, std = (torch.tensor(each, device=image.device).view(3, 1, 1) for each in (MEAN, STD))
        encoded = self.rope(self.image_encoder(((image * 0.5 + 0.5 - mean) / std).to(features)))
        query = self.cross_decode["conv2d"](_averaged(self.query_encoder(encoded), side))
        cells = _averaged(self.key_encoder(encoded), features.shape[2])
        key = self.aggregation(torch.cat([cells, self.key_features_encoder(F.normalize(features, dim=1))], 1))
        out: Tensor = self.cross_decode["cross_attn"](query, key, features)
        return out


def _encoder(first: nn.Module) -> nn.Sequential:
    return nn.Sequential(first, Residual(), Residual())


def _averaged(maps: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(maps, maps.shape[2] // side)


def _heads(cells: Tensor) -> Tensor:
    """[B, h, w, C] -> [B, heads, h w, C / heads]."""
    return torch.unflatten(cells.flatten(1, 2), -1, (HEADS, -1)).transpose(1, 2)


def _sees(pixels: int, cells: int, device: torch.device) -> Tensor:
    """Which cells of a side each pixel sees: bool [pixels, cells]."""
    place = (torch.arange(pixels, device=device, dtype=torch.float32)[:, None] + 0.5) / pixels
    low, high = (place - WINDOW).clamp(0, 1), (place + WINDOW).clamp(0, 1)
    cell = torch.arange(cells, device=device)
    return (cell >= (low * cells).floor()) & (cell < (high * cells).ceil())


def _span(sees: Tensor) -> slice:
    cells = sees.any(0).nonzero()[:, 0].tolist()
    return slice(cells[0], cells[-1] + 1)
