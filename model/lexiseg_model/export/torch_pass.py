"""The image pass by torch, as it is written or translated by torch.compile."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import ExportError
from lexiseg_model.features import TileFeatures, encode_each
from lexiseg_model.segmenter import Segmenter

COMPILER = "inductor"


class TorchPass(Segmenter):
    """A Segmenter with an image pass by torch in one function, which torch.compile can translate."""

    _translated: Callable[[Tensor], TileFeatures] | None = None

    @abstractmethod
    def _image_pass(self, tiles: Tensor) -> TileFeatures:
        """The kept maps [N, ...] of uint8 tiles [N, 3, s, t] on the device."""

    def compile_image_pass(self, backend: str = COMPILER) -> None:
        """Translate the image pass when it first runs, and again for a new shape of tiles."""
        self._translated = torch.compile(self._image_pass, backend=backend)

    def _run_torch(self, tiles: NDArray[np.uint8], device: torch.device) -> TileFeatures:
        """The image pass of tiles [N, 3, s, t], as `encode_each`."""
        return encode_each(tiles, device, self._translated or self._image_pass)


@functools.cache
def require_compiler(device: torch.device, backend: str = COMPILER) -> None:
    """Translate and run a sum: on a CPU a backend needs a C++ compiler, on a GPU Triton.

    Raises:
        ExportError: torch.compile cannot translate for the device.
    """
    try:
        torch.compile(torch.add, backend=backend)(torch.ones(2, device=device), 1)
    except Exception as error:  # backends raise errors of their own
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(f"runtime torch-compile: torch cannot translate for {device}: {reason}") from error
