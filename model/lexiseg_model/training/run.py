"""A training run, whatever it trains: steps, averaged weights, checkpoints, a journal; resumable at any step.

    train:  begin or resume -> step, step, ... -> weights
    step:   batches -> losses -> gradients (of all processes) -> finite? -> weights -> moving average
    then:   a line of the journal, validation, checkpoint, each when it is due

What decides a step is its number, the recipe and the checkpoint before it. Batches come by number (`Stream`), random
states are kept, so a run that was killed ends where one that was not ends, bit by bit on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import yaml
from safetensors.torch import save
from torch import nn

from lexiseg_model.errors import TrainingError
from lexiseg_model.training.checkpoints.checkpoint import begin_random, random_states, restore_random, write_whole
from lexiseg_model.training.checkpoints.same import CHECKPOINT, RECIPE
from lexiseg_model.training.gather import rank, world_size
from lexiseg_model.training.hooks import Hooks
from lexiseg_model.training.journal.best import Best, better
from lexiseg_model.training.journal.journal import Journal
from lexiseg_model.training.journal.pace import Pace
from lexiseg_model.training.journal.skipped import SKIPPED, SharedSkips
from lexiseg_model.training.processes.group import everyones, join, largest, mean
from lexiseg_model.training.processes.stops import Stops
from lexiseg_model.training.recipe import Phase, RunRecipe
from lexiseg_model.training.resuming import PLATEAU, find_checkpoint
from lexiseg_model.training.steps.learner import Learner
from lexiseg_model.training.steps.schedule import Budget, Reached, Schedule
from lexiseg_model.training.stream import loader

BEST = "best.safetensors"
NONFINITE = "nonfinite"  # folder of batches without a finite loss

Recipe = TypeVar("Recipe", bound=RunRecipe)
Batch = TypeVar("Batch")
Network = TypeVar("Network", bound=nn.Module)


class Run(Hooks[Network, Batch], Generic[Recipe, Network, Batch]):
    """One run of a recipe. `train()` continues from the newest checkpoint in `recipe.out`."""

    file = "weights.safetensors"  # what the weights are called in `recipe.out`

    def __init__(self, recipe: Recipe, network: Network) -> None:
        self.recipe = recipe
        self.device = join(recipe.device)
        self.learner = Learner(recipe, network, self._kept, self.device)
        self.network: Network = self.learner.network
        self.average = self.learner.average
        self.dtype = self.learner.dtype
        self.optimizer = self.learner.optimizer
        self.schedule = Schedule(recipe)
        self.skips = SharedSkips(recipe.out / SKIPPED)
        self.step = 0
        self.crops_seen = 0  # by all processes
        self.seconds = 0.0
        self.nonfinite = 0  # steps that were not applied
        self.best: Best | None = None
        self.ending = ""  # why `train` gave no weights, for whoever looks on
        self.decayed = False  # whether the rate has begun to fall
        self._warm = Reached()  # when warm-up ended

    @property
    def progress(self) -> float:
        """Share of the run that is done."""
        return self._budget.share(Reached(self.step, self.crops_seen, self.seconds))

    @property
    def expected_steps(self) -> int:
        """Of the whole run; with a budget in examples or minutes, by its pace so far."""
        if self.recipe.steps is not None:
            return self.recipe.steps
        return max(self.step + 1, round(self.step / max(1e-9, self.progress)))

    def train(self) -> Path | None:
        """Trains until the recipe's budget is used; returns the path of the averaged fp16 weights.

        None where it stopped before, or on another process than the first; `ending` says why. Called again, it goes on.

        Raises:
            RecipeError: the checkpoint in `recipe.out` was made by another recipe, or by processes that made a step of
            more or fewer batches; or validation gives no figure `best_by`.
            TrainingError: losses are not finite.
        """
        self.recipe.out.mkdir(parents=True, exist_ok=True)
        with Stops() as stops, Journal(self.recipe, rank() == 0) as journal:
            begin_random([self.recipe.seed, rank()])
            told = self._resume()
            if told is None:
                self.learner.share()
            journal.go_on(self.step)
            if told is not None:
                journal.say(told)
            elif self.recipe.best_by is not None:
                self._measure_start(journal, self.recipe.best_by)
            ending = self._go(stops, journal)
            self._save(CHECKPOINT)
        if ending or rank() > 0:
            self.ending = ending if rank() == 0 else ""
            return None
        return self.recipe.out / self.file

    def _go(self, stops: Stops, journal: Journal) -> str:
        """All steps that are left; returns why there are more, or nothing."""
        recipe = self.recipe
        pace = Pace(self.crops_seen, self.progress)
        began = saved = clock = time.monotonic()
        logged: list[float] = []
        first = True
        while self.progress < 1:
            phase = self._phase()
            begun = self.step
            batches = iter(loader(self._batches(phase), recipe.workers, self._numbers()))
            while self.progress < 1 and self._phase() == phase:
                if self._decaying and not self.decayed:
                    self._save(PLATEAU)
                    self.decayed = True
                drawn = self._drawn(batches, stops)
                if drawn is None:
                    return f"{stops.by} at step {self.step}; start it again to go on"
                if not drawn and self.step == begun:
                    raise TrainingError("the data of this run gave no batch")
                if not drawn:
                    break
                logged.append(self._step(*drawn))
                now = time.monotonic()
                # One clock for all processes: they must agree on what comes next.
                self.seconds, sliced, asked, late = largest(
                    [self.seconds + now - clock, now - began, float(stops.asked), now - saved], self.device
                )
                clock = now
                if self.step == recipe.warmup_steps:
                    self._warm = Reached(self.step, self.crops_seen, self.seconds)
                pace.step(self.crops_seen, self.progress)
                journal.move(self.step, self.progress, logged[-1], pace)
                if first or self.step % recipe.log_steps == 0:
                    journal.entry(self.step, self._line(logged, phase, pace), "train/")
                    logged.clear()
                    first = False
                if recipe.validate_steps and (self.step % recipe.validate_steps == 0 or self.progress >= 1):
                    self._validated(journal)
                if asked:
                    return f"{stops.by or 'a signal'} at step {self.step}; start it again to go on"
                if recipe.slice_minutes is not None and sliced > 60 * recipe.slice_minutes and self.progress < 1:
                    return f"{recipe.slice_minutes:g} minutes are over at step {self.step}; start it again to go on"
                by_steps = recipe.checkpoint_steps and self.step % recipe.checkpoint_steps == 0
                if by_steps or late > 60 * recipe.checkpoint_minutes:
                    self._save(CHECKPOINT)
                    saved = now
            del batches  # its workers end
        return ""

    def _phase(self) -> Phase:
        """The last phase that has begun."""
        return [phase for phase in self.recipe.phases if phase.after <= self.progress][-1]

    def _numbers(self) -> Iterator[int]:
        """Of the batches that this process takes from here on."""
        return count(self.step * self.recipe.accumulation * world_size() + rank(), world_size())

    def _drawn(self, batches: Iterator[Batch], stops: Stops) -> list[Batch] | None:
        """The batches of one step; none where the stream ended, None where the run is to stop."""
        try:
            return [next(batches) for _ in range(self.recipe.accumulation)]
        except StopIteration:
            return []
        except RuntimeError as error:
            # A signal to all processes of a run takes its workers away before it is heard here.
            if world_size() == 1 and "DataLoader worker" in str(error) and stops.asked_soon():
                return None
            raise

    def _step(self, batch: Batch, *more: Batch) -> float:
        """One step of the optimiser by the mean gradient of the batches; returns the mean loss."""
        self.learner.begin(self._learning_rate())
        seen = self._examples_a_step()
        self._mode()
        parts = (batch, *more)
        loss = math.fsum(self.learner.backward(self._loss(part) / len(parts)) for part in parts)
        self.step += 1
        self.crops_seen += seen
        if self.learner.apply(loss, self.step):
            self.nonfinite = 0
        else:
            self._keep_nonfinite(parts)
        return loss

    def _keep_nonfinite(self, batches: tuple[Batch, ...]) -> None:
        """Keeps what made a step impossible, to be looked at; after too many in a row the run ends.

        Raises:
            TrainingError: it does.
        """
        self.nonfinite += 1
        folder = self.recipe.out / NONFINITE
        folder.mkdir(exist_ok=True)
        path = folder / f"step-{self.step - 1}-rank-{rank()}.pt"
        torch.save(list(batches), path)
        if self.nonfinite == 1:
            self._write_state(folder / f"before-{self.step - 1}.pt")
        if self.nonfinite >= self.recipe.nonfinite_limit:
            raise TrainingError(
                f"{self.nonfinite} steps in a row, the last of them {self.step - 1}, had no finite loss and gradient; "
                f"{folder} holds their batches, and the state before them"
            )

    def autocast(self) -> torch.autocast:
        """In its block products are of the run's number type."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _examples_a_step(self) -> int:
        return self._phase().batch * self.recipe.accumulation * world_size()

    def _line(self, losses: list[float], phase: Phase, pace: Pace) -> dict[str, Any]:
        """What the journal says of the steps since it last did; a mean over processes."""
        self.skips.gather()
        finite = [loss for loss in losses if math.isfinite(loss)]
        left = pace.seconds_left
        return {
            "decayed": self.decayed,
            "crops": self.crops_seen,
            "minutes": round(self.seconds / 60, 1),
            "loss": round(mean(sum(finite) / max(1, len(finite)), self.device), 4),
            "learning_rate": round(self._learning_rate(), 7),
            "crop": phase.crop,
            "examples_per_second": round(pace.examples_per_second, 2),
            "minutes_left": None if left is None else round(left / 60, 1),
            **({"nonfinite": len(losses) - len(finite)} if len(finite) < len(losses) else {}),
        } | self._told()

    def _learning_rate(self) -> float:
        recipe = self.recipe
        peak = recipe.learning_rate * (self._examples_a_step() / recipe.rate_batch if recipe.rate_batch else 1)
        return peak * self.schedule.factor(self.step, self.progress, self._budget.share(self._warm))

    @cached_property
    def _budget(self) -> Budget:
        return Budget.of(self.recipe, self._examples())

    @property
    def _decaying(self) -> bool:
        share = self.schedule.decay_share
        return share > 0 and self.progress >= 1 - share - 1e-9

    def figures(self) -> dict[str, float]:
        """What validation says of the averaged weights as they are now: before `train`, of the start."""
        with self.learner.as_average():
            return self._validate()

    def _measure_start(self, journal: Journal, by: str) -> None:
        """What validation says before the first step: a figure that it does not give costs no run.

        Raises:
            RecipeError: the figure that is to choose is none of the validation's.
        """
        figures = self.figures()
        better(by, 0, figures, None)
        self._tell_figures(journal, figures)

    def _validated(self, journal: Journal) -> None:
        """Validates; keeps the averaged weights if they are the best so far.

        Raises:
            RecipeError: the figure that is to choose is none of the validation's.
        """
        with self.learner.as_average():
            figures = self._validate()
            pictures = self._samples()
        journal.pictures(self.step, pictures)
        by = self.recipe.best_by
        if by is not None and (best := better(by, self.step, figures, self.best)) is not None:
            self.best = best
            if rank() == 0:
                self._write_weights(self.recipe.out / BEST)
        self._tell_figures(journal, figures)

    def _tell_figures(self, journal: Journal, figures: dict[str, float]) -> None:
        told: dict[str, object] = {name: round(value, 6) for name, value in figures.items()}
        if self.best is not None:
            told["best_step"] = self.best.step
        journal.entry(self.step, {"validation": True, **told}, "validation/")

    def _save(self, name: str) -> None:
        self._write_state(self.recipe.out / name)
        if rank() > 0:
            return
        self._write_weights(self.recipe.out / self.file)
        values = yaml.safe_dump(self.recipe.model_dump(mode="json"))
        write_whole(self.recipe.out / RECIPE, lambda fresh: fresh.write_text(values))

    def _write_state(self, path: Path) -> None:
        """Writes all that a run needs to go on, from the first process; every process is to call it."""
        self.skips.gather()
        drawn = everyones(random_states(self.device))
        if rank() > 0:
            return
        state = {
            **self.learner.state(),
            "step": self.step,
            "decayed": self.decayed,
            "crops": self.crops_seen,
            "seconds": self.seconds,
            "warm": tuple(self._warm),
            "best": None if self.best is None else tuple(self.best),
            "nonfinite": self.nonfinite,
            "random": drawn,
            "recipe": self.recipe.model_dump(mode="json"),
            "own": self._state(),
        }
        write_whole(path, lambda fresh: torch.save(state, fresh))

    def _write_weights(self, path: Path) -> None:
        half = {
            name: value.half().contiguous().cpu()
            for name, value in self._weights().items()
            if value.is_floating_point()
        }
        # Not `save_file`, which writes to a name of its own first: a kill would leave that behind.
        write_whole(path, lambda fresh: fresh.write_bytes(save(half)))

    def _resume(self) -> str | None:
        """Goes on from a checkpoint, if there is one; returns what is to be said of it."""
        checkpoint = find_checkpoint(self.recipe, self._budget, self.device)
        if checkpoint is None:
            return None
        state = checkpoint.state
        self.learner.restore(state)
        self.step, self.crops_seen, self.seconds = state["step"], state["crops"], state["seconds"]
        self.decayed = state["decayed"]
        # Checkpoints of 0.1 have neither recipe nor random states.
        self._warm = Reached(*state.get("warm", (min(self.step, self.recipe.warmup_steps),)))
        self.best = Best(*state["best"]) if state.get("best") else None
        self.nonfinite = state.get("nonfinite", 0)
        drawn = state.get("random", [])
        if len(drawn) == world_size():
            restore_random(drawn[rank()], self.device)
        else:
            begin_random([self.recipe.seed, rank(), self.step])
        self._restore(state.get("own", {}))
        return checkpoint.told
