"""ONNX graphs of `tiny`: export modules of the image pass and the prompt head, and a head that runs the graphs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from lexiseg_model.catalogue.models import read_card
from lexiseg_model.export.exportable import Part, PartRunner
from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.prompt_head import (
    COARSE,
    COLOUR_MEAN,
    COLOUR_STD,
    FINE,
    GROUPING,
    MID,
    MaskAnswers,
    PromptHead,
    SharedMaps,
    channel,
)
from lexiseg_model.methods.tiny.prompt_maps import HEADS, Prompts
from lexiseg_model.methods.tiny.trunk import normalised
from lexiseg_model.methods.tiny.weights import FOLDER

SHARED, POINT_PART, PROMPT_PART = "prompt-maps", "lone-point", "sure-prompt"  # names of the parts
MAX_CELLS = 512  # of a side at stride 32
MAX_POINTS = 1024  # of a prompt
SCALES = (4, 2, 1, 2, 2)  # cells of the shared maps per cell at stride 16
POINTS_TRACED = 3  # a single point would be traced as a constant
TEMPLATES = Path(__file__).parent / "templates"


class NormaliseColours(nn.Module):
    """Normalise the guide's colours 0..255 by COLOUR_MEAN and COLOUR_STD."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", channel(COLOUR_MEAN, torch.device("cpu")), persistent=False)
        self.register_buffer("inverse_std", 1 / channel(COLOUR_STD, torch.device("cpu")), persistent=False)
        self.mean: Tensor
        self.inverse_std: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels.float() - self.mean) * self.inverse_std


class ImagePass(nn.Module):
    """uint8 [N, 3, s, t] -> the float32 tensors of ImageFeatures: [N, D, s/4, t/4], [N, D], [N, D, s/32, t/32]; then
    of `TinyNetwork.teaching`."""

    def __init__(self, network: TinyNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        return self.network.teaching(normalised(tiles))


class SharedPass(nn.Module):
    """Embeddings float16 [D, h, w] and uint8 colours [3, 2h, 2w] of one image -> SharedMaps, float32."""

    def __init__(self, head: PromptHead) -> None:
        super().__init__()
        self.shared = head.shared
        self.normalise = NormaliseColours()

    def forward(self, pixels: Tensor, guide: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.shared(pixels.float()[None], self.normalise(guide[None])))


class PointPass(nn.Module):
    """A positive point (x, y) [2] and SharedMaps of one image -> masks [4, 2h, 2w] and quality [4]."""

    def __init__(self, head: PromptHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, point: Tensor, *shared: Tensor) -> tuple[Tensor, Tensor]:
        no_box = point.new_zeros(1, 1, 4)
        prompts = Prompts(point[None, None, None], point.new_ones(1, 1, 1), no_box, no_box[..., 0])
        masks, quality = self.head.click_masks(SharedMaps(*shared), prompts)
        return masks[0, 0], quality[0, 0]


class PromptPass(PointPass):
    """Points [K, 2], signs [K], a box [4] if `has_box` is 1, logits [2h, 2w] of the mask that they correct if
    `corrects` is 1, and SharedMaps -> mask [1, 2h, 2w] and quality [1]."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        *prompt, corrected, corrects = (part[None, None] for part in tensors[:6])
        masks, quality = self.head.corrected_mask(SharedMaps(*tensors[6:]), Prompts(*prompt), corrected, corrects)
        return masks[0, 0], quality[0, 0]


def prompt_parts(head: PromptHead) -> list[Part]:
    """The graphs of a prompt head, for export."""
    rows, columns = (Dim(name, min=1, max=MAX_CELLS) for name in ("rows", "columns"))
    embeddings = {"pixels": {1: 8 * rows, 2: 8 * columns}, "guide": {1: 16 * rows, 2: 16 * columns}}
    rows, columns = (Dim(name, min=1, max=2 * MAX_CELLS) for name in ("rows", "columns"))
    shared = {
        name: {2: scale * rows, 3: scale * columns} for name, scale in zip(SharedMaps._fields, SCALES, strict=True)
    }
    n = Dim("points", min=1, max=MAX_POINTS)
    correction = {"corrected": {0: SCALES[0] * rows, 1: SCALES[0] * columns}, "corrects": {}}
    prompt = {"points": {0: n}, "signs": {0: n}, "box": {}, "has_box": {}, **correction, **shared}
    embedding = head.embedding
    shared_inputs = partial(_embeddings, embedding)
    parts = (
        Part(SHARED, SharedPass(head), shared_inputs, embeddings, [f"{name}_maps" for name in SharedMaps._fields]),
        Part(
            POINT_PART,
            PointPass(head),
            lambda h, w: [torch.tensor([20.0 * w, 10.0 * h]), *random_maps(embedding, h, w)],
            {"point": {}, **shared},
            MaskAnswers._fields,
        ),
        Part(PROMPT_PART, PromptPass(head), partial(_prompt_inputs, embedding), prompt, MaskAnswers._fields),
    )
    return with_templates(parts, embedding)


def with_templates(parts: Iterable[Part], embedding: int) -> list[Part]:
    """Parts with graphs made of the templates of this package, which have the width of the bundled weights."""
    if embedding != read_card(FOLDER).embedding:
        return list(parts)
    return [part._replace(template=TEMPLATES / f"{part.name}.onnx") for part in parts]


def _embeddings(embedding: int, rows: int, columns: int) -> list[Tensor]:
    pixels = nn.functional.normalize(torch.randn(embedding, 8 * rows, 8 * columns), dim=0).half()
    return [pixels, torch.randint(0, 256, (3, 16 * rows, 16 * columns), dtype=torch.uint8)]


def random_maps(embedding: int, rows: int, columns: int) -> list[Tensor]:
    """Random shared maps of an image of so many cells at stride 32."""
    unit = torch.randn(1, HEADS, GROUPING, 4 * rows, 4 * columns)
    return [
        torch.randn(1, FINE, 8 * rows, 8 * columns),
        torch.randn(1, MID, 4 * rows, 4 * columns),
        torch.randn(1, COARSE, 2 * rows, 2 * columns),
        nn.functional.normalize(unit, dim=2).flatten(1, 2),
        nn.functional.normalize(torch.randn(1, embedding, 4 * rows, 4 * columns), dim=1),
    ]


def _prompt_inputs(embedding: int, rows: int, columns: int) -> list[Tensor]:
    points = torch.rand(POINTS_TRACED, 2) * torch.tensor([32.0 * columns, 32.0 * rows])
    box = torch.tensor([8.0, 6.0, 24.0 * columns, 20.0 * rows])
    prompt = [points, torch.tensor([1.0, -1.0, 0.0]), box, torch.tensor(1.0)]
    correction = [torch.randn(8 * rows, 8 * columns), torch.tensor(1.0)]
    return [*prompt, *correction, *random_maps(embedding, rows, columns)]


class PromptGraphs:
    """The prompt head by its exported graphs on a CPU; `prompt_mask` takes one image at a time."""

    def __init__(self, runners: Mapping[str, PartRunner], threads: int) -> None:
        self._runners = runners
        self._pool = ThreadPoolExecutor(threads, "prompt") if threads > 1 else None

    def maps(self, pixels: Tensor, guide: Tensor) -> SharedMaps:
        """Embeddings float16 [D, h, w] and uint8 colours [3, 2h, 2w] -> maps that prompts share."""
        outputs = self._runners[SHARED]({"pixels": pixels.contiguous().numpy(), "guide": guide.numpy()})
        return SharedMaps(*map(torch.from_numpy, outputs))

    def click_masks(self, shared: SharedMaps, prompts: Prompts) -> MaskAnswers:
        images, n = prompts.signs.shape[:2]
        by_image = [_arrays(SharedMaps(*(part[image : image + 1] for part in shared))) for image in range(images)]
        points = prompts.points[:, :, 0].numpy()
        inputs = [{"point": point, **maps} for maps, row in zip(by_image, points, strict=True) for point in row]
        masks, quality = self._run(POINT_PART, inputs)
        return MaskAnswers(masks.view(images, n, *masks.shape[2:]), quality.view(images, n, -1))

    def prompt_mask(self, shared: SharedMaps, prompts: Prompts, corrected: Tensor | None = None) -> MaskAnswers:
        maps = _arrays(shared)
        n = prompts.signs.shape[1]
        masks = shared.fine.new_zeros(1, n, *shared.fine.shape[2:]) if corrected is None else corrected
        corrects = masks.new_full((1, n), float(corrected is not None))
        names = ("points", "signs", "box", "has_box", "corrected", "corrects")
        by_prompt = zip(*(part[0].numpy() for part in (*prompts, masks, corrects)), strict=True)
        inputs = [{**dict(zip(names, map(np.asarray, prompt), strict=True)), **maps} for prompt in by_prompt]
        return self._run(PROMPT_PART, inputs)

    def _run(self, part: str, inputs: list[dict[str, NDArray[Any]]]) -> MaskAnswers:
        run_all = self._pool.map if self._pool is not None and len(inputs) > 1 else map
        outputs = list(run_all(self._runners[part], inputs))
        masks, quality = (torch.from_numpy(np.stack(arrays))[None] for arrays in zip(*outputs, strict=True))
        return MaskAnswers(masks, quality)


MaskPredictor = PromptHead | PromptGraphs


def _arrays(shared: SharedMaps) -> dict[str, NDArray[Any]]:
    return {name: part.numpy() for name, part in zip(SharedMaps._fields, shared, strict=True)}
