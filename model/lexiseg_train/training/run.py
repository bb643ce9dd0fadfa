"""The training loop of every method: steps, averaged weights, checkpoints, a journal; resumable at any step.

    train:  start or resume -> step, step, ... -> weights
    step:   batches -> losses -> gradients (averaged over processes) -> finite? -> weights -> moving average
    then:   journal line, validation, checkpoint, each when due

A step depends on its number, the recipe and the checkpoint before it: batches come by number (`Stream`) and random
states are kept. So a run that was killed ends with the same weights as one that was not, bit for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
import yaml
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lexiseg_model.errors import RecipeError, TrainingError
from lexiseg_model.files.atomic import write_durably
from lexiseg_model.resources.device import widest_float
from lexiseg_train.data.pairs.source import PairSource
from lexiseg_train.training.checkpoints import (
    PLATEAU,
    Reached,
    begin_random,
    decay_share,
    find_checkpoint,
    random_states,
    rate_factor,
    restore_random,
    share_done,
)
from lexiseg_train.training.distributed import alone, gather_objects, largest, mean_of_notes, mean_over_processes
from lexiseg_train.training.journal import SKIPPED, Best, Journal, Pace, SharedSkips, better
from lexiseg_train.training.learner import Learner
from lexiseg_train.training.processes import Stops, join, rank, world_size
from lexiseg_train.training.recipe import CHECKPOINT, RECIPE, Division, LocalPhase, Phase, RunRecipe, divide
from lexiseg_train.training.stream import Stream, loader

BEST = "best.safetensors"
NONFINITE = "nonfinite"  # folder of batches without a finite loss

Recipe = TypeVar("Recipe", bound=RunRecipe)
Batch = TypeVar("Batch")
Network = TypeVar("Network", bound=nn.Module)


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum [] of the weighted parts of a loss."""
    return torch.stack(list(losses.values())).sum()


class Run(ABC, Generic[Recipe, Network, Batch]):
    """One run of a recipe. `train()` resumes from the newest checkpoint in `recipe.out`."""

    file = "weights.safetensors"  # in `recipe.out`
    held_out: PairSource | None = None

    def __init__(self, recipe: Recipe, network: Network) -> None:
        self.recipe = recipe
        self.device = join(recipe.device)
        self.learner = Learner(recipe, network, self.device)
        self.network: Network = self.learner.network
        self.skips = SharedSkips(recipe.out / SKIPPED)
        self.step = 0
        self.crops_seen = 0  # by all processes
        self.seconds = 0.0
        self.nonfinite = 0  # steps that were not applied
        self.best: Best | None = None
        self.ending = ""  # why `train` returned no weights
        self.decayed = False  # whether the learning rate has begun to decay
        self._warmed_up = Reached()  # progress at the end of warm-up
        self._noted: dict[str, list[float]] = {}  # figures of the steps since the last line of the journal

    @abstractmethod
    def _batches(self, phase: LocalPhase) -> Stream[Batch]:
        """Batches of `phase.batch` examples."""

    @abstractmethod
    def _loss(self, batch: Batch) -> Tensor:
        """Scalar loss of one batch with gradients; the network is in training mode."""

    @abstractmethod
    def _weights(self) -> dict[str, Tensor]:
        """Tensors of the weights file by name."""

    def in_words(self, phase: Phase) -> str:
        """What is special about the steps of a phase; empty for nothing."""
        return ""

    def rehearse(self, batches: Sequence[Batch], accumulation: int) -> None:
        """Compute gradients of some batches with the memory of a step of `accumulation` batches."""
        self._mode()
        self._backward(batches)

    def batches(self, phase: LocalPhase, workers: int) -> Iterator[Batch]:
        """Batches of this process from the current step on, loaded by so many worker processes."""
        first = self.step * self._division(self._phase()).accumulation * world_size()
        return iter(loader(self._batches(phase), workers, count(first + rank(), world_size())))

    def _extra_figures(self) -> dict[str, float]:
        """More figures for the log after every `log_steps` steps, besides the means that `note` collects."""
        return {}

    def _validate(self) -> dict[str, float]:
        """Figures of the averaged weights, which `network` holds in eval mode; called in every process."""
        return {}

    def _examples(self) -> int | None:
        """Number of examples, for a budget in epochs; None where they are drawn at random."""
        return None

    def _mode(self) -> None:
        """Set training mode before every step; a method may leave frozen parts in eval mode."""
        self.network.train()

    @property
    def average(self) -> dict[str, Tensor]:
        """The averaged weights by name; whole in `_weights` and `_validate`, elsewhere shards of a sharded network."""
        return self.learner.average

    @property
    def progress(self) -> float:
        return self._share(Reached(self.step, self.crops_seen, self.seconds))

    @property
    def expected_steps(self) -> int:
        """Steps of the whole run; with a budget in examples or minutes, extrapolated."""
        if self.recipe.steps is not None:
            return self.recipe.steps
        return max(self.step + 1, round(self.step / max(1e-9, self.progress)))

    def train(self) -> Path | None:
        """Train until the recipe's budget is used, or resume; returns the averaged fp16 weights.

        None in other processes than the first, and where the run stopped early for the reason in `ending`.
        """
        if self.recipe.sharding == "full" and world_size() == 1:
            raise RecipeError(
                "sharding=full needs several processes, as torchrun starts them; got one: set sharding=none"
            )
        for phase in self.recipe.phases:
            self._division(phase)
        self.recipe.out.mkdir(parents=True, exist_ok=True)
        stops = Stops(with_parent=dist.is_torchelastic_launched())
        with stops.by_signals(), closing(Journal(self.recipe, rank() == 0)) as journal:
            begin_random([self.recipe.seed, rank()])
            resumed = self._resume()
            journal.resume(self.step)
            of_phases = "; then ".join(dict.fromkeys(filter(None, map(self.in_words, self.recipe.phases))))
            for line in filter(None, (of_phases, self._norms_of_parts())):
                journal.say(line)
            if resumed is not None:
                journal.say(resumed)
            elif self.recipe.best_by is not None:
                self._validate_and_keep_best(journal)  # a missing figure is found before hours of training
            ending = self._run_steps(stops, journal)
            self._save(CHECKPOINT)
        if ending or rank() > 0:
            self.ending = ending if rank() == 0 else ""
            return None
        return self.recipe.out / self.file

    def _norms_of_parts(self) -> str:
        """A line where batch norms see a part of a step's examples; the answer depends on `micro_batch` then."""
        self._mode()
        n_parts = max(self._division(phase).accumulation for phase in self.recipe.phases)
        norms = any(isinstance(module, _BatchNorm) and module.training for module in self.network.modules())
        return f"batch norms see one of {n_parts} parts of a step at a time" if n_parts > 1 and norms else ""

    def _run_steps(self, stops: Stops, journal: Journal) -> str:
        """Run the remaining steps: why the run stopped early, or an empty string."""
        recipe = self.recipe
        pace = Pace(self.crops_seen, self.progress)
        began = saved = clock = time.monotonic()  # of this start, the last checkpoint, the last step
        logged: list[float] = []  # losses since the last line of the journal
        first, decay = True, decay_share(recipe)
        while self.progress < 1:
            phase = self._phase()
            local = LocalPhase(phase.crop, self._division(phase).batch)
            batches = self.batches(local, recipe.workers)
            try:
                while self.progress < 1 and self._phase() == phase:
                    if decay and not self.decayed and self.progress >= 1 - decay - 1e-9:
                        self._save(PLATEAU)
                        self.decayed = True
                    batch = self._draw_batches(batches, stops)
                    if batch is None:
                        return f"{stops.by} at step {self.step}; start it again to resume"
                    logged.append(self._step(*batch))
                    now = time.monotonic()
                    # All processes must agree on what comes next.
                    self.seconds, sliced, stopped, late = largest(
                        [self.seconds + now - clock, now - began, float(stops.requested), now - saved], self.device
                    )
                    clock = now
                    if self.step == recipe.warmup_steps:
                        self._warmed_up = Reached(self.step, self.crops_seen, self.seconds)
                    pace.step(self.crops_seen, self.progress)
                    journal.move(self.step, self.progress, logged[-1], pace)
                    if first or self.step % recipe.log_steps == 0:
                        journal.entry(self.step, self._journal_line(logged, phase, pace), "train/")
                        logged.clear()
                        first = False
                    if self._validates:
                        self._validate_and_keep_best(journal)
                    if reason := self._reason_to_stop(stops, stopped, sliced):
                        return f"{reason} at step {self.step}; start it again to resume"
                    by_steps = recipe.checkpoint_steps and self.step % recipe.checkpoint_steps == 0
                    if by_steps or late > 60 * recipe.checkpoint_minutes:
                        self._save(CHECKPOINT)
                        saved = now
            finally:
                del batches  # ends its workers; a failed step's traceback would keep them for 30 s after the run
        return ""

    @property
    def _validates(self) -> bool:
        """After this step; what is held out is always measured at the end."""
        steps = self.recipe.validate_steps
        if self.progress >= 1:
            return steps is not None or self.held_out is not None
        return steps is not None and self.step % steps == 0

    def _reason_to_stop(self, stops: Stops, stopped: float, seconds: float) -> str:
        """A signal, or the minutes of this start that are used up; empty for neither."""
        if stopped:
            return stops.by or "a signal"
        minutes = self.recipe.slice_minutes
        if minutes is not None and seconds > 60 * minutes and self.progress < 1:
            return f"{minutes:g} minutes are used up"
        return ""

    def _phase(self) -> Phase:
        return [phase for phase in self.recipe.phases if phase.after <= self.progress][-1]

    def _division(self, phase: Phase) -> Division:
        return divide(phase.global_batch, world_size(), self.recipe.micro_batch)

    def _draw_batches(self, batches: Iterator[Batch], stops: Stops) -> list[Batch] | None:
        try:
            return [next(batches) for _ in range(self._division(self._phase()).accumulation)]
        except RuntimeError:
            # A signal to all processes ends the loader's workers; their end raises here before the signal arrives.
            if world_size() == 1 and stops.requested_soon():
                return None
            raise

    def _step(self, batch: Batch, *more: Batch) -> float:
        """Update the weights by the mean gradient of the batches; returns the mean loss."""
        self.learner.begin(self._learning_rate())
        n_samples = self._phase().global_batch
        self._mode()
        parts = (batch, *more)
        self.skips.add(skipped for part in parts for skipped in getattr(part, "skipped", ()))
        loss = self._backward(parts)
        self.step += 1
        self.crops_seen += n_samples
        if self.learner.apply(loss, self.step):
            self.nonfinite = 0
        else:
            self._keep_nonfinite(parts)
        return loss

    def _backward(self, batches: Sequence[Batch]) -> float:
        return self.learner.backward(self._loss, batches)

    def _keep_nonfinite(self, batches: tuple[Batch, ...]) -> None:
        self.nonfinite += 1
        folder = self.recipe.out / NONFINITE
        folder.mkdir(exist_ok=True)
        path = folder / f"step-{self.step - 1}-rank-{rank()}.pt"
        torch.save(list(batches), path)
        if self.nonfinite == 1:
            self._write_state(folder / f"before-{self.step - 1}.pt")
        if self.nonfinite >= self.recipe.nonfinite_limit:
            raise TrainingError(
                f"{self.nonfinite} steps in a row up to step {self.step - 1} had no finite loss and gradient; {folder} "
                "holds their batches and the state before them"
            )

    def note(self, **figures: float) -> None:
        """Record figures of a batch, such as parts of its loss: the journal gets their means under these names."""
        for name, value in figures.items():
            self._noted.setdefault(name, []).append(float(value))

    def _noted_total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The `total` of the parts of a batch's loss, each of which the journal gets by its name."""
        self.note(**{name: loss.item() for name, loss in losses.items()})
        return total(losses)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.learner.dtype, enabled=self.learner.dtype != torch.float32)

    def _journal_line(self, losses: list[float], phase: Phase, pace: Pace) -> dict[str, Any]:
        """Figures of the steps since the last line; the loss and its parts are means over processes."""
        self.skips.gather()
        finite = [loss for loss in losses if math.isfinite(loss)]
        loss = torch.tensor(sum(finite) / max(1, len(finite)), dtype=widest_float(self.device), device=self.device)
        left = pace.seconds_left
        noted = {name: round(value, 4) for name, value in mean_of_notes(self._noted).items()}
        self._noted.clear()
        return {
            "decayed": self.decayed,
            "crops": self.crops_seen,
            "minutes": round(self.seconds / 60, 1),
            "loss": round(mean_over_processes(loss).item(), 4),
            "learning_rate": round(self._learning_rate(), 7),
            "crop": phase.crop,
            "examples_per_second": round(pace.examples_per_second, 2),
            "minutes_left": None if left is None else round(left / 60, 1),
            **({"nonfinite": len(losses) - len(finite)} if len(finite) < len(losses) else {}),
            **noted,
            "skipped": len(self.skips),
        } | self._extra_figures()

    def _learning_rate(self) -> float:
        recipe = self.recipe
        scale = self._phase().global_batch / recipe.rate_batch if recipe.rate_batch else 1
        peak = recipe.learning_rate * scale
        return peak * rate_factor(recipe, self.step, self.progress, self._share(self._warmed_up))

    @cached_property
    def _n_examples(self) -> int | None:
        return self._examples()

    def _share(self, reached: Reached) -> float:
        return share_done(self.recipe, self._n_examples, reached)

    def figures(self) -> dict[str, float]:
        """Validate the current averaged weights, each process the same; before `train`, the start's."""
        with self.learner.as_average(), alone():
            return self._validate()

    def _validate_and_keep_best(self, journal: Journal) -> None:
        """Validate, and keep the averaged weights if they are the best so far, but for those of the start."""
        figures = self.figures()
        by = self.recipe.best_by
        if by is not None and (best := better(by, self.step, figures, self.best)) is not None and self.step:
            self.best = best
            self._write_whole(BEST)
        entry: dict[str, object] = {name: round(value, 6) for name, value in figures.items()}
        if self.best is not None:
            entry["best_step"] = self.best.step
        journal.entry(self.step, {"validation": True, **entry}, "validation/")

    def _save(self, name: str) -> None:
        self._write_state(self.recipe.out / name)
        self._write_whole(self.file)
        if rank() > 0:
            return
        values = yaml.safe_dump(self.recipe.model_dump(mode="json"))
        write_durably(self.recipe.out / RECIPE, lambda fresh: fresh.write_text(values))

    def _write_state(self, path: Path) -> None:
        """Write everything a run needs to resume, in rank 0; every process calls it, as `_write_whole`."""
        self.skips.gather()
        states = gather_objects(random_states(self.device))
        learned = self.learner.state()
        if rank() > 0:
            return
        state = {
            **learned,
            "step": self.step,
            "decayed": self.decayed,
            "crops": self.crops_seen,
            "seconds": self.seconds,
            "warm": tuple(self._warmed_up),
            "best": None if self.best is None else tuple(self.best),
            "nonfinite": self.nonfinite,
            "random": states,
            "recipe": self.recipe.model_dump(mode="json"),
        }
        write_durably(path, lambda fresh: torch.save(state, fresh))

    def _write_whole(self, name: str) -> None:
        with self.learner.whole():
            if rank() == 0:
                self.write_weights(self.recipe.out / name)

    def write_weights(self, path: Path) -> None:
        """Write the floating-point tensors of `_weights` as fp16."""
        half = {
            name: value.half().contiguous().cpu()
            for name, value in self._weights().items()
            if value.is_floating_point()
        }
        # Not `save_file`: a kill would leave its temporary file behind.
        write_durably(path, lambda fresh: fresh.write_bytes(save(half)))

    def _resume(self) -> str | None:
        checkpoint = find_checkpoint(self.recipe, self._share)
        if checkpoint is None:
            return None
        state = checkpoint.state
        self.learner.restore(state)
        self.step, self.crops_seen, self.seconds = state["step"], state["crops"], state["seconds"]
        self.decayed, self.nonfinite = state["decayed"], state["nonfinite"]
        self._warmed_up = Reached(*state["warm"])
        self.best = Best(*state["best"]) if state["best"] else None
        if len(state["random"]) == world_size():
            restore_random(state["random"][rank()], self.device)
        else:
            begin_random([self.recipe.seed, rank(), self.step])
        return checkpoint.message
