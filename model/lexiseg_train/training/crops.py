"""Random crops of photographs with their colours: drawn as numbers, rendered with OpenCV or on a GPU.

    in workers:   window_view or whole_view, random_colours -> View -> stack_views -> Views
    in the run:   resident packs, Views -> render -> crops [B, 3, S, S]
    on a CPU:     random_crop does both for one photograph

A matrix [2, 3] takes pixels of the photograph to pixels of the crop; a mirror has a negative scale. Nothing is rotated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.training.packs import Pack

ZOOM = (0.45, 1.25)  # sides of a window, as shares of the photograph's shorter side
BORDER = (124, 116, 104)  # colour outside of a photograph
LUMA = (0.299, 0.587, 0.114)  # of RGB, BT.601
MIRRORED = 0.5  # share of crops
ON_A_CLASS = 0.6  # share of crops that are centred on a class of the photograph
SEEN_STEP = 8  # every so many pixels of a mask are searched for classes
ASPECT = 0.2  # largest logarithm of a window's aspect ratio
MARGIN = 0.2  # of a window on each side, in which its centre does not lie
WHOLE = (-0.12, 0.05)  # logarithm of a whole view's sides, relative to the photograph's
GRAY = 0.03  # share of crops without colours

Matrix = NDArray[np.float64]
Crop = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class Colours(NamedTuple):
    """Changes of a crop's colours; `gain` [3] multiplies the channels."""

    saturation: float
    contrast: float
    gain: NDArray[np.float64]


def window_view(mask: NDArray[np.uint8], size: int, random: np.random.Generator, zoom: tuple[float, float]) -> Matrix:
    """A random window, `zoom` times as wide as the photograph's shorter side, scaled to `size` pixels."""
    height, width = mask.shape
    side = min(height, width) * np.exp(random.uniform(*np.log(zoom)))
    aspect = np.exp(random.uniform(-ASPECT, ASPECT))
    window_h, window_w = side * aspect, side / aspect
    centre_y, centre_x = _centre(mask, random)
    top = centre_y - window_h * random.uniform(MARGIN, 1 - MARGIN)
    left = centre_x - window_w * random.uniform(MARGIN, 1 - MARGIN)
    top = np.clip(top, min(0.0, height - window_h), max(0.0, height - window_h))
    left = np.clip(left, min(0.0, width - window_w), max(0.0, width - window_w))
    return _matrix(top, left, window_h, window_w, size, random.random() < MIRRORED)


def whole_view(height: int, width: int, size: int, random: np.random.Generator) -> Matrix:
    """The whole photograph, squeezed into a square."""
    window_h, window_w = np.array([height, width]) * np.exp(random.uniform(*WHOLE, 2))
    top = random.uniform(min(0, height - window_h), max(0, height - window_h))
    left = random.uniform(min(0, width - window_w), max(0, width - window_w))
    return _matrix(top, left, window_h, window_w, size, random.random() < MIRRORED)


def random_colours(random: np.random.Generator) -> Colours:
    """Small changes of brightness, contrast, saturation and channel balance; rarely gray."""
    saturation = 0.0 if random.random() < GRAY else random.uniform(0.6, 1.4)
    gain = random.uniform(0.7, 1.35) * random.uniform(0.92, 1.08, 3)
    return Colours(saturation, random.uniform(0.75, 1.25), gain)


def labels_in(mask: NDArray[np.uint8], matrix: Matrix, size: int, stride: int) -> NDArray[np.uint8]:
    """Labels at the centres of a crop's cells [size/stride, size/stride], 255 outside of the photograph."""
    to_cells = (matrix - np.array([[0, 0, stride // 2], [0, 0, stride // 2]])) / stride
    cells = (size // stride, size // stride)
    return cv2.warpAffine(mask, to_cells, cells, flags=cv2.INTER_NEAREST, borderValue=(IGNORE,)).astype(np.uint8)


def random_crop(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    size: int,
    stride: int,
    random: np.random.Generator,
    zoom: tuple[float, float] = ZOOM,
) -> Crop:
    """A random window of RGB and its mask in random colours: crop [size, size, 3], labels [size/stride, size/stride].

    `zoom` is the smallest and largest side of the window, as shares of the photograph's shorter side.
    """
    matrix = window_view(mask, size, random, zoom)
    crop = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=BORDER)
    return recoloured(crop.astype(np.uint8), random), labels_in(mask, matrix, size, stride)


def recoloured(crop: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    colours = _stack_colours([random_colours(random)])
    changed: NDArray[np.uint8] = _recoloured(torch.from_numpy(crop)[None].float(), colours)[0].numpy().astype(np.uint8)
    return changed


class Places(NamedTuple):
    """N windows as tensors."""

    packs: Tensor  # [N] the pack of each
    places: Tensor  # [N, 3] offset, height and width of the photograph in its pack
    steps: Tensor  # [N, 4] x = steps[0] column + steps[1], y = steps[2] row + steps[3]: from crop to photograph


class Views(NamedTuple):
    """B crops as tensors, with N objects pasted onto them; later ones cover earlier ones."""

    windows: Places  # of the B crops
    colours: Tensor  # [B, 5] saturation, contrast, and three gains
    pasted: Places  # windows of the N objects
    onto: Tensor  # [N] the crop that each is pasted onto
    alpha: Tensor  # [N, S, S] uint8 opacity


class Paste(NamedTuple):
    """An object to paste onto a crop: pack, photograph in it, matrix, opacity [S, S]."""

    pack: int
    place: Sequence[int]
    matrix: Matrix
    alpha: NDArray[np.uint8]


class View(NamedTuple):
    """A crop to render: pack, photograph in it, matrix, colours, pasted objects."""

    pack: int
    place: Sequence[int]
    matrix: Matrix
    colours: Colours
    pastes: Sequence[Paste] = ()


def stack_views(views: Sequence[View]) -> Views:
    """Crops as tensors, cheap to send from the processes that draw them."""
    pastes = [paste for view in views for paste in view.pastes]
    onto = [which for which, view in enumerate(views) for _ in view.pastes]
    alpha = np.stack([paste.alpha for paste in pastes]) if pastes else np.zeros((0, 0, 0), np.uint8)
    return Views(
        _stack_places(views),
        _stack_colours([view.colours for view in views]),
        _stack_places(pastes),
        torch.tensor(onto, dtype=torch.int64),
        torch.from_numpy(alpha),
    )


def resident(packs: Sequence[Pack], device: torch.device) -> list[Tensor]:
    """Pixels [N, 3] uint8 of each pack on a device; on the CPU they stay in the mapped file."""
    return [torch.from_numpy(pack.pixels).view(-1, 3).to(device) for pack in packs]


def render(store: Sequence[Tensor], views: Views, size: int) -> Tensor:
    """Crops [B, 3, size, size] of 0..255, channels last, on the device of `store`."""
    device = store[0].device
    warp = warped if device.type == "cpu" else sampled
    crops = warp(store, views.windows, size)
    if len(views.onto):
        layers, alpha = warp(store, views.pasted, size), views.alpha.to(device).float()[..., None] / 255
        for which, onto in enumerate(views.onto.tolist()):
            crops[onto].lerp_(layers[which], alpha[which])
    return _recoloured(crops, views.colours.to(device)).permute(0, 3, 1, 2)


def warped(store: Sequence[Tensor], windows: Places, size: int) -> Tensor:
    """Windows [N, S, S, 3] by OpenCV, many times as fast on a CPU as tensors."""
    cv2.setNumThreads(1)  # workers are forked from this process
    crops = np.empty((len(windows.packs), size, size, 3), np.uint8)
    for row, (photograph, step) in enumerate(_photographs(store, windows)):
        across, left, down, top = step.tolist()
        cv2.warpAffine(
            photograph.numpy(),
            np.array([[across, 0, left], [0, down, top]]),
            (size, size),
            crops[row],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderValue=BORDER,
        )
    return torch.from_numpy(crops).float()


def sampled(store: Sequence[Tensor], windows: Places, size: int) -> Tensor:
    """Windows [N, S, S, 3] by torch, on any device."""
    device = store[0].device
    border = torch.tensor(BORDER, device=device, dtype=torch.float32)
    at = torch.arange(size, device=device)
    crops = []
    for photograph, step in _photographs(store, windows):
        height, width = photograph.shape[:2]
        across, left, down, top = step.tolist()
        # grid_sample counts from -1 to 1 between outer edges, with align_corners=False.
        x = (2 * (across * at + left) + 1) / width - 1
        y = (2 * (down * at + top) + 1) / height - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
        # Zeros outside of the photograph stand for the border's colour.
        pixels = (photograph.float() - border).permute(2, 0, 1)[None]
        crops.append(F.grid_sample(pixels, grid.float(), align_corners=False)[0].permute(1, 2, 0) + border)
    return torch.stack(crops)


def _photographs(store: Sequence[Tensor], windows: Places) -> list[tuple[Tensor, Tensor]]:
    """Photograph [H, W, 3] and steps [4] float64 of each window."""
    photographs = (
        store[pack][offset : offset + height * width].view(height, width, 3)
        for pack, (offset, height, width) in zip(windows.packs.tolist(), windows.places.tolist(), strict=True)
    )
    return list(zip(photographs, windows.steps.double(), strict=True))


def _recoloured(crops: Tensor, colours: Tensor) -> Tensor:
    """Crops [B, S, S, 3] of 0..255 with colours [B, 5], as in `Views`, applied."""
    saturation, contrast, gain = colours[:, None, None, :1], colours[:, None, None, 1:2], colours[:, None, None, 2:]
    gray = (crops * crops.new_tensor(LUMA)).sum(-1, keepdim=True)
    mean = gray.mean((1, 2), keepdim=True)
    crops = gray + saturation * (crops - gray)
    return ((crops - mean) * (contrast * gain) + mean * gain).clamp(0, 255)


def _stack_colours(colours: Sequence[Colours]) -> Tensor:
    return torch.tensor(np.array([[each.saturation, each.contrast, *each.gain] for each in colours], np.float32))


def _stack_places(windows: Sequence[View] | Sequence[Paste]) -> Places:
    """Windows as tensors; their matrices are inverted, as rendering goes from crop to photograph."""
    steps = []
    for window in windows:
        (scale_x, _, shift_x), (_, scale_y, shift_y) = window.matrix.tolist()
        steps.append([1 / scale_x, -shift_x / scale_x, 1 / scale_y, -shift_y / scale_y])
    return Places(
        torch.tensor([window.pack for window in windows], dtype=torch.int64),
        torch.tensor(np.array([window.place for window in windows], np.int64).reshape(-1, 3)),
        torch.tensor(np.array(steps, np.float32).reshape(-1, 4)),
    )


def _matrix(top: float, left: float, height: float, width: float, size: int, mirrored: bool) -> Matrix:
    """From pixel indices of the photograph to the crop's; `top` and `left` are edges, half a pixel outside."""
    scale_x, scale_y = size / width, size / height
    shift_x, shift_y = 0.5 * scale_x - 0.5 - left * scale_x, 0.5 * scale_y - 0.5 - top * scale_y
    if mirrored:
        scale_x, shift_x = -scale_x, size - 1 - shift_x
    return np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])


def _centre(mask: NDArray[np.uint8], random: np.random.Generator) -> tuple[float, float]:
    """A pixel of a randomly chosen class, so that small classes are seen as often as large ones; or any pixel."""
    height, width = mask.shape
    some = mask[::SEEN_STEP, ::SEEN_STEP]
    present = np.unique(some)
    present = present[present != IGNORE]
    if len(present) and random.random() < ON_A_CLASS:
        rows, columns = np.nonzero(some == random.choice(present))
        pixel = random.integers(len(rows))
        return float(rows[pixel] * SEEN_STEP), float(columns[pixel] * SEEN_STEP)
    return random.uniform(0, height), random.uniform(0, width)
