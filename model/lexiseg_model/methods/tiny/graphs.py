"""What `tiny` is written down as, and run by outside torch: the image pass, the maps that prompts share, and prompts.

A prompt goes through its graph alone: its answer depends on no other, bit for bit. Several go side by side, one a core.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from lexiseg_model.export.exportable import Part, PartRunner
from lexiseg_model.methods.tiny.network import EMBEDDING, MEAN, STD, TinyNetwork, channel
from lexiseg_model.methods.tiny.prompt_head import (
    COARSE,
    FINE,
    GROUPING,
    MID,
    MaskAnswers,
    PromptHead,
    SharedMaps,
)
from lexiseg_model.methods.tiny.prompt_maps import HEADS, Prompts

SHARED, LONE, SURE = "prompt-maps", "lone-point", "sure-prompt"  # names of the parts
MAX_CELLS = 512  # of a side at stride 32
MAX_POINTS = 1024  # of a prompt
POINTS_TRACED = 3  # one would be taken for a constant


class Normalised(nn.Module):
    """Pixels 0..255 as the networks take them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", channel(MEAN, torch.device("cpu")), persistent=False)
        self.register_buffer("inverse_std", 1 / channel(STD, torch.device("cpu")), persistent=False)
        self.mean: Tensor
        self.inverse_std: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels.float() - self.mean) * self.inverse_std


class ImagePass(nn.Module):
    """uint8 tiles [N, 3, s, t] -> pixels [N, 96, s/4, t/4], image [N, 96] and cells [N, 96, s/32, t/32]; in float32."""

    def __init__(self, network: TinyNetwork) -> None:
        super().__init__()
        self.network = network
        self.normalised = Normalised()

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.network(self.normalised(tiles))
        return features.pixels, features.image, features.cells


class SharedPass(nn.Module):
    """Embeddings [96, h, w] float16 and bytes [3, 2h, 2w] of one image -> its SharedMaps, float32."""

    def __init__(self, head: PromptHead) -> None:
        super().__init__()
        self.shared = head.shared
        self.normalised = Normalised()

    def forward(self, pixels: Tensor, guide: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.shared(pixels.float()[None], self.normalised(guide[None])))


class LonePoint(nn.Module):
    """A positive point [2] and SharedMaps of one image -> masks [4, 2h, 2w] and quality [4]."""

    def __init__(self, head: PromptHead) -> None:
        super().__init__()
        self.head = head

    def forward(
        self, point: Tensor, fine: Tensor, mid: Tensor, coarse: Tensor, grouping: Tensor, pixels: Tensor
    ) -> tuple[Tensor, Tensor]:
        shared = SharedMaps(fine, mid, coarse, grouping, pixels)
        nothing = point.new_zeros(1, 1, 4)
        prompts = Prompts(point[None, None, None], point.new_ones(1, 1, 1), nothing, nothing[..., 0])
        masks, quality = self.head.lone(shared, prompts)
        return masks[0, 0], quality[0, 0]


class SurePrompt(nn.Module):
    """K points [K, 2], their signs [K], a box [4] where `has_box` [] is 1, and SharedMaps of one image -> a mask
    [1, 2h, 2w] and its quality [1]."""

    def __init__(self, head: PromptHead) -> None:
        super().__init__()
        self.head = head

    def forward(
        self,
        points: Tensor,
        signs: Tensor,
        box: Tensor,
        has_box: Tensor,
        fine: Tensor,
        mid: Tensor,
        coarse: Tensor,
        grouping: Tensor,
        pixels: Tensor,
    ) -> tuple[Tensor, Tensor]:
        shared = SharedMaps(fine, mid, coarse, grouping, pixels)
        prompts = Prompts(*(part[None, None] for part in (points, signs, box, has_box)))
        masks, quality = self.head.sure(shared, prompts)
        return masks[0, 0], quality[0, 0]


def parts(head: PromptHead) -> list[Part]:
    """The graphs of a prompt head beside that of the image pass."""
    rows, columns = (Dim(name, min=1, max=MAX_CELLS) for name in ("rows", "columns"))
    at = {stride: (32 // stride * rows, 32 // stride * columns) for stride in (2, 4)}
    embeddings = {
        "pixels": {1: at[4][0], 2: at[4][1]},
        "guide": {1: at[2][0], 2: at[2][1]},
    }
    rows, columns = (Dim(name, min=1, max=2 * MAX_CELLS) for name in ("rows", "columns"))
    sides = dict(zip(SharedMaps._fields, (4, 2, 1, 2, 2), strict=True))  # cells for one at stride 16
    shared = {name: {2: finer * rows, 3: finer * columns} for name, finer in sides.items()}
    n = Dim("points", min=1, max=MAX_POINTS)
    return [
        Part(SHARED, SharedPass(head), _embeddings, embeddings, [f"{name}_maps" for name in SharedMaps._fields]),
        Part(LONE, LonePoint(head), _lone, {"point": {}, **shared}, ("masks", "quality")),
        Part(
            *(SURE, SurePrompt(head), _sure),
            {"points": {0: n}, "signs": {0: n}, "box": {}, "has_box": {}, **shared},
            ("masks", "quality"),
        ),
    ]


def _embeddings(rows: int, columns: int) -> list[Tensor]:
    """Drawn inputs of `SharedPass` for so many cells at stride 32."""
    pixels = nn.functional.normalize(torch.randn(EMBEDDING, 8 * rows, 8 * columns), dim=0).half()
    return [pixels, torch.randint(0, 256, (3, 16 * rows, 16 * columns), dtype=torch.uint8)]


def _maps(rows: int, columns: int) -> list[Tensor]:
    unit = torch.randn(1, HEADS, GROUPING, 4 * rows, 4 * columns)
    return [
        torch.randn(1, FINE, 8 * rows, 8 * columns),
        torch.randn(1, MID, 4 * rows, 4 * columns),
        torch.randn(1, COARSE, 2 * rows, 2 * columns),
        nn.functional.normalize(unit, dim=2).flatten(1, 2),
        nn.functional.normalize(torch.randn(1, EMBEDDING, 4 * rows, 4 * columns), dim=1),
    ]


def _lone(rows: int, columns: int) -> list[Tensor]:
    return [torch.tensor([20.0 * columns, 10.0 * rows]), *_maps(rows, columns)]


def _sure(rows: int, columns: int) -> list[Tensor]:
    points = torch.rand(POINTS_TRACED, 2) * torch.tensor([32.0 * columns, 32.0 * rows])
    box = torch.tensor([8.0, 6.0, 24.0 * columns, 20.0 * rows])
    return [points, torch.tensor([1.0, -1.0, 0.0]), box, torch.tensor(1.0), *_maps(rows, columns)]


class PromptGraphs:
    """A prompt head by its graphs, on a CPU: as `PromptHead`; `sure` is of one image at a time."""

    def __init__(self, runners: Mapping[str, PartRunner], threads: int) -> None:
        self._runners = runners
        self._cores = ThreadPoolExecutor(threads, "prompt") if threads > 1 else None

    def maps(self, pixels: Tensor, guide: Tensor) -> SharedMaps:
        """Embeddings [96, h, w] float16 and the picture in bytes [3, 2h, 2w] -> what prompts share."""
        made = self._runners[SHARED]({"pixels": pixels.contiguous().numpy(), "guide": guide.numpy()})
        return SharedMaps(*map(torch.from_numpy, made))

    def lone(self, shared: SharedMaps, prompts: Prompts) -> MaskAnswers:
        images, n = prompts.signs.shape[:2]
        each = [_arrays(SharedMaps(*(part[place : place + 1] for part in shared))) for place in range(images)]
        points = prompts.points[:, :, 0].numpy()
        masks, quality = self._each(
            LONE, [{"point": point, **maps} for maps, some in zip(each, points, strict=True) for point in some]
        )
        return MaskAnswers(masks.view(images, n, *masks.shape[2:]), quality.view(images, n, -1))

    def sure(self, shared: SharedMaps, prompts: Prompts) -> MaskAnswers:
        maps = _arrays(shared)
        names = ("points", "signs", "box", "has_box")
        each = zip(*(part[0].numpy() for part in prompts), strict=True)
        asked = [{**dict(zip(names, map(np.asarray, prompt), strict=True)), **maps} for prompt in each]
        return self._each(SURE, asked)

    def _each(self, part: str, asked: list[dict[str, NDArray[Any]]]) -> MaskAnswers:
        side_by_side = self._cores.map if self._cores is not None and len(asked) > 1 else map
        answers = list(side_by_side(self._runners[part], asked))
        masks, quality = (torch.from_numpy(np.stack(parts))[None] for parts in zip(*answers, strict=True))
        return MaskAnswers(masks, quality)


def _arrays(shared: SharedMaps) -> dict[str, NDArray[Any]]:
    return {name: part.numpy() for name, part in zip(SharedMaps._fields, shared, strict=True)}
