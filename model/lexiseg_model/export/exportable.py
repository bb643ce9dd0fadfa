"""Image passes of segmenters: by torch, as written or translated by torch.compile, or by a graph in another runtime."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.errors import ExportError
from lexiseg_model.export.runner import OnnxRunner, PartSession
from lexiseg_model.features import TileFeatures, encode_each
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import Segmenter

PartRunner = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]  # inputs by name -> outputs in order
COMPILER = "inductor"


class Part(NamedTuple):
    """A step besides the image pass that is exported as its own float32 graph.

    `example(rows, columns)` makes inputs for an image of so many blocks of 32 x 32 pixels. `sizes` has the dynamic
    dimensions of each input by name, as `dynamic_shapes` of `torch.export`; `weights` of the module's state in
    which models differ. `template` is a file of `model/templates.py`, which saves the trace.
    """

    name: str
    module: nn.Module
    example: Callable[[int, int], Sequence[Tensor]]
    sizes: Mapping[str, Mapping[int, Any]]
    outputs: Sequence[str]
    weights: Mapping[str, Mapping[int, Any]] = MappingProxyType({})
    template: Path | None = None


class Exportable(Segmenter):
    """A Segmenter with an image pass that can be exported as a graph and run by a runner.

    `any_size`: one graph of `image_network` serves all tile shapes of `plan`. Otherwise (position embeddings are
    resized while tracing) each of `buckets` gets its own graph.
    """

    any_size: bool = False
    part_sessions: Sequence[PartSession] = ()  # of `parts`, where graphs run them
    _runner: OnnxRunner | None = None

    @property
    def nbytes(self) -> int:
        return super().nbytes + (self._runner.nbytes if self._runner else 0)

    @abstractmethod
    def image_network(self) -> nn.Module:
        """The network of the image pass: uint8 tiles [N, 3, s, t] -> tensors [N, ...]; float32 if loaded as exact.

        Raises ExportError: the pass is more than one network.
        """

    def parts(self) -> list[Part]:
        """The steps besides the image pass to export."""
        return []

    def open_parts(self) -> None:
        """Open the graphs of the parts, which the first question for one would wait for."""
        for session in self.part_sessions:
            session.open()

    def use_part_runners(self, runners: Mapping[str, PartRunner], threads: int) -> None:
        """Run `parts` by these graphs on the CPU, with up to `threads` runs of one part in parallel."""

    def use_image_runner(self, runner: OnnxRunner) -> None:
        """Let `runner` encode the tiles that it takes."""
        self._runner = runner
        self.passes_overlap = True


class TorchPass(Segmenter):
    """A Segmenter with an image pass by torch in one function, which torch.compile can translate."""

    _execution: Execution
    _translated: Callable[[Tensor], TileFeatures] | None = None

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        return encode_each(tiles, self._execution.device, self._translated or self._image_pass)

    @abstractmethod
    def _image_pass(self, tiles: Tensor) -> TileFeatures:
        """The kept maps [N, ...] of uint8 tiles [N, 3, s, t] on the device."""

    def compile_image_pass(self, backend: str = COMPILER) -> None:
        """Translate the image pass when it first runs, and again for a new shape of tiles."""
        self._translated = torch.compile(self._image_pass, backend=backend)


@functools.cache
def require_compiler(device: torch.device, backend: str = COMPILER) -> None:
    """Translate and run a sum: on a CPU a backend needs a C++ compiler, on a GPU Triton."""
    try:
        torch.compile(torch.add, backend=backend)(torch.ones(2, device=device), 1)
    except Exception as error:  # backends raise errors of their own
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(f"runtime torch-compile: torch cannot translate for {device}: {reason}") from error
