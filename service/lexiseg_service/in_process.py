"""The model and the vocabularies of a command that computes in its own process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.model_name import ModelName
from lexiseg_model.types import Task, Vocabulary
from lexiseg_service.errors import InvalidValue, SwitchedOff
from lexiseg_service.gateway.heads.collection import Heads, open_heads
from lexiseg_service.gateway.heads.head import NamedHead
from lexiseg_service.gateway.use_case import HEADS_ARE_OFF, named_vocabulary
from lexiseg_service.gateway.vocabularies.collection import open_vocabularies
from lexiseg_service.question.classes import resolve
from lexiseg_service.question.schemas import Question
from lexiseg_service.records.documents import run_with
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

if TYPE_CHECKING:  # imports torch
    from lexiseg_model.segmenter import Segmenter


def check_model(settings: Settings, task: Task) -> None:
    """Refuse a model that is not there or cannot do a task, by its card; torch is not imported."""
    card = catalogue.find(settings.first_model, settings.models_dir).card
    if task not in card.tasks:
        raise InvalidValue.of("task", task, f"one of {', '.join(card.tasks)} for model {card.name}")


def load(settings: Settings, task: Task) -> Segmenter:
    """Load the model of the settings, which can do a task; its card is checked before torch is imported."""
    check_model(settings, task)
    from lexiseg_service.worker.models import served  # imports torch

    return served.load(settings.first_model, settings)


def load_exact(settings: Settings) -> Segmenter:
    """Load the model of the settings on the CPU, in float32. Raises ModelError: it cannot be loaded."""
    return catalogue.load(
        settings.model, models_dir=settings.models_dir, device="cpu", precision="exact", text_tower=settings.text_tower
    )


def is_folder(name: str) -> bool:
    """Whether a model is named by the path of its directory."""
    return (Path(name) / catalogue.CARD).is_file()


def check_named(settings: Settings, *names: str) -> None:
    """Refuse models that are not there, each NAME, NAME@VERSION or a directory, before one is loaded."""
    for name in names:
        if not is_folder(name):
            catalogue.require(name, settings.models_dir, settings.text_tower)


def named_or_folder(settings: Settings, name: str) -> Segmenter:
    """Load a model by NAME, NAME@VERSION or the path of its directory. Raises ModelError: it cannot be loaded."""
    if is_folder(name):
        return catalogue.load_folder(
            Path(name), settings.device, text_tower=settings.text_tower, runtime=settings.runtime
        )
    return catalogue.load(
        name,
        models_dir=settings.models_dir,
        device=settings.device,
        runtime=settings.runtime,
        text_tower=settings.text_tower,
    )


def heads_of(settings: Settings) -> Heads:
    """The heads of this installation. Raises SwitchedOff: nothing of pictures is kept."""
    if (heads := open_heads(settings, Metrics())) is None:
        raise SwitchedOff(HEADS_ARE_OFF)
    return heads


def head_of(question: Question, settings: Settings) -> NamedHead | None:
    """The head that a question names, as this installation keeps it; None if it names none."""
    if (name := question.head) is None:
        return None
    heads = heads_of(settings)
    head = run_with(heads.store, heads.taught(name, ""))
    card = catalogue.find(settings.first_model, settings.models_dir).card
    if not ModelName.parse(head.model).fits(card):
        raise InvalidValue.of("model", str(ModelName.from_card(card)), f"{head.model}, on which the head was taught")
    return head


def resolved(question: Question, settings: Settings, *, words_alone: bool = False) -> Vocabulary:
    """The vocabulary of a question, its own or a named one; `words_alone`: a list with examples is refused."""
    named = None
    if question.vocabulary:
        vocabularies = open_vocabularies(settings, Metrics())
        named = run_with(vocabularies.store, named_vocabulary(question, vocabularies))
        if words_alone and named is not None and named.examples:
            expected = "a list of words alone; `lexiseg segment` and POST /v1/jobs take examples in pictures"
            raise InvalidValue.of("vocabulary", question.vocabulary, expected)
    return resolve(question, settings.limits, None if named is None else named.vocabulary)
