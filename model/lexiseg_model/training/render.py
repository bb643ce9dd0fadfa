"""Crops made where the network is: photographs lie on the device, a batch of views becomes a batch of pixels there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.training.augment import BORDER, LUMA
from lexiseg_model.training.packs import Pack
from lexiseg_model.training.views import Colours, Matrix

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))  # (down, across) of the four pixels that a point lies between


class Places(NamedTuple):
    """N windows: `packs` [N]; `places` [N, 3] offset, height and width of the photograph in its pack; `steps` [N, 4]
    how far across a photograph one pixel of the crop goes and where it begins, then down."""

    packs: Tensor
    places: Tensor
    steps: Tensor


class Views(NamedTuple):
    """B views: `windows`; `colours` [B, 5] saturation, contrast and three gains; what is pasted onto them, N windows
    with `onto` [N], which view, and `alpha` [N, S, S] uint8, 255 where it covers; later ones cover earlier ones."""

    windows: Places
    colours: Tensor
    pasted: Places
    onto: Tensor
    alpha: Tensor


class Paste(NamedTuple):
    """An object laid over a crop: which pack, which of its photographs, where, and how much it covers [S, S]."""

    pack: int
    place: Sequence[int]
    matrix: Matrix
    alpha: NDArray[np.uint8]


class View(NamedTuple):
    """One crop: which pack, which of its photographs, where, in what colours, and what is pasted onto it."""

    pack: int
    place: Sequence[int]
    matrix: Matrix
    colours: Colours
    pastes: Sequence[Paste] = ()


def stack_views(views: Sequence[View]) -> Views:
    """As tensors."""
    colours = [[view.colours.saturation, view.colours.contrast, *view.colours.gain] for view in views]
    pastes = [paste for view in views for paste in view.pastes]
    onto = [which for which, view in enumerate(views) for _ in view.pastes]
    alpha = np.stack([paste.alpha for paste in pastes]) if pastes else np.zeros((0, 0, 0), np.uint8)
    return Views(
        _stack_places(views),
        torch.tensor(np.array(colours, np.float32)),
        _stack_places(pastes),
        torch.tensor(onto, dtype=torch.int64),
        torch.from_numpy(alpha),
    )


def _stack_places(windows: Sequence[View] | Sequence[Paste]) -> Places:
    steps = []
    for window in windows:
        (scale_x, _, shift_x), (_, scale_y, shift_y) = window.matrix.tolist()
        steps.append([1 / scale_x, -shift_x / scale_x, 1 / scale_y, -shift_y / scale_y])
    return Places(
        torch.tensor([window.pack for window in windows], dtype=torch.int64),
        torch.tensor(np.array([window.place for window in windows], np.int64).reshape(-1, 3)),
        torch.tensor(np.array(steps, np.float32).reshape(-1, 4)),
    )


def resident(packs: Sequence[Pack], device: torch.device) -> list[Tensor]:
    """Each pack's pixels [N, 3] uint8 on the device; on the CPU they stay in the mapped file."""
    return [torch.from_numpy(pack.pixels).view(-1, 3).to(device) for pack in packs]


def render(store: Sequence[Tensor], views: Views, size: int) -> Tensor:
    """Crops [B, 3, size, size] float of 0..255, channels last, on the device of `store`."""
    device = store[0].device
    pixels_of = warped if device.type == "cpu" else sampled
    crops = pixels_of(store, views.windows, size)
    if len(views.onto):
        layers, alpha = pixels_of(store, views.pasted, size), views.alpha.to(device).float()[..., None] / 255
        for which, onto in enumerate(views.onto.tolist()):
            crops[onto].lerp_(layers[which], alpha[which])
    return _recoloured(crops, views.colours.to(device)).permute(0, 3, 1, 2)


def warped(store: Sequence[Tensor], windows: Places, size: int) -> Tensor:
    """[N, S, S, 3] by OpenCV, of which a CPU makes many times as many as of the same by tensors."""
    cv2.setNumThreads(1)  # workers are forked from here: the fewer threads there are, the better
    crops = np.empty((len(windows.packs), size, size, 3), np.uint8)
    steps = windows.steps.double().numpy()
    for row, (which, place) in enumerate(zip(windows.packs.tolist(), windows.places.tolist(), strict=True)):
        offset, height, width = place
        photograph = store[which][offset : offset + height * width].view(height, width, 3).numpy()
        across, left, down, top = steps[row]
        cv2.warpAffine(
            photograph,
            np.array([[across, 0, left], [0, down, top]]),
            (size, size),
            crops[row],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderValue=BORDER,
        )
    return torch.from_numpy(crops).float()


def sampled(store: Sequence[Tensor], windows: Places, size: int) -> Tensor:
    """[N, S, S, 3] by tensors, on any device."""
    device = store[0].device
    at = torch.arange(size, device=device, dtype=torch.float32)
    crops = torch.empty(len(windows.packs), size, size, 3, device=device)
    for which in sorted(set(windows.packs.tolist())):
        members = (windows.packs == which).nonzero()[:, 0]
        places, steps = (part[members].to(device) for part in (windows.places, windows.steps))
        crops[members.to(device)] = _sampled(store[which], places, steps, at)
    return crops


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
