"""Random crops of photographs with their colours: drawn as numbers, rendered with OpenCV or on a GPU.

    packs:        decoded photographs and masks in memory-mapped files: pixels.u8, labels.u8, areas.npy, index.json
    in workers:   window_view or whole_view, random_colours -> View -> stack_views -> Views
    in the run:   resident packs, Views -> render -> crops [B, 3, S, S]
    on a CPU:     random_crop does both for one photograph

A matrix [2, 3] takes pixels of the photograph to pixels of the crop; a mirror has a negative scale. Nothing is rotated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE, one_value_warning

INDEX, PIXELS, LABELS, AREAS = "index.json", "pixels.u8", "labels.u8", "areas.npy"
AREA_STEP = 4  # areas are counted from every so many pixels of a mask

Image = NDArray[np.uint8]
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


class Photograph(NamedTuple):
    """An entry of a pack: RGB [H, W, 3], a mask [H, W] or None, and names of classes known to be in the picture."""

    name: str
    image: Image
    mask: Image | None
    present: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pack:
    name: str
    classes: tuple[str, ...]  # of mask values; empty where no photograph has a mask
    names: tuple[str, ...]  # that `present` is drawn from
    complete: bool  # names missing in a photograph's `present` are known to be absent
    photographs: tuple[str, ...]
    present: tuple[tuple[str, ...], ...]
    places: NDArray[np.int64]  # [N, 4] offset in pixels, height, width, and whether there is a mask
    areas: NDArray[np.float32]  # [N, K] share of each mask value
    pixels: NDArray[np.uint8]  # RGB of all photographs, one after the other
    labels: NDArray[np.uint8]  # mask values of the same pixels

    def __len__(self) -> int:
        return len(self.places)

    @property
    def has_background(self) -> bool:
        return bool(self.classes) and self.classes[0] == BACKGROUND

    def image(self, index: int) -> Image:
        """A view [H, W, 3]."""
        offset, height, width, _ = self.places[index]
        return self.pixels[3 * offset : 3 * (offset + height * width)].reshape(height, width, 3)

    def mask(self, index: int) -> Image:
        """A view [H, W]; IGNORE everywhere where the photograph has no mask."""
        offset, height, width, masked = self.places[index]
        if not masked:
            return np.full((height, width), IGNORE, np.uint8)
        return self.labels[offset : offset + height * width].reshape(height, width)


def write_pack(
    folder: Path,
    name: str,
    classes: tuple[str, ...],
    photographs: Iterable[Photograph],
    names: tuple[str, ...] = (),
    complete: bool = False,
) -> Pack:
    """Write a pack; the folder appears when it is complete. Prints a warning about masks that show no class."""
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    fresh.mkdir(parents=True, exist_ok=True)
    places, areas, entries, offset = [], [], [], 0
    with (fresh / PIXELS).open("wb") as pixels, (fresh / LABELS).open("wb") as labels:
        for photograph in photographs:
            height, width = photograph.image.shape[:2]
            pixels.write(np.ascontiguousarray(photograph.image).tobytes())
            places.append([offset, height, width, int(photograph.mask is not None)])
            mask = np.full((height, width), IGNORE, np.uint8) if photograph.mask is None else photograph.mask
            labels.write(mask.tobytes())
            some = mask[::AREA_STEP, ::AREA_STEP].reshape(-1)
            areas.append(np.bincount(some, minlength=IGNORE + 1)[: len(classes)] / max(1, some.size))
            entries.append((photograph.name, list(photograph.present)))
            offset += height * width
    shares = np.array(areas, np.float32).reshape(len(places), len(classes))
    if any(masked for *_, masked in places):
        for warning in one_value_warning(name, np.flatnonzero(shares.any(0)).tolist(), len(classes)):
            print(f"warning: {warning}", flush=True)
    np.save(fresh / AREAS, shares)
    index = {
        "name": name,
        "classes": classes,
        "names": names,
        "complete": complete,
        "photographs": [label for label, _ in entries],
        "present": [present for _, present in entries],
        "places": places,
    }
    (fresh / INDEX).write_text(json.dumps(index))
    os.replace(fresh, folder)
    return open_pack(folder)


def open_pack(folder: Path) -> Pack:
    index = json.loads((folder / INDEX).read_text())
    # Copy-on-write: torch warns of read-only arrays.
    return Pack(
        index["name"],
        tuple(index["classes"]),
        tuple(index["names"]),
        index["complete"],
        tuple(index["photographs"]),
        tuple(tuple(names) for names in index["present"]),
        np.array(index["places"], np.int64).reshape(-1, 4),
        np.load(folder / AREAS),
        np.memmap(folder / PIXELS, np.uint8, "c"),
        np.memmap(folder / LABELS, np.uint8, "c"),
    )


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
