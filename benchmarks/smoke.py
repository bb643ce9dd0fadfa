"""Check that short training runs learn: `python -m benchmarks smoke NAME ... [seeds=3] [key=value ...]`.

untrained  the recipe's initial weights
trained    the recipe, after its prerequisites with the same seed
control    the recipe with captions, masks or views of other images (`mismatched=true`): it must not learn

Each run is evaluated on the recipe's validation data. A figure improves if every trained run is better than every other
run and the means differ by more than the sum of both standard deviations. Initial weights depend on the seed, so the
gain over each seed's own start is also reported. Runs are stored in `runs/smoke/NAME` and reused; figures in
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

from benchmarks.timing import print_table
from lexiseg_train.training.recipe import RunRecipe
from lexiseg_train.training.recipes.prerequisites import FINISHED, is_finished, train_and_publish
from lexiseg_train.training.recipes.read import Planned, read_recipe
from lexiseg_train.training.run import Run

ROOT = Path("runs/smoke")
CONDITIONS = ("untrained", "trained", "control")
SEEDS = 3
PREREQUISITE = "_recipe"  # suffix of a recipe field: X_recipe names the recipe that writes file X
FIGURES = "figures.json"  # a run's figures, next to its weights
LESS_IS_BETTER = re.compile(r"(loss|contrast|rank)\b")

Figures = dict[str, dict[str, list[float]]]  # figure -> condition -> value per seed


def main(arguments: Sequence[str]) -> None:
    """Print one table per recipe."""
    names = [argument for argument in arguments if "=" not in argument]
    overrides = [argument for argument in arguments if "=" in argument]
    seeds = SEEDS
    if seed_options := [override for override in overrides if override.startswith("seeds=")]:
        seeds = int(seed_options[-1].removeprefix("seeds="))
    overrides = [override for override in overrides if override not in seed_options]
    if not names:
        sys.exit("expected a recipe, such as clip-smoke")
    for name in names:
        figures = measured(name, seeds, overrides)
        report(name, figures)
        (ROOT / f"{name}.json").write_text(json.dumps(summary(name, overrides, figures), indent=2))


def measured(name: str, seeds: int, overrides: Sequence[str]) -> Figures:
    """Train and evaluate all runs of a recipe; results of earlier runs are reused."""
    figures: Figures = {}
    for seed in range(seeds):
        for condition in ("trained", "control"):
            planned = _planned(name, condition, seed, overrides)
            wanted = ("untrained", "trained") if condition == "trained" else ("control",)
            results = _read(planned.recipe)
            if not set(wanted) <= results.keys():
                _measure(planned, wanted, results)
            for key in wanted:
                for figure, value in results[key].items():
                    figures.setdefault(figure, {label: [] for label in CONDITIONS})[key].append(value)
            print(f"{name}, seed {seed}, {condition}: {results[condition]}", flush=True)
    return figures


def _measure(planned: Planned, wanted: Sequence[str], results: dict[str, dict[str, float]]) -> None:
    """Train a run and add its figures to `results`; exits if training is interrupted."""
    recipe = planned.recipe
    if (missing := planned.training.lacks(recipe)) is not None:
        sys.exit(missing)
    print(f"{recipe.out}: {planned.training.start(recipe)}", flush=True)
    _train_prerequisites(planned)
    trainer: Run[Any, Any, Any] = planned.training.trainer(recipe)
    for condition in wanted:
        if condition in results:
            continue
        if condition != "untrained":
            if trainer.train() is None:
                sys.exit(trainer.ending)
            (recipe.out / FINISHED).touch()  # may be a prerequisite of others
        results[condition] = trainer.figures()
        record = {"recipe": recipe.model_dump(mode="json"), "figures": results}
        recipe.out.mkdir(parents=True, exist_ok=True)
        (recipe.out / FIGURES).write_text(json.dumps(record))


def _train_prerequisites(planned: Planned) -> None:
    """Train a recipe's prerequisites recursively with the same seed; exits if training is interrupted."""
    recipe = planned.recipe
    for prerequisite in planned.training.prerequisites(recipe):
        if not is_finished(prerequisite.file):
            overrides = [f"data={recipe.data}", f"device={recipe.device}"]
            first = _planned(prerequisite.name, "trained", recipe.seed, overrides)
            _train_prerequisites(first)
            if ending := train_and_publish(first):
                sys.exit(ending)


def _read(recipe: RunRecipe) -> dict[str, dict[str, float]]:
    """Stored figures by condition; empty if they are of another recipe or none exist."""
    file = recipe.out / FIGURES
    record = json.loads(file.read_text()) if file.exists() else {}
    results: dict[str, dict[str, float]] = record.get("figures", {})
    return results if record.get("recipe") == recipe.model_dump(mode="json") else {}


def _planned(name: str, condition: str, seed: int, overrides: Sequence[str]) -> Planned:
    out = ROOT / name / f"{condition}-{seed}"
    run = [f"seed={seed}", f"out={out}", f"mismatched={'true' if condition == 'control' else 'false'}"]
    planned = read_recipe(name, [*overrides, *run])
    return read_recipe(name, [*overrides, *run, *_prerequisite_files(planned, seed)])


def _prerequisite_files(planned: Planned, seed: int) -> list[str]:
    """Overrides that point a recipe to its prerequisites' files of the same seed."""
    values = planned.recipe.model_dump(mode="json")
    overrides = []
    for key, recipe in values.items():
        if key.endswith(PREREQUISITE) and recipe is not None:
            file = values[key.removesuffix(PREREQUISITE)]
            is_list = isinstance(file, list)
            path = ROOT / recipe / f"trained-{seed}" / Path(file[0] if is_list else file).name
            overrides.append(f"{key.removesuffix(PREREQUISITE)}={f'[{path}]' if is_list else path}")
    return overrides


def is_better(figure: str, values: Sequence[float], others: Sequence[float]) -> bool:
    """Whether all values are better than all others, and the means differ by more than both deviations together."""
    sign = -1 if LESS_IS_BETTER.search(figure) else 1
    values, others = [sign * value for value in values], [sign * value for value in others]
    return min(values) > max(others) and mean(values) - mean(others) > _deviation(values) + _deviation(others)


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def report(name: str, figures: Figures) -> None:
    """Print means and standard deviations over seeds, and the verdicts."""
    rows = [
        [
            figure,
            *(f"{mean(by[condition]):.3g} ± {_deviation(by[condition]):.2g}" for condition in CONDITIONS),
            *(f"{mean(gains):.2g} ± {_deviation(gains):.2g}" for gains in _gains(figure, by).values()),
            *("yes" if holds else "no" for holds in _verdicts(figure, by).values()),
        ]
        for figure, by in figures.items()
    ]
    n_seeds = len(next(iter(figures.values()))["trained"]) if figures else 0
    head = ["held out", *CONDITIONS, "gain", "control's gain", "rises", "above the control", "control rises"]
    print_table(f"{name}, {n_seeds} seeds", head, rows)


def _verdicts(figure: str, by: dict[str, list[float]]) -> dict[str, bool]:
    untrained, trained, control = (by[condition] for condition in CONDITIONS)
    return {
        "rises": is_better(figure, trained, untrained),
        "above_control": is_better(figure, trained, control),
        "control_rises": is_better(figure, control, untrained),
    }


def _gains(figure: str, by: dict[str, list[float]]) -> dict[str, list[float]]:
    """Each run's gain over the untrained run of its seed."""
    sign = -1 if LESS_IS_BETTER.search(figure) else 1
    return {
        f"{condition}_gain": [
            sign * (value - start) for value, start in zip(by[condition], by["untrained"], strict=True)
        ]
        for condition in ("trained", "control")
    }


def summary(name: str, overrides: Sequence[str], figures: Figures) -> dict[str, Any]:
    """The report as JSON, with every run's value."""
    return {
        "recipe": name,
        "overrides": list(overrides),
        "figures": {
            figure: {
                condition: {"mean": mean(values), "spread": _deviation(values), "runs": values}
                for condition, values in (by | _gains(figure, by)).items()
            }
            | _verdicts(figure, by)
            for figure, by in figures.items()
        },
    }
