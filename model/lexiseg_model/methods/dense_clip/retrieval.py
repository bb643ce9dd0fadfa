"""CorrCLIP v2: a region is scored by the regions of other pictures that look like it, too.

    picture  -> a second tower (`dense`) -> unit vectors per pixel of the canvas
    windows  -> CorrCLIP without merging, within cosines of these (`CorrClip2Tower`)
    regions  -> mean unit vectors, the queries (`region_means`) -> their nearest keys in a bank
             -> mean of those regions' CorrCLIP vectors (`retrieved`), which texts are compared with as well

A bank (`Bank`) is made of pictures without words: its keys are such queries, its values vectors of CorrCLIP without
merging over DINO ViT-B/8, on a canvas of its own size. The released code searches by a compressed index; here every key
is compared. It also averages over a bank of a second CLIP, which is left out: its `use_aux_model=False`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.clip import vision, windowed
from lexiseg_model.clip.checkpoint import read_tensors
from lexiseg_model.clip.dino import DinoTower
from lexiseg_model.clip.images import Padding, normalise
from lexiseg_model.clip.patch_text import ImageTower
from lexiseg_model.errors import WeightsError
from lexiseg_model.features import Layout
from lexiseg_model.methods.dense_clip.corrclip import apart, nearest, padded_regions, region_vectors
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.types import DinoName

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer

NEIGHBOURS = 20  # regions of the bank that a region takes its support from
SUPPORT = 0.5  # weight of the support in the scores
FINE = 2  # cells along a patch of CLIP
# Of pictures for a bank, as its builder has them.
BANK_SHORT_SIDE, BANK_WINDOW, BANK_STRIDE = 448, 336, 112
STRIP = 16  # rows of pixels whose vectors are in memory at once
OF_VALUES: DinoName = "dino_vitb8"  # within whose likeness values are made, whatever the keys are of
KEYS, VALUES = "keys", "values"  # names in a file


class Bank(NamedTuple):
    """Regions of pictures: N keys [N, C] of the second tower, values [N, D] of CLIP."""

    keys: Tensor
    values: Tensor

    def require_fit(self, width: int, embedding: int) -> None:
        """Raise WeightsError if the bank was made by other towers than those of these widths."""
        got = (self.keys.shape[1], self.values.shape[1])
        if got != (width, embedding):
            raise WeightsError(
                f"the bank has keys of {got[0]} and values of {got[1]} numbers; expected {width} and {embedding}, as "
                "the model has: build it with this model"
            )


def bank_from_state(state: dict[str, Tensor], whose: str) -> Bank:
    """A bank from tensors `keys` and `values`. Raises WeightsError if they are not a bank's."""
    shapes = {name: list(value.shape) for name, value in sorted(state.items())}
    keys, values = state.get(KEYS), state.get(VALUES)
    if keys is None or values is None or not keys.ndim == values.ndim == 2 or not 0 < len(keys) == len(values):
        raise WeightsError(f"{whose}: expected a bank, keys [N, C] and values [N, D] with N > 0; got {shapes}")
    return Bank(F.normalize(keys.float(), dim=1), values.float())


def read_bank(path: Path) -> Bank:
    """A bank from a file of `lexiseg bulk --to bank`. Raises WeightsError if it is missing, damaged, or none."""
    return bank_from_state(read_tensors(path), str(path))


def retrieved(bank: Bank, queries: Tensor) -> Tensor:
    """Unit vectors [R, D], the support, of queries [R, C]: the mean of the values with the nearest keys."""
    rows = [bank.values[(bank.keys @ query).topk(min(NEIGHBOURS, len(bank.keys))).indices].mean(0) for query in queries]
    return F.normalize(torch.stack(rows), dim=1)


class CorrClip2Tower(ImageTower):
    """Image tower of CorrCLIP v2: patches on a grid twice as fine as CLIP's."""

    def __init__(self, visual: torch.nn.Module, settings: DenseClipSettings, proxy: DinoTower | None) -> None:
        """Build the tower. Raises WeightsError if CLIP's tower is no plain ViT, or there is no second tower."""
        super().__init__()
        if proxy is None:
            raise WeightsError("policy corrclip_v2 needs a second tower beside CLIP's")
        self.visual: VisionTransformer = vision.require_plain_vit(visual)
        self.proxy = proxy
        self.settings = settings
        self.multiple = self.visual.patch_size[0]

    def dense(self, picture: Tensor) -> Tensor:
        """Maps float32 [C, h, w] of a whole picture uint8 [3, H, W], its sides resized to the nearest whole patches."""
        patch = self.proxy.kind.patch
        height, width = (max(patch, round(side / patch) * patch) for side in picture.shape[1:])
        image = windowed.resize(normalise(picture[None], "imagenet")[0], (height, width))
        maps: Tensor = self.proxy(image[None].to(self.visual.conv1.weight.dtype))
        return maps[0].float()

    def forward(
        self, tiles: Tensor, regions: Tensor | None = None, maps: Tensor | None = None, layout: Layout | None = None
    ) -> tuple[Tensor, ...]:
        """Unit vectors [N, D, h, w] of the windows uint8 [N, 3, s, t] of one picture.

        Args:
            tiles: the windows.
            regions: integers [N, s, t], 0 for no region; None: there are no regions.
            maps: `dense` of the picture; None: a window is a picture.
            layout: where the windows lie; None: as `maps`.
        """
        size = (tiles.shape[2], tiles.shape[3])
        padding = Padding.to_multiple(size, self.multiple)
        grid = tuple(side // self.multiple * FINE for side in padding.padded(size))
        layout = layout or Layout(size, size, ((0, 0),) * len(tiles))
        labels = torch.zeros_like(tiles[:, 0]) if regions is None else regions
        images = padding.add(normalise(tiles, self.settings.normalisation)).to(self.visual.conv1.weight.dtype)
        vectors = []
        for tile, image, label, offset in zip(tiles, images, labels, layout.offsets, strict=True):
            whole = self.dense(tile) if maps is None else maps
            units = _window_units(whole, layout, offset, padding, (grid[0], grid[1]))
            cells = apart(nearest(padded_regions(label, padding), (grid[0], grid[1])).flatten(), units)
            vectors.append(region_vectors(self.visual, self.settings.positions, image, units, cells))
        return (F.normalize(torch.cat(vectors).float(), dim=1),)


def region_means(maps: Tensor, labels: Tensor, *, of_units: bool) -> tuple[Tensor, Tensor]:
    """Mean vectors [R, C] of each label's pixels, and the labels [R] in rising order.

    Args:
        maps: [C, h, w], enlarged bilinearly to the size of the labels.
        labels: integers [H, W].
        of_units: take each pixel's vector at unit length.
    """
    names, which = torch.unique(labels, return_inverse=True)
    size = (labels.shape[0], labels.shape[1])
    columns = torch.arange(size[1], device=maps.device)
    sums = maps.new_zeros((len(names), len(maps)))
    for rows in torch.split(torch.arange(size[0], device=maps.device), STRIP):
        pixels = _enlarged(maps, size, rows, columns).flatten(1)
        sums.index_add_(0, which[rows].flatten(), (F.normalize(pixels, dim=0) if of_units else pixels).T)
    return sums / torch.bincount(which.flatten())[:, None], names


def _window_units(maps: Tensor, layout: Layout, offset: tuple[int, int], padding: Padding, grid: vision.Grid) -> Tensor:
    """Unit vectors [C, *grid] of a padded window from maps [C, h, w] of the canvas.

    As released, pixels of the canvas get unit vectors, the window's border is repeated, and the result is resized. Only
    the pixels that this reads are computed.
    """
    places, shares = [], []
    for axis, before in enumerate((padding.top, padding.left)):
        low, high, share = _between(grid[axis], padding.padded(layout.tile)[axis], maps.device)
        pixels = torch.stack([low, high], 1).flatten()
        places.append((pixels - before).clamp(0, layout.tile[axis] - 1) + offset[axis])
        shares.append(share)
    pixels = F.normalize(_enlarged(maps, layout.canvas, *places), dim=0)  # [C, 2 h, 2 w]
    rows = torch.lerp(pixels[:, 0::2], pixels[:, 1::2], shares[0][:, None])
    return F.normalize(torch.lerp(rows[..., 0::2], rows[..., 1::2], shares[1]), dim=0)


def _enlarged(maps: Tensor, size: vision.Grid, rows: Tensor, columns: Tensor) -> Tensor:
    """Some rows and columns [C, n, m] of maps [C, h, w] resized bilinearly, as by `windowed.resize`."""
    low, high, share = (part[rows] for part in _between(size[0], maps.shape[1], maps.device))
    lines = torch.lerp(maps[:, low], maps[:, high], share[:, None])
    low, high, share = (part[columns] for part in _between(size[1], maps.shape[2], maps.device))
    return torch.lerp(lines[..., low], lines[..., high], share)


def _between(length: int, source: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of `length` cells over `source` others: the one before it, the one after, and the share of that."""
    exact = ((torch.arange(length, device=device) + 0.5) * (source / length) - 0.5).clamp_min(0)
    low = exact.long()
    return low, (low + 1).clamp_max(source - 1), exact - low
