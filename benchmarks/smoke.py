"""Whether short trainings learn: `python -m benchmarks smoke NAME ... [seeds=3] [key=value ...]`.

untrained  what the recipe starts from
trained    the recipe, with what it stands on trained before it by the same seed
control    the same over captions, masks or views of other photographs (`mismatched=true`): it must not learn

Each is measured by the recipe's own validation, on what is held out. A figure rises where every trained run is better
than every other one, and the means are further apart than both standard deviations together. Since seeds begin with
another CLIP or tower each, it is also said by how much a run is better than the start of its own seed. Runs lie in
`runs/smoke/NAME`; what is there already is neither trained nor measured again. The figures are written to
`runs/smoke/NAME.json`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.clock import print_table
from lexiseg_model.training.recipe import RunRecipe
from lexiseg_model.training.recipes.prerequisites import FINISHED, is_finished, train_whole
from lexiseg_model.training.recipes.read import Planned, read_recipe
from lexiseg_model.training.run import Run

ROOT = Path("runs/smoke")
CONDITIONS = ("untrained", "trained", "control")
SEEDS = 3
BELOW = "_recipe"  # ends the name of a value that says what is trained first; what it writes is named before it
FIGURES = "figures.json"  # what was measured of a run, beside its weights
LESS_IS_BETTER = re.compile(r"(loss|contrast|rank)\b")

Figures = dict[str, dict[str, list[float]]]  # figure -> condition -> one number for each seed


def main(arguments: Sequence[str]) -> None:
    """One table for each recipe that is named."""
    names = [argument for argument in arguments if "=" not in argument]
    overrides = [argument for argument in arguments if "=" in argument]
    seeds = SEEDS
    if numbers := [override for override in overrides if override.startswith("seeds=")]:
        seeds = int(numbers[-1].removeprefix("seeds="))
    overrides = [override for override in overrides if override not in numbers]
    if not names:
        sys.exit("say which recipe, such as clip-smoke")
    for name in names:
        figures = measured(name, seeds, overrides)
        report(name, figures)
        (ROOT / f"{name}.json").write_text(json.dumps(summary(name, overrides, figures), indent=2))


def measured(name: str, seeds: int, overrides: Sequence[str]) -> Figures:
    """All runs of a recipe, one after the other; those that were measured before are read."""
    figures: Figures = {}
    for seed in range(seeds):
        for condition in ("trained", "control"):
            planned = _planned(name, condition, seed, overrides)
            wanted = ("untrained", "trained") if condition == "trained" else ("control",)
            reached = _read(planned.recipe)
            if not set(wanted) <= reached.keys():
                _measure(planned, wanted, reached)
            for each in wanted:
                for figure, value in reached[each].items():
                    figures.setdefault(figure, {one: [] for one in CONDITIONS})[each].append(value)
            print(f"{name}, seed {seed}, {condition}: {reached[condition]}", flush=True)
    return figures


def _measure(planned: Planned, wanted: Sequence[str], reached: dict[str, dict[str, float]]) -> None:
    """Trains, and adds what is wanted to what is reached; ends the program where the run is stopped."""
    recipe = planned.recipe
    if (lack := planned.training.lacks(recipe)) is not None:
        sys.exit(lack)
    print(f"{recipe.out}: {planned.training.start(recipe)}", flush=True)
    _train_below(planned)
    trainer: Run[Any, Any, Any] = planned.training.trainer(recipe)
    for each in wanted:
        if each in reached:
            continue
        if each != "untrained":
            if trainer.train() is None:
                sys.exit(trainer.ending)
            (recipe.out / FINISHED).touch()  # others may stand on it
        reached[each] = trainer.figures()
        kept = {"recipe": recipe.model_dump(mode="json"), "figures": reached}
        recipe.out.mkdir(parents=True, exist_ok=True)
        (recipe.out / FIGURES).write_text(json.dumps(kept))


def _train_below(planned: Planned) -> None:
    """What a recipe stands on, and what that stands on, all by its seed; ends the program where one is stopped."""
    recipe = planned.recipe
    for each in planned.training.below(recipe):
        if not is_finished(each.file):
            first = _planned(each.name, "trained", recipe.seed, [f"data={recipe.data}", f"device={recipe.device}"])
            _train_below(first)
            if ending := train_whole(first):
                sys.exit(ending)


def _read(recipe: RunRecipe) -> dict[str, dict[str, float]]:
    """What was measured of exactly this recipe, by condition."""
    file = recipe.out / FIGURES
    kept = json.loads(file.read_text()) if file.exists() else {}
    reached: dict[str, dict[str, float]] = kept.get("figures", {})
    return reached if kept.get("recipe") == recipe.model_dump(mode="json") else {}


def _planned(name: str, condition: str, seed: int, overrides: Sequence[str]) -> Planned:
    out = ROOT / name / f"{condition}-{seed}"
    own = [f"seed={seed}", f"out={out}", f"mismatched={'true' if condition == 'control' else 'false'}"]
    planned = read_recipe(name, [*overrides, *own])
    return read_recipe(name, [*overrides, *own, *_below(planned, seed)])


def _below(planned: Planned, seed: int) -> list[str]:
    """Where lies what the recipe stands on: the trained run of the same seed."""
    values = planned.recipe.model_dump(mode="json")
    placed = []
    for key, recipe in values.items():
        if key.endswith(BELOW) and recipe is not None:
            file = values[key.removesuffix(BELOW)]
            several = isinstance(file, list)
            path = ROOT / recipe / f"trained-{seed}" / Path(file[0] if several else file).name
            placed.append(f"{key.removesuffix(BELOW)}={f'[{path}]' if several else path}")
    return placed


def better(figure: str, ones: Sequence[float], others: Sequence[float]) -> bool:
    """Whether some runs are better than others beyond the spread of both."""
    sign = -1 if LESS_IS_BETTER.search(figure) else 1
    ones, others = [sign * value for value in ones], [sign * value for value in others]
    return min(ones) > max(others) and mean(ones) - mean(others) > _spread(ones) + _spread(others)


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def report(name: str, figures: Figures) -> None:
    """Means and standard deviations over seeds, and what they say."""
    rows = [
        [
            figure,
            *(f"{mean(by[condition]):.3g} ± {_spread(by[condition]):.2g}" for condition in CONDITIONS),
            *(f"{mean(gained):.2g} ± {_spread(gained):.2g}" for gained in _gains(figure, by).values()),
            *("yes" if said else "no" for said in _verdicts(figure, by).values()),
        ]
        for figure, by in figures.items()
    ]
    n_seeds = len(next(iter(figures.values()))["trained"]) if figures else 0
    head = ["held out", *CONDITIONS, "gain", "control's gain", "rises", "above the control", "control rises"]
    print_table(f"{name}, {n_seeds} seeds", head, rows)


def _verdicts(figure: str, by: dict[str, list[float]]) -> dict[str, bool]:
    untrained, trained, control = (by[condition] for condition in CONDITIONS)
    return {
        "rises": better(figure, trained, untrained),
        "above_control": better(figure, trained, control),
        "control_rises": better(figure, control, untrained),
    }


def _gains(figure: str, by: dict[str, list[float]]) -> dict[str, list[float]]:
    """By how much every run is better than the start of its own seed."""
    sign = -1 if LESS_IS_BETTER.search(figure) else 1
    return {
        f"{condition}_gain": [
            sign * (reached - start) for reached, start in zip(by[condition], by["untrained"], strict=True)
        ]
        for condition in ("trained", "control")
    }


def summary(name: str, overrides: Sequence[str], figures: Figures) -> dict[str, Any]:
    """The same for machines, every run's number beside it."""
    return {
        "recipe": name,
        "overrides": list(overrides),
        "figures": {
            figure: {
                condition: {"mean": mean(values), "spread": _spread(values), "runs": values}
                for condition, values in (by | _gains(figure, by)).items()
            }
            | _verdicts(figure, by)
            for figure, by in figures.items()
        },
    }
