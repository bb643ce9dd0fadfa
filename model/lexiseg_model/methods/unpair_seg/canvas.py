"""Position of an image in the network's input: resized to the top left corner, grey padding right and below."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lexiseg_model.methods.unpair_seg.layers.trunk import PADDING, STRIDE
from lexiseg_model.methods.unpair_seg.settings import Compatibility, Padding

Size = tuple[int, int]

MASK_STRIDE = 4  # pixels of the input per cell of a mask
OUTSIDE = -10.0  # mask logit in the padding


class Canvas(NamedTuple):
    """(height, width) in pixels of the network's input (`size`) and of the image in its top left corner (`inside`)."""

    size: Size
    inside: Size

    @property
    def cells(self) -> Size:
        """(rows, columns) of mask cells that the image covers, rounded, at least 1."""
        height, width = self.inside
        return max(1, round(height / MASK_STRIDE)), max(1, round(width / MASK_STRIDE))

    @property
    def whole(self) -> bool:
        """Whether the image's sides are multiples of the mask stride."""
        return self.inside[0] % MASK_STRIDE == 0 and self.inside[1] % MASK_STRIDE == 0


def lay_out(size: Size, long_side: int, padding: Padding = "square", mode: Compatibility = "none") -> Canvas:
    """Canvas for an image of (height, width), with a longer side after resizing that is a multiple of 32; `released`
    rounds the resized sides to pixels, `none` to whole mask cells."""
    longest = max(size)
    step = 1 if mode == "released" else MASK_STRIDE
    height, width = (max(step, int(side * long_side / longest / step + 0.5) * step) for side in size)
    if padding == "square":
        return Canvas((long_side, long_side), (height, width))
    return Canvas((height + -height % STRIDE, width + -width % STRIDE), (height, width))


def laid_on(rgb: NDArray[np.uint8], canvas: Canvas) -> NDArray[np.uint8]:
    """Network input uint8 [3, h, w] of an RGB image uint8 [H, W, 3]; bilinear with antialiasing, as released."""
    height, width = canvas.inside
    resized = Image.fromarray(np.ascontiguousarray(rgb)).resize((width, height), Image.Resampling.BILINEAR)
    tile = np.full((3, *canvas.size), PADDING, np.uint8)
    tile[:, :height, :width] = np.asarray(resized).transpose(2, 0, 1)
    return tile


def canvas_to_image(masks: Tensor, canvas: Canvas) -> Tensor:
    """Cut mask logits [N, h, w] of a canvas to the image: [N, *canvas.cells]."""
    rows, columns = canvas.cells
    if canvas.whole:
        return masks[:, :rows, :columns]
    # Cells of the image differ slightly in size from the canvas's, hence the resampling.
    (height, width), (canvas_height, canvas_width) = canvas.inside, canvas.size
    y = (torch.arange(rows, device=masks.device) + 0.5) / rows * (2 * height / canvas_height) - 1
    x = (torch.arange(columns, device=masks.device) + 0.5) / columns * (2 * width / canvas_width) - 1
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).expand(len(masks), -1, -1, -1)
    sampled = F.grid_sample(masks[:, None].float(), places, padding_mode="border", align_corners=False)
    return sampled[:, 0]


def image_to_canvas(masks: Tensor, canvas: Canvas) -> Tensor:
    """Place mask logits [N, h, w] of the image, of any resolution, on the canvas at the mask stride."""
    rows, columns = canvas.cells
    sized = masks.float()
    if sized.shape[1:] != (rows, columns):
        sized = F.interpolate(sized[:, None], size=(rows, columns), mode="bilinear", align_corners=False)[:, 0]
    height, width = (side // MASK_STRIDE for side in canvas.size)
    return F.pad(sized, (0, width - columns, 0, height - rows), value=OUTSIDE)
