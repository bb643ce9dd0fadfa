"""Every setting of a recipe with what it says, and the one that a wrong name means. Free of torch."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from operator import attrgetter
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from lexiseg_train.training.recipe import RunRecipe

MIN_WORD = 4  # letters of a word that two names share
# What other trainings call a setting.
ELSEWHERE = {
    "lr": "learning_rate", "base_lr": "learning_rate", "min_lr": "last_rate", "wd": "weight_decay",
    "batch": "phases.0.global_batch", "batch_size": "phases.0.global_batch", "bs": "phases.0.global_batch",
    "accumulation": "micro_batch", "accumulate": "micro_batch", "accum_freq": "micro_batch",
    "gradient_accumulation_steps": "micro_batch", "micro_batch_size": "micro_batch",
    "image_size": "phases.0.crop", "img_size": "phases.0.crop", "resolution": "phases.0.crop",
    "max_steps": "steps", "iterations": "steps", "iters": "steps", "max_epochs": "epochs", "num_epochs": "epochs",
    "warmup": "warmup_steps", "amp": "precision", "fp16": "precision", "bf16": "precision", "dtype": "precision",
    "clip_grad": "largest_gradient", "grad_clip": "largest_gradient", "max_grad_norm": "largest_gradient",
    "ema": "average_decay", "eps": "epsilon", "num_workers": "workers", "fsdp": "sharding",
    "gradient_checkpointing": "recompute", "output": "out", "output_dir": "out", "root": "data", "data_dir": "data",
    "eval_steps": "validate_steps", "save_steps": "checkpoint_steps", "metric": "best_by",
}  # fmt: skip


class Setting(NamedTuple):
    """One setting by its dotted name, as an override has it."""

    name: str
    value: Any
    line: str  # what it says


def settings(recipe: RunRecipe) -> Iterator[Setting]:
    """All settings of a recipe, in the order of their classes; of phases only the first."""
    for name, line in lines_of(type(recipe)).items():
        value: Any = recipe
        for part in name.split("."):
            value = value[int(part)] if part.isdigit() else attrgetter(part)(value)
        yield Setting(name, to_jsonable_python(value), line)


def lines_of(kind: type, prefix: str = "") -> dict[str, str]:
    """What each setting of a class says, by dotted name; without a line of its own that of its class."""
    about = (inspect.getdoc(kind) or "").partition("\n")[0]
    lines: dict[str, str] = {}
    for name, annotation, description in _fields(kind):
        inner, index = _settings_in(annotation)
        if inner is None:
            lines[prefix + name] = description or about
        else:
            lines |= lines_of(inner, f"{prefix}{name}{index}.")
    return lines


def nearest(key: str, kind: type) -> str | None:
    """The setting that a wrong dotted name means: one inside another, of another program, misspelt, or of its words."""
    names = list(lines_of(kind))
    parent, _, last = key.rpartition(".")
    by_last = {name.rpartition(".")[2]: name for name in reversed(names)}
    beside = {name.rpartition(".")[2]: name for name in names if name.rpartition(".")[0] == parent}
    if last in by_last:
        return by_last[last]
    if ELSEWHERE.get(last.lower()) in names:
        return ELSEWHERE[last.lower()]
    for known, cutoff in ((beside, 0.7), (by_last, 0.75)):
        if alike := get_close_matches(last, known, n=1, cutoff=cutoff):
            return known[alike[0]]
    return _of_same_words(last, by_last)


def _of_same_words(last: str, by_last: Mapping[str, str]) -> str | None:
    words = {word for word in last.lower().split("_") if len(word) >= MIN_WORD}
    shared = {name: len(words & set(name.split("_"))) for name in by_last}
    best = max(shared, key=lambda name: shared[name], default=None)
    return by_last[best] if best is not None and shared[best] else None


def _fields(kind: type) -> Iterator[tuple[str, Any, str]]:
    """Name, annotation and description of each field of a pydantic model or a dataclass."""
    if issubclass(kind, BaseModel):
        for name, info in kind.model_fields.items():
            bases = [each.model_fields for each in kind.__mro__ if issubclass(each, BaseModel)]
            described = (fields[name].description for fields in bases if name in fields)
            yield name, info.annotation, next(filter(None, described), "")  # a subclass may change only the default
    elif dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        for field in dataclasses.fields(kind):
            yield field.name, hints[field.name], ""


def _settings_in(annotation: Any) -> tuple[type | None, str]:
    """The class of settings inside settings, and what its place adds to a name; None for a plain value."""
    if get_origin(annotation) is list:
        inner = get_args(annotation)[0]
        return (inner, ".0") if _is_settings(inner) else (None, "")
    if get_origin(annotation) in (dict, tuple):
        return None, ""
    return next((each for each in (annotation, *get_args(annotation)) if _is_settings(each)), None), ""


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind))
