"""A network, what moves it, and the moving average of what it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from lexiseg_model.errors import WeightsError
from lexiseg_model.training.checkpoints.checkpoint import kept_random
from lexiseg_model.training.gather import world_size
from lexiseg_model.training.processes.group import average_gradients, largest, share_weights
from lexiseg_model.training.processes.shared_norm import share_norms
from lexiseg_model.training.recipe import RunRecipe
from lexiseg_model.training.steps.groups import groups, optimiser
from lexiseg_model.training.steps.precision import number_type

Network = TypeVar("Network", bound=nn.Module)


class Learner(Generic[Network]):
    """One step is `begin`, `backward` for each batch, `apply`."""

    def __init__(self, recipe: RunRecipe, network: Network, kept: Callable[[str], bool], device: torch.device) -> None:
        """
        Args:
            recipe: rules of the optimiser, number type, clipping, pace of the average.
            network: is moved to the device; its batch norms are shared by the processes of the run.
            kept: which of its tensors, by name, are averaged and belong to its state.
            device: where it learns.

        Raises:
            RecipeError: a factor of the learning rate for a part that the network does not have.
        """
        self._recipe = recipe
        self._device = device
        self.dtype = number_type(recipe.precision, device)
        placed = convert_conv2d_weight_memory_format(network.to(device), torch.channels_last)
        self.network: Network = share_norms(placed)
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items() if kept(name)}
        self.groups = groups(self.network, recipe.decay_rule, recipe.rate_factors)
        self.optimizer = optimiser(recipe, self.network, self.groups)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        # What norms remember, of each type together, and where it is kept during a step.
        self._buffers: dict[torch.dtype, list[Tensor]] = {}
        for buffer in self.network.buffers():
            self._buffers.setdefault(buffer.dtype, []).append(buffer)
        self._before = {kind: [buffer.clone() for buffer in held] for kind, held in self._buffers.items()}

    @torch.no_grad()
    def share(self) -> None:
        """Every process begins with the first one's weights."""
        share_weights(self.network)
        if world_size() > 1:
            state = self.network.state_dict()
            for name, value in self.average.items():
                value.copy_(state[name])

    def begin(self, rate: float) -> None:
        """A step at a learning rate, before its batches."""
        for group, sorted_in in zip(self.optimizer.param_groups, self.groups, strict=True):
            group["lr"] = rate * sorted_in.factor
        # What norms remember of a batch without a finite loss would stay: it is taken back then.
        for kind, held in self._buffers.items():
            torch._foreach_copy_(self._before[kind], held)
        self.optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> float:
        """Adds a loss's gradients to those that are there; returns the loss."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def apply(self, loss: float, step: int) -> bool:
        """Moves the weights by the gradients of all processes, and the average after them.

        Not if loss or gradients are not finite on any process: then all is as it was before the step.

        Args:
            loss: of the step.
            step: how many steps there are with this one.
        """
        average_gradients(self.network.parameters())
        self.scaler.unscale_(self.optimizer)
        limit = self._recipe.largest_gradient
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), math.inf if limit is None else limit)
        # With a scale, float16 overflows now and then: the scaler leaves that step out by itself and lowers the scale.
        finite = math.isfinite(loss) and (bool(norm.isfinite()) or self.scaler.get_scale() > 1)
        [lost] = largest([float(not finite)], self._device)
        if not lost:
            self.scaler.step(self.optimizer)
            self._follow(step)
        else:
            for kind, held in self._buffers.items():
                torch._foreach_copy_(held, self._before[kind])
        self.scaler.update()
        return not lost

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        decay = min(self._recipe.average_decay, (1 + step) / (10 + step))
        state = self.network.state_dict(keep_vars=True)
        moved = [name for name, value in self.average.items() if value.is_floating_point()]
        # All at once: one by one they would be a tenth of a step's operations.
        torch._foreach_lerp_([self.average[name] for name in moved], [state[name] for name in moved], 1 - decay)

    @contextmanager
    def as_average(self) -> Iterator[None]:
        """The network holds the averaged weights, in eval mode; what it held, and random states, come back after."""
        state = self.network.state_dict()
        held = {name: state[name].clone() for name in self.average}
        with kept_random(self._device), torch.no_grad():
            self.network.load_state_dict(self.average, strict=False)
            self.network.eval()
            try:
                yield
            finally:
                self.network.load_state_dict(held, strict=False)

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        network = self.network.state_dict()
        return {
            "network": {name: network[name] for name in self.average},
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave; the scale of float16 is missing in checkpoints of 0.1.

        Raises:
            WeightsError: it is of another network.
        """
        if (names := state["network"].keys() ^ self.average.keys()) or state["average"].keys() != self.average.keys():
            raise WeightsError(
                f"the checkpoint is of another network: {len(names)} tensors, as {min(names, default='')}"
            )
        self.network.load_state_dict(state["network"], strict=False)
        self.average.update(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler.is_enabled() and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
