"""The model of a command that computes in its own process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lexiseg_model import catalogue
from lexiseg_model.types import ModelCard, Task
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings

if TYPE_CHECKING:
    from lexiseg_model.segmenter import Segmenter


def check_model(settings: Settings, task: Task) -> None:
    """Refuse a model that does not exist or cannot do a task, from its card alone; nothing heavy is imported.

    Raises:
        ModelError: there is no such model, or its card is damaged.
        InvalidValue: it cannot do the task.
    """
    _require_task(catalogue.find(settings.default_model or settings.model, settings.models_dir).card, task)


def load(settings: Settings, task: Task) -> Segmenter:
    """The model that the settings name, able to do a task.

    Raises:
        ModelError: it cannot be loaded.
        InvalidValue: it cannot do the task.
    """
    segmenter = catalogue.load(
        settings.default_model or settings.model,
        models_dir=settings.models_dir,
        device=settings.device,
        precision=settings.precision,
        runtime=settings.runtime,
        text_tower=settings.text_tower,
    )
    _require_task(segmenter.card, task)
    return segmenter


def _require_task(card: ModelCard, task: Task) -> None:
    if task not in card.tasks:
        raise InvalidValue.of("task", task, f"one of {', '.join(card.tasks)} for model {card.name}")


def named_or_folder(settings: Settings, name: str) -> Segmenter:
    """A model by its name, NAME@VERSION, or the path of its directory.

    Raises:
        ModelError: it cannot be loaded.
    """
    if (Path(name) / catalogue.CARD).is_file():
        return catalogue.load_folder(Path(name), settings.device, text_tower=settings.text_tower)
    return catalogue.load(
        name,
        models_dir=settings.models_dir,
        device=settings.device,
        runtime=settings.runtime,
        text_tower=settings.text_tower,
    )
