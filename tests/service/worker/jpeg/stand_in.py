"""In the place of nvJPEG, on the CPU: chroma repeated and not interpolated, as it does."""

from __future__ import annotations

import simplejpeg
import torch
from torch import Tensor

from lexiseg_service.worker.jpeg.nvjpeg import DeviceJpeg

CPU = torch.device("cpu")


class Planes:
    """Decodes; counts the files."""

    def __init__(self) -> None:
        self.files = 0

    def __call__(self, content: Tensor) -> Tensor:
        self.files += 1
        try:
            rgb = simplejpeg.decode_jpeg(content.numpy().tobytes(), "RGB", fastupsample=True)
        except ValueError as error:
            raise RuntimeError(f"Error while decoding JPEG images: {error}") from None
        return torch.from_numpy(rgb).permute(2, 0, 1).contiguous()


def decoder() -> DeviceJpeg:
    return DeviceJpeg(CPU, Planes())
