"""What a method brings to a run: batches, their loss, the weights that come out; and, if it likes, validation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from lexiseg_model.training.recipe import Phase

Batch = TypeVar("Batch")
Network = TypeVar("Network", bound=nn.Module)


class Hooks(ABC, Generic[Network, Batch]):
    """A method's part of a `Run`, which calls it."""

    network: Network

    @abstractmethod
    def _batches(self, phase: Phase) -> IterableDataset[Batch]:
        """An endless stream of batches, best a `Stream`, whose batches have numbers.

        Any other begins where the run is, by itself: at step `self.step`, each of `recipe.accumulation` batches, in
        process `rank()` of `world_size()`.
        """

    @abstractmethod
    def _loss(self, batch: Batch) -> Tensor:
        """Scalar of one batch, with gradients; the network is in training mode."""

    @abstractmethod
    def _told(self) -> dict[str, float]:
        """What the log says beside step, time, loss, learning rate and crop; asked after every `log_steps` steps."""

    @abstractmethod
    def _weights(self) -> dict[str, Tensor]:
        """What the file of weights will hold, by name."""

    def _validate(self) -> dict[str, float]:
        """Figures of the averaged weights, which `network` holds meanwhile, in eval mode; on every process."""
        return {}

    def _samples(self) -> dict[str, NDArray[np.uint8]]:
        """Pictures to look at, RGB [H, W, 3] by name; asked after `_validate`, under the same weights."""
        return {}

    def _examples(self) -> int | None:
        """How many there are, for a budget in epochs; None where they are drawn at random."""
        return None

    def _kept(self, name: str) -> bool:
        """Whether a tensor of the network is averaged and checkpointed; not what is read from elsewhere and frozen."""
        return True

    def _state(self) -> dict[str, Any]:
        """What else a checkpoint holds: tensors, numbers, strings, in lists and dictionaries."""
        return {}

    def _restore(self, state: dict[str, Any]) -> None:
        """Takes back what `_state` gave."""

    def _mode(self) -> None:
        """Before every step."""
        self.network.train()
