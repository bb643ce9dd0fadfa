"""TensorBoard, MLflow and Weights & Biases, where they are installed and a recipe names them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.recipe import RunRecipe, Tracker

Image = NDArray[np.uint8]


class Tracking(Protocol):
    """What each of them is told."""

    def figures(self, step: int, figures: Mapping[str, float]) -> None: ...

    def picture(self, step: int, name: str, image: Image) -> None:
        """`image` is RGB [H, W, 3]."""

    def close(self) -> None: ...


class _TensorBoard:
    def __init__(self, module: ModuleType, recipe: RunRecipe, step: int) -> None:
        # purge_step: a run that goes on from an earlier step than it had reached draws no line twice.
        self._writer = module.SummaryWriter(str(recipe.out / "tensorboard"), purge_step=step + 1)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, image: Image) -> None:
        self._writer.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    """One run of theirs for one folder: its id is kept there."""

    def __init__(self, module: ModuleType, recipe: RunRecipe, step: int) -> None:
        self._mlflow = module
        kept = recipe.out / "mlflow-run.txt"
        if kept.exists():
            module.start_run(run_id=kept.read_text().strip())
        else:
            kept.write_text(module.start_run(run_name=recipe.out.name).info.run_id)
            values = {name: str(value)[:500] for name, value in recipe.model_dump(mode="json").items()}
            module.log_params(values)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(figures), step=step)

    def picture(self, step: int, name: str, image: Image) -> None:
        self._mlflow.log_image(image, f"samples/{step:08}-{name}.png")

    def close(self) -> None:
        self._mlflow.end_run()


class _Wandb:
    def __init__(self, module: ModuleType, recipe: RunRecipe, step: int) -> None:
        self._wandb = module
        name = recipe.out.resolve().as_posix().replace("/", "-").strip("-")[-64:]
        values = recipe.model_dump(mode="json")
        self._run: Any = module.init(
            project="lexiseg", name=recipe.out.name, id=name, resume="allow", dir=str(recipe.out), config=values
        )

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def picture(self, step: int, name: str, image: Image) -> None:
        self._run.log({name: self._wandb.Image(image)}, step=step)

    def close(self) -> None:
        self._run.finish()


_MADE_BY: dict[Tracker, tuple[str, Callable[[ModuleType, RunRecipe, int], Tracking]]] = {
    "tensorboard": ("torch.utils.tensorboard", _TensorBoard),
    "mlflow": ("mlflow", _MLflow),
    "wandb": ("wandb", _Wandb),
}


def tracker(name: Tracker, recipe: RunRecipe, step: int) -> Tracking:
    """Starts one, for a run that goes on from `step`.

    Raises:
        RecipeError: it is not installed.
    """
    module, made_by = _MADE_BY[name]
    try:
        loaded = importlib.import_module(module)
    except ImportError:
        raise RecipeError(f"trackers: {name} is not installed; pip install {name}") from None
    return made_by(loaded, recipe, step)


def numbers(entry: Mapping[str, object]) -> dict[str, float]:
    """The figures of a line of the journal."""
    return {
        name: float(value)
        for name, value in entry.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }
