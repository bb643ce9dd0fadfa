"""A training run that lasts its recipe's minutes: averaged weights, checkpoints, resumable at any of them."""

from __future__ import annotations

import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format
from torch.utils.data import DataLoader, IterableDataset

from lexiseg_model.device import choose_device
from lexiseg_model.training.recipe import Phase, RunRecipe

LOGGED_STEPS = 50
LARGEST_GRADIENT = 2.0  # norm over all weights

Recipe = TypeVar("Recipe", bound=RunRecipe)
Example = TypeVar("Example")
Network = TypeVar("Network", bound=nn.Module)


class TimedRun(ABC, Generic[Recipe, Network, Example]):
    """One run of a recipe. `train()` continues from the newest checkpoint in `recipe.out`."""

    def __init__(self, recipe: Recipe, network: Network) -> None:
        self.recipe = recipe
        self.device = choose_device(recipe.device)
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
    def _examples(self, phase: Phase) -> IterableDataset[Example]:
        """An endless stream of crops; it may depend on how far the run is."""

    @abstractmethod
    def _loss(self, batch: list[Example]) -> Tensor:
        """Scalar of one batch, with gradients; the network is in training mode."""

    @abstractmethod
    def _told(self) -> dict[str, float]:
        """What the log says beside step, time, loss, learning rate and crop; asked every LOGGED_STEPS steps."""

    @abstractmethod
    def _weights(self) -> dict[str, Tensor]:
        """What `tiny.safetensors` will hold, by name."""

    @property
    def progress(self) -> float:
        """Share of the run that is done, by the time spent training."""
        return min(1.0, self.seconds / (60 * self.recipe.minutes))

    def train(self) -> Path:
        """Trains until the recipe's minutes are spent; returns the path of the averaged fp16 weights."""
        self.recipe.out.mkdir(parents=True, exist_ok=True)
        self._resume()
        saved = clock = time.monotonic()
        logged: list[float] = []
        while self.progress < 1:
            phase = self._phase()
            for batch in self._loader(phase):
                logged.append(self._step(batch))
                now = time.monotonic()
                self.seconds += now - clock
                clock = now
                if self.step % LOGGED_STEPS == 0:
                    self._log(logged, phase)
                    logged.clear()
                if now - saved > 60 * self.recipe.checkpoint_minutes:
                    self._save()
                    saved = now
                if self.progress >= 1 or self._phase() != phase:
                    break
        self._save()
        return self.recipe.out / "tiny.safetensors"

    def _phase(self) -> Phase:
        """The last phase that has begun."""
        return [phase for phase in self.recipe.phases if phase.after <= self.progress][-1]

    def _loader(self, phase: Phase) -> Iterator[list[Example]]:
        return iter(
            DataLoader(
                self._examples(phase),
                batch_size=phase.batch,
                num_workers=self.recipe.workers,
                collate_fn=list,
                prefetch_factor=4 if self.recipe.workers else None,
            )
        )

    def _step(self, batch: list[Example]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.network.train()
        loss = self._loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.step += 1
        self.crops_seen += len(batch)
        self._average()
        return loss.item()

    def _log(self, losses: list[float], phase: Phase) -> None:
        entry = {
            "step": self.step,
            "crops": self.crops_seen,
            "minutes": round(self.seconds / 60, 1),
            "loss": round(sum(losses) / len(losses), 4),
            "learning_rate": round(self._learning_rate(), 6),
            "crop": phase.crop,
        }
        print(json.dumps(entry | self._told()), flush=True)

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.step + 1) / max(1, self.recipe.warmup_steps))
        return self.recipe.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.progress)))

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.average_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "crops": self.crops_seen,
            "seconds": self.seconds,
        }
        fresh = self.recipe.out / "checkpoint.new"
        torch.save(state, fresh)
        os.replace(fresh, self.recipe.out / "checkpoint.pt")  # a kill in between loses nothing
        half = {
            name: value.half().contiguous().cpu()
            for name, value in self._weights().items()
            if value.is_floating_point()
        }
        save_file(half, self.recipe.out / "tiny.safetensors")
        (self.recipe.out / "recipe.yaml").write_text(yaml.safe_dump(self.recipe.model_dump(mode="json")))

    def _resume(self) -> None:
        path = self.recipe.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.crops_seen, self.seconds = state["step"], state["crops"], state["seconds"]
        self.random = np.random.default_rng([self.recipe.seed, self.step])
        print(f"resumed at step {self.step}, {self.seconds / 60:.1f} minutes", flush=True)


def channel(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """Three numbers, one for each colour, as [1, 3, 1, 1]."""
    return torch.tensor(values, device=device).view(1, 3, 1, 1)
