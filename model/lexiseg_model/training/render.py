"""Crops made where the network is: photographs lie on the device, a batch of views becomes a batch of pixels there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lexiseg_model.training.augment import BORDER, LUMA
from lexiseg_model.training.packs import Pack
from lexiseg_model.training.views import Colours, Matrix

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))  # (down, across) of the four pixels that a point lies between


class Views(NamedTuple):
    """B views: `packs` [B]; `places` [B, 3] offset, height and width of the photograph in its pack; `steps` [B, 4] how
    far across a photograph one pixel of the crop goes and where it begins, then down; `colours` [B, 5] saturation,
    contrast and three gains."""

    packs: Tensor
    places: Tensor
    steps: Tensor
    colours: Tensor


class View(NamedTuple):
    """One crop: which pack, which of its photographs, where, and in what colours."""

    pack: int
    place: Sequence[int]
    matrix: Matrix
    colours: Colours


def stack_views(views: Sequence[View]) -> Views:
    """As tensors."""
    steps = []
    for view in views:
        (scale_x, _, shift_x), (_, scale_y, shift_y) = view.matrix.tolist()
        steps.append([1 / scale_x, -shift_x / scale_x, 1 / scale_y, -shift_y / scale_y])
    colours = [[view.colours.saturation, view.colours.contrast, *view.colours.gain] for view in views]
    return Views(
        torch.tensor([view.pack for view in views]),
        torch.tensor(np.array([view.place for view in views], np.int64)),
        torch.tensor(steps),
        torch.tensor(np.array(colours, np.float32)),
    )


def resident(packs: Sequence[Pack], device: torch.device) -> list[Tensor]:
    """Each pack's pixels [N, 3] uint8 on the device; on the CPU they stay in the mapped file."""
    return [torch.from_numpy(pack.pixels).view(-1, 3).to(device) for pack in packs]


def render(store: Sequence[Tensor], views: Views, size: int) -> Tensor:
    """Crops [B, 3, size, size] float of 0..255, channels last, on the device of `store`."""
    device = store[0].device
    at = torch.arange(size, device=device, dtype=torch.float32)
    crops = torch.empty(len(views.packs), size, size, 3, device=device)
    for which in sorted(set(views.packs.tolist())):
        members = (views.packs == which).nonzero()[:, 0]
        places, steps = (part[members].to(device) for part in (views.places, views.steps))
        crops[members.to(device)] = _sampled(store[which], places, steps, at)
    return _recoloured(crops, views.colours.to(device)).permute(0, 3, 1, 2)


def _sampled(pixels: Tensor, places: Tensor, steps: Tensor, at: Tensor) -> Tensor:
    """[b, S, S, 3]: between four pixels, or the border's colour beside the photograph."""
    offset, height, width = places[:, :, None].unbind(1)  # [b, 1] each
    x = steps[:, 0:1] * at + steps[:, 1:2]
    y = steps[:, 2:3] * at + steps[:, 3:4]
    border = pixels.new_tensor(BORDER, dtype=torch.float32)
    crop = border.new_zeros(len(places), len(at), len(at), 3)
    for down, across in CORNERS:
        row, column = y.floor().long() + down, x.floor().long() + across
        weight_y = 1 - (y - row).abs()
        weight_x = 1 - (x - column).abs()
        inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None]
        index = offset[:, :, None] + (row.clamp(min=0).minimum(height - 1) * width)[:, :, None]
        index = index + column.clamp(min=0).minimum(width - 1)[:, None]  # [b, S, S]
        value = torch.where(inside[..., None], pixels[index].float(), border)
        crop += (weight_y[:, :, None] * weight_x[:, None])[..., None] * value
    return crop


def _recoloured(crops: Tensor, colours: Tensor) -> Tensor:
    """[B, S, S, 3] of 0..255; colours [B, 5]."""
    saturation, contrast, gain = colours[:, None, None, :1], colours[:, None, None, 1:2], colours[:, None, None, 2:]
    gray = (crops * crops.new_tensor(LUMA)).sum(-1, keepdim=True)
    mean = gray.mean((1, 2), keepdim=True)
    crops = gray + saturation * (crops - gray)
    return ((crops - mean) * (contrast * gain) + mean * gain).clamp(0, 255)
