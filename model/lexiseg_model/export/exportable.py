"""What a method offers so that another runtime can do its image pass: the network, and a place for the runner."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.segmenter import Segmenter

Bucket = tuple[int, int]  # (height, width) of tiles


PartRunner = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]  # inputs by name -> outputs in order


class Part(NamedTuple):
    """A step beside the image pass that is written as a graph of its own, float32.

    `example` draws inputs for a picture of so many rows and columns of 32 pixels; `sizes` gives, for each input by
    name, which of its dimensions are free, as `torch.export` takes it.
    """

    name: str
    module: nn.Module
    example: Callable[[int, int], Sequence[Tensor]]
    sizes: Mapping[str, Mapping[int, Any]]
    outputs: Sequence[str]


class ImageRunner(Protocol):
    """Does the image pass of one model."""

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that it holds."""

    def takes(self, bucket: Bucket) -> bool:
        """Whether tiles of this shape can be given; the method's own pass does the others."""

    def __call__(self, tiles: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        """What `image_network` gives for tiles [N, 3, s, t]: float32, on the model's device.

        On a CPU the answer for a tile is the same, bit for bit, alone and in company.
        """


class Exportable(Segmenter):
    """A Segmenter whose image pass can be written down as a graph and be done by a runner.

    `any_size`: one graph of `image_network` holds for tiles of every shape that `plan` makes. Where it does not
    (learned positions are resized while tracing), each of `buckets` gets a graph of its own.
    """

    any_size: bool = False
    _runner: ImageRunner | None = None

    @property
    def nbytes(self) -> int:
        return super().nbytes + (self._runner.nbytes if self._runner else 0)

    @abstractmethod
    def image_network(self) -> nn.Module:
        """The heavy pass in the model's own number type: uint8 tiles [N, 3, s, t] to a tuple of tensors [N, ...].

        It is taken of a model loaded as exact, hence float32.

        Raises:
            ExportError: the pass is more than one network.
        """

    def parts(self) -> list[Part]:
        """What is written as graphs beside the image pass."""
        return []

    def use_part_runners(self, runners: Mapping[str, PartRunner], threads: int) -> None:
        """From now on graphs do `parts`, on a CPU; of one part, runs that do not need each other go side by side."""

    def use_image_runner(self, runner: ImageRunner) -> None:
        """From now on `runner` encodes the tiles that it takes."""
        self._runner = runner
        self.passes_side_by_side = False  # it has threads of its own

    def _encode_elsewhere(self, tiles: NDArray[np.uint8]) -> tuple[Tensor, ...] | None:
        """The runner's answer for tiles [N, 3, s, t] of one bucket; None where the method has to do them itself."""
        if self._runner is None or not self._runner.takes((tiles.shape[2], tiles.shape[3])):
            return None
        return self._runner(tiles)
