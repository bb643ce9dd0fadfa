"""Whether short trainings learn: `python -m benchmarks smoke NAME ... [seeds=3] [key=value ...]`.

untrained  what the recipe starts from
trained    the recipe, with what it stands on trained before it by the same seed
control    the same over captions, masks or views of other photographs (`mismatched=true`): it must not learn

Each is measured by the recipe's own validation, on what is held out. A figure rises where every trained run is better
than every other one, and the means are further apart than both standard deviations together. Runs lie in
`runs/smoke/NAME`; what is there already is not trained again. The figures are written to `runs/smoke/NAME.json`.
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
from lexiseg_model.training.recipes.read import Planned, read_recipe
from lexiseg_model.training.run import Run

ROOT = Path("runs/smoke")
CONDITIONS = ("untrained", "trained", "control")
SEEDS = 3
BELOW = "_recipe"  # ends the name of a value that says what is trained first; what it writes is named before it
FIGURES = "figures.json"  # of a run that is at its end, beside its weights
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
    """All runs of a recipe, one after the other."""
    figures: Figures = {}

    def keep(condition: str, reached: dict[str, float]) -> None:
        for figure, value in reached.items():
            figures.setdefault(figure, {each: [] for each in CONDITIONS})[condition].append(value)

    for seed in range(seeds):
        for condition in ("trained", "control"):
            trainer = _trainer(name, condition, seed, overrides)
            if condition == "trained":
                keep("untrained", trainer.figures())
            if trainer.train() is None:
                sys.exit(trainer.ending)
            reached = trainer.figures()
            keep(condition, reached)
            (trainer.recipe.out / FIGURES).write_text(json.dumps(reached))
            print(f"{name}, seed {seed}, {condition}: {reached}", flush=True)
    return figures


def _trainer(name: str, condition: str, seed: int, overrides: Sequence[str]) -> Run[Any, Any, Any]:
    out = ROOT / name / f"{condition}-{seed}"
    own = [f"seed={seed}", f"out={out}", f"mismatched={'true' if condition == 'control' else 'false'}"]
    planned = read_recipe(name, [*overrides, *own])
    planned = read_recipe(name, [*overrides, *own, *_below(planned, seed)])
    if (lack := planned.training.lacks(planned.recipe)) is not None:
        sys.exit(lack)
    print(f"{name}, seed {seed}, {condition}: {planned.training.start(planned.recipe)}", flush=True)
    trainer: Run[Any, Any, Any] = planned.training.trainer(planned.recipe)
    return trainer


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
            if (path.parent / FIGURES).exists():  # it was measured here: it is at its end
                placed.append(f"{key}=null")
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
            *("yes" if said else "no" for said in _verdicts(figure, by).values()),
        ]
        for figure, by in figures.items()
    ]
    n_seeds = len(next(iter(figures.values()))["trained"]) if figures else 0
    head = ["held out", *CONDITIONS, "rises", "above the control", "control rises"]
    print_table(f"{name}, {n_seeds} seeds", head, rows)


def _verdicts(figure: str, by: dict[str, list[float]]) -> dict[str, bool]:
    untrained, trained, control = (by[condition] for condition in CONDITIONS)
    return {
        "rises": better(figure, trained, untrained),
        "above_control": better(figure, trained, control),
        "control_rises": better(figure, control, untrained),
    }


def summary(name: str, overrides: Sequence[str], figures: Figures) -> dict[str, Any]:
    """The same for machines, every run's number beside it."""
    return {
        "recipe": name,
        "overrides": list(overrides),
        "figures": {
            figure: {
                condition: {"mean": mean(values), "spread": _spread(values), "runs": values}
                for condition, values in by.items()
            }
            | _verdicts(figure, by)
            for figure, by in figures.items()
        },
    }
