"""The interface between a run and the method that it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from lexiseg_model.training.recipe import LocalPhase

Batch = TypeVar("Batch")
Network = TypeVar("Network", bound=nn.Module)


class Hooks(ABC, Generic[Network, Batch]):
    """A method's part of a `Run`: batches, loss, weights, and optionally validation and state."""

    network: Network

    @abstractmethod
    def _batches(self, phase: LocalPhase) -> IterableDataset[Batch]:
        """An endless stream of batches of `phase.batch` examples, preferably a `Stream` of numbered batches.

        Any other stream must start at the run's step by itself, for process `rank()` of `world_size()`.
        """

    @abstractmethod
    def _loss(self, batch: Batch) -> Tensor:
        """Scalar loss of one batch with gradients; the network is in training mode."""

    @abstractmethod
    def _weights(self) -> dict[str, Tensor]:
        """Tensors of the weights file by name."""

    def _told(self) -> dict[str, float]:
        """Additional figures for the journal, after every `log_steps` steps; means of `Run.note` need not be here."""
        return {}

    def _validate(self) -> dict[str, float]:
        """Figures of the averaged weights, which `network` holds in eval mode; called in every process."""
        return {}

    def _samples(self) -> dict[str, NDArray[np.uint8]]:
        """RGB pictures [H, W, 3] by name, after `_validate` and with the same weights."""
        return {}

    def _examples(self) -> int | None:
        """Number of examples, for a budget in epochs; None where they are drawn at random."""
        return None

    def _kept(self, name: str) -> bool:
        """Whether a tensor of the network is averaged and checkpointed; frozen pretrained parts need not be."""
        return True

    def _state(self) -> dict[str, Any]:
        """Additional state for a checkpoint: tensors, numbers and strings in lists and dictionaries."""
        return {}

    def _restore(self, state: dict[str, Any]) -> None:
        """Load a `_state`."""

    def _mode(self) -> None:
        """Called before every step."""
        self.network.train()
