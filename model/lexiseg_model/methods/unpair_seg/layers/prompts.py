"""Prompt encoder: position encoding, and tokens of points and boxes with the image features below them.

A point is encoded as a box of a few pixels around it, so both have two corner tokens; learned mask tokens follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POINT_REACH = 2.0  # pixels of the input between a point and the sides of its box
GRANULARITIES = 4  # masks for a point


class FourierPositions(nn.Module):
    """Random Fourier features of coordinates: half of the `width` are sines, half cosines."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, places: Tensor) -> Tensor:
        """Encode places [..., 2], (x, y) in 0..1 of the image: [..., width]."""
        angles = (2 * places - 1) @ self.positional_encoding_gaussian_matrix * (2 * math.pi)
        return torch.cat([angles.sin(), angles.cos()], -1)

    def grid(self, height: int, width: int) -> Tensor:
        """Encode the centres of height x width cells in reading order: [height * width, width of the vectors]."""
        matrix = self.positional_encoding_gaussian_matrix
        vectors: Tensor = self(cell_centres(height, width, matrix.device).to(matrix))
        return vectors


def cell_centres(height: int, width: int, device: torch.device) -> Tensor:
    """Centres (x, y) in 0..1 of height x width equal cells in reading order: float32 [height * width, 2]."""
    y, x = ((torch.arange(n, dtype=torch.float32, device=device) + 0.5) / n for n in (height, width))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], -1).flatten(0, 1)


@dataclass(frozen=True)
class Places:
    """P points and boxes for each of Q objects in B images, in pixels of the network's input."""

    boxes: Tensor  # [B, Q, P, 4] as x0, y0, x1, y1; a point is a small box
    is_point: Tensor  # bool [B, Q, P]
    is_positive: Tensor  # bool [B, Q, P], whether a point lies on the object; ignored for boxes

    @classmethod
    def of_points(cls, points: Tensor, is_positive: Tensor | None = None) -> Places:
        """Places of points [B, Q, P, 2] (x, y) with bool [B, Q, P]; None: all positive."""
        on = torch.ones(points.shape[:-1], dtype=torch.bool, device=points.device)
        boxes = torch.cat([points - POINT_REACH, points + POINT_REACH], -1)
        return cls(boxes, on, on if is_positive is None else is_positive)

    @classmethod
    def of_boxes(cls, boxes: Tensor) -> Places:
        """Places of boxes [B, Q, 4], one per object."""
        nowhere = torch.zeros((*boxes.shape[:2], 1), dtype=torch.bool, device=boxes.device)
        return cls(boxes[:, :, None], nowhere, ~nowhere)

    def beside(self, others: Places) -> Places:
        """Join places of the same objects, such as a box and points in it: [B, Q, P + P', ...]."""
        return Places(
            torch.cat([self.boxes, others.boxes], 2),
            torch.cat([self.is_point, others.is_point], 2),
            torch.cat([self.is_positive, others.is_positive], 2),
        )


class PromptTokens(NamedTuple):
    """`tokens` [B, Q, K, C]; mask m is read from token `read[m]` by head `heads[m]`."""

    tokens: Tensor
    read: tuple[int, ...]
    heads: tuple[int, ...]


class PromptEncoder(nn.Module):
    """Prompt tokens from places and the features at them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pos_emb = FourierPositions(width)
        self.corner_emb = nn.Parameter(torch.randn(1, 2, width))  # top left, bottom right
        self.point_emb = nn.Parameter(torch.randn(1, 1, width))
        self.box_emb = nn.Parameter(torch.randn(1, 1, width))
        self.attr_emb = nn.Embedding(2, width)  # of a point: negative, positive
        self.mask_emb = nn.Parameter(torch.randn(1, 1 + GRANULARITIES, width))  # of a single mask, then by extent

    def points(self, points: Tensor, features: Tensor, size: tuple[int, int]) -> PromptTokens:
        """Tokens of prompts of one positive point [B, Q, 2] in pixels of an input of `size`, for four masks each."""
        tokens = self._with_masks(self.corners(Places.of_points(points[:, :, None]), features, size), 1 + GRANULARITIES)
        return PromptTokens(tokens, tuple(range(3, 3 + GRANULARITIES)), tuple(range(1, 1 + GRANULARITIES)))

    def boxes(self, boxes: Tensor, features: Tensor, size: tuple[int, int]) -> PromptTokens:
        """Tokens of prompts of one box [B, Q, 4], each for one mask; other arguments as in `points`."""
        tokens = self._with_masks(self.corners(Places.of_boxes(boxes), features, size), 1 + GRANULARITIES)
        return PromptTokens(tokens, (2,), (0,))

    def together(self, places: Places, features: Tensor, size: tuple[int, int]) -> PromptTokens:
        """Tokens of prompts of several places, each for one mask; other arguments as in `points`."""
        corners = self.corners(places, features, size)
        return PromptTokens(self._with_masks(corners, 1), (corners.shape[2],), (0,))

    def corners(self, places: Places, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Two tokens per place, top left and bottom right: [B, Q, 2P, C]."""
        height, width = size
        boxes = places.boxes / places.boxes.new_tensor([width, height, width, height])
        corners = boxes.view(*boxes.shape[:-1], 2, 2)  # [B, Q, P, 2, 2]
        signed = self.point_emb[0, 0] + self.attr_emb(places.is_positive.long())
        kinds = torch.where(places.is_point[..., None], signed, self.box_emb[0, 0])
        sampled = F.grid_sample(features, (2 * corners.mean(-2) - 1).to(features.dtype), align_corners=False)
        content = sampled.permute(0, 2, 3, 1)
        tokens: Tensor = self.pos_emb(corners) + self.corner_emb[0] + (kinds + content)[..., None, :]
        return tokens.flatten(2, 3)

    def _with_masks(self, corners: Tensor, n_masks: int) -> Tensor:
        return torch.cat([corners, self.mask_emb[:, None, :n_masks].expand(*corners.shape[:2], -1, -1)], 2)
