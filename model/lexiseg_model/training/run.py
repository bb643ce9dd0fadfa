"""A training run of so many steps: averaged weights, checkpoints, resumable at any of them.

The learning rate stays on a plateau but for the last steps. Where it begins to fall, the checkpoint is kept: a later
run of more steps goes on from there.
"""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format
from torch.utils.data import DataLoader, IterableDataset

from lexiseg_model.device import choose_device
from lexiseg_model.training.precision import fast_type
from lexiseg_model.training.recipe import Phase, RunRecipe
from lexiseg_model.training.schedule import learning_rate

LOGGED_STEPS = 50
CHECKPOINT, PLATEAU = "checkpoint.pt", "plateau.pt"
LARGEST_GRADIENT = 2.0  # norm over all weights

Recipe = TypeVar("Recipe", bound=RunRecipe)
Batch = TypeVar("Batch")
Network = TypeVar("Network", bound=nn.Module)


class Run(ABC, Generic[Recipe, Network, Batch]):
    """One run of a recipe. `train()` continues from the newest checkpoint in `recipe.out`."""

    file = "weights.safetensors"  # what the weights are called in `recipe.out`

    def __init__(self, recipe: Recipe, network: Network) -> None:
        self.recipe = recipe
        self.device = choose_device(recipe.device)
        self.dtype = fast_type(self.device)
        self.random = np.random.default_rng(recipe.seed)
        self.network: Network = convert_conv2d_weight_memory_format(network.to(self.device), torch.channels_last)
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            fused=True,
        )
        self.step = 0
        self.crops_seen = 0
        self.seconds = 0.0

    @abstractmethod
    def _batches(self, phase: Phase) -> IterableDataset[Batch]:
        """An endless stream of batches; it may depend on how far the run is."""

    @abstractmethod
    def _loss(self, batch: Batch) -> Tensor:
        """Scalar of one batch, with gradients; the network is in training mode."""

    @abstractmethod
    def _told(self) -> dict[str, float]:
        """What the log says beside step, time, loss, learning rate and crop; asked every LOGGED_STEPS steps."""

    @abstractmethod
    def _weights(self) -> dict[str, Tensor]:
        """What the file of weights will hold, by name."""

    @property
    def progress(self) -> float:
        """Share of the run that is done."""
        return min(1.0, self.step / self.recipe.steps)

    def train(self) -> Path | None:
        """Trains until the recipe's steps are done; returns the path of the averaged fp16 weights.

        None where the recipe's `slice_minutes` ended first: called again, it goes on.
        """
        self.recipe.out.mkdir(parents=True, exist_ok=True)
        self._resume()
        began = saved = clock = time.monotonic()
        logged: list[float] = []
        while self.step < self.recipe.steps:
            phase = self._phase()
            for batch in self._loader(phase):
                if self.step == self.recipe.steps - self.recipe.decay_steps:
                    self._save(PLATEAU)
                logged.append(self._step(batch))
                now = time.monotonic()
                self.seconds += now - clock
                clock = now
                if self.step % LOGGED_STEPS == 0:
                    self._log(logged, phase)
                    logged.clear()
                if now - saved > 60 * self.recipe.checkpoint_minutes:
                    self._save(CHECKPOINT)
                    saved = now
                if self.recipe.slice_minutes is not None and now - began > 60 * self.recipe.slice_minutes:
                    self._save(CHECKPOINT)
                    return None
                if self.step >= self.recipe.steps or self._phase() != phase:
                    break
        self._save(CHECKPOINT)
        return self.recipe.out / self.file

    def _phase(self) -> Phase:
        """The last phase that has begun."""
        return [phase for phase in self.recipe.phases if phase.after <= self.progress][-1]

    def _loader(self, phase: Phase) -> Iterable[Batch]:
        """Batches, made in processes of their own."""
        workers = self.recipe.workers
        prefetch = 4 if workers else None
        return DataLoader(self._batches(phase), batch_size=None, num_workers=workers, prefetch_factor=prefetch)

    def _step(self, batch: Batch) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self._mode()
        loss = self._loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.step += 1
        self.crops_seen += self._phase().batch
        self._average()
        return loss.item()

    def _mode(self) -> None:
        self.network.train()

    def _log(self, losses: list[float], phase: Phase) -> None:
        entry = {
            "step": self.step,
            "decayed": self.step > self.recipe.steps - self.recipe.decay_steps,
            "crops": self.crops_seen,
            "minutes": round(self.seconds / 60, 1),
            "loss": round(sum(losses) / len(losses), 4),
            "learning_rate": round(self._learning_rate(), 7),
            "crop": phase.crop,
        }
        print(json.dumps(entry | self._told()), flush=True)

    def _learning_rate(self) -> float:
        recipe = self.recipe
        return learning_rate(self.step, recipe.learning_rate, recipe.warmup_steps, recipe.steps, recipe.decay_steps)

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.average_decay, (1 + self.step) / (10 + self.step))
        state = self.network.state_dict(keep_vars=True)
        moved = [name for name, value in state.items() if value.is_floating_point()]
        # All at once: one by one they would be a tenth of a step's operations.
        torch._foreach_lerp_([self.average[name] for name in moved], [state[name] for name in moved], 1 - decay)

    def _save(self, name: str) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "decayed": self.step > self.recipe.steps - self.recipe.decay_steps,
            "crops": self.crops_seen,
            "seconds": self.seconds,
        }
        fresh = self.recipe.out / f"{name}.new"
        torch.save(state, fresh)
        os.replace(fresh, self.recipe.out / name)  # a kill in between loses nothing
        half = {
            name: value.half().contiguous().cpu()
            for name, value in self._weights().items()
            if value.is_floating_point()
        }
        save_file(half, self.recipe.out / self.file)
        (self.recipe.out / "recipe.yaml").write_text(yaml.safe_dump(self.recipe.model_dump(mode="json")))

    def _resume(self) -> None:
        state = self._checkpoint(CHECKPOINT)
        if state is not None and state["decayed"] and state["step"] < self.recipe.steps:
            state = self._checkpoint(PLATEAU) or state
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.crops_seen, self.seconds = state["step"], state["crops"], state["seconds"]
        self.random = np.random.default_rng([self.recipe.seed, self.step])
        print(f"resumed at step {self.step}, {self.seconds / 60:.1f} minutes", flush=True)

    def _checkpoint(self, name: str) -> dict[str, Any] | None:
        path = self.recipe.out / name
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        return state


def channel(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """Three numbers, one for each colour, as [1, 3, 1, 1]."""
    return torch.tensor(values, device=device).view(1, 3, 1, 1)
