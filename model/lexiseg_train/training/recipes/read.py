"""Find recipes by name, read them from YAML with overrides on top, validate and list their settings. Free of torch.

An override `loss.area=0.3` changes one nested value, `sets={mine: 1}` replaces all sets.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lexiseg_model.catalogue.method import Method, folders_of, methods
from lexiseg_model.errors import RecipeError
from lexiseg_train.training.recipe import RunRecipe, with_budget
from lexiseg_train.training.recipes.training import Training

FOLDER = "recipes"  # of a training
DATA = "data"  # a folder of sets, or `{folder, licence}`
RECIPE = "recipe"  # key that names the recipe below
EXAMPLE = "such as steps=30 or loss.area=0.3"  # of an override


class RecipeFile(NamedTuple):
    name: str
    path: Path
    method: Method

    @property
    def summary(self) -> str:
        """First sentence of the comment that the file begins with."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        comment = " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
        return comment.partition(". ")[0].rstrip(".:")


class Planned(NamedTuple):
    """A recipe with all its values, and how it is trained; `name` is the recipe's or the file's."""

    name: str
    training: Training[Any]
    recipe: RunRecipe


def recipes() -> dict[str, RecipeFile]:
    """Every recipe by name, sorted by method and name. Imports no method."""
    by_name: dict[str, RecipeFile] = {}
    for method in methods().values():
        for folder in folders_of(package_of(method)):
            for path in sorted((folder / FOLDER).glob("*.yaml"), key=lambda path: path.stem):
                by_name.setdefault(path.stem, RecipeFile(path.stem, path, method))
    return by_name


def package_of(method: Method) -> str:
    """The package of a method's trainings: below `lexiseg_train.methods`, or `training` in another distribution's."""
    return f"lexiseg_train.methods.{method.name}" if method.is_built_in else f"{method.package}.training"


def find(name: str) -> RecipeFile:
    """The file of one recipe. Raises RecipeError: unknown name; lists the known ones."""
    by_name = recipes()
    if name not in by_name:
        alike = get_close_matches(name, by_name, n=1)
        hint = f" (did you mean {alike[0]}?)" if alike else ""
        raise RecipeError(f"no recipe {name!r}{hint}; known recipes: {', '.join(by_name)}")
    return by_name[name]


def training_of(file: RecipeFile) -> Training[Any]:
    """The training of a recipe that names no other. Raises RecipeError: its method does not register one."""
    trainings: Mapping[str, Training[Any]] = import_module(f"{package_of(file.method)}.trainings").TRAININGS
    if file.name not in trainings:
        methods = ", ".join(trainings)
        raise RecipeError(f"{file.path}: method {file.method.name} trains {methods}; `recipe:` must name one of them")
    return trainings[file.name]


def read_recipe(name: str, overrides: Sequence[str] = ()) -> Planned:
    """Read a recipe by name, or a YAML file that names one as `recipe`; loads neither torch nor data."""
    files, values, layers = _layers(name)
    training = training_of(files[-1])
    changes = [change for layer in layers for change in layer.items()]
    for key, value in (*changes, *map(parse, overrides)):
        values = with_budget(values, key, value)
        lay(values, key, value, training.recipe)
    values[RECIPE] = files[0].name
    try:
        return Planned(name, training, training.recipe.model_validate(values))
    except ValidationError as error:
        lines = "; ".join(_in_words(each, training.recipe) for each in error.errors())
        raise RecipeError(f"recipe {name!r}: {lines}") from None


def _in_words(error: ErrorDetails, kind: type[RunRecipe]) -> str:
    """One validation error; suggests the setting that an unknown key means."""
    key = ".".join(map(str, error["loc"]))
    if not key:  # concerns several values together
        return error["msg"].removeprefix("Value error, ")
    if error["type"] != "extra_forbidden":
        return f"{key}: {error['msg']} (got {error['input']!r})"
    alike = nearest(key, kind)
    hint = f"; did you mean {alike}?" if alike else ""
    return f"{key}: no such setting{hint} (got {error['input']!r})"


def _layers(name: str) -> tuple[list[RecipeFile], dict[str, Any], list[dict[str, Any]]]:
    """Follow `recipe:` down to a recipe that names no other: the files on the way, its values, changes from it up."""
    files: list[RecipeFile] = []
    layers: list[dict[str, Any]] = []
    values = _read_values(Path(name)) if re.search(r"[/\\]|\.ya?ml$", name) else {RECIPE: name}
    if RECIPE not in values:
        raise RecipeError(f"{name} does not name the recipe that it changes; begin it with `recipe: NAME`")
    while (below := values.pop(RECIPE, None)) is not None:
        layers.insert(0, values)
        files.append(find(str(below)))
        if files[-1] in files[:-1]:
            raise RecipeError(f"recipe {name!r} builds on itself: {', '.join(file.name for file in files)}")
        values = _read_values(files[-1].path)
    return files, values, layers


def _read_values(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"there is no recipe at {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} is not a recipe: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path} is not a recipe: expected keys and values, got {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


def parse(override: str) -> tuple[str, Any]:
    """Split a `key=value` string; the value is YAML. Raises RecipeError: it is not, or there is no `=`."""
    key, equals, value = override.partition("=")
    if not equals or not key.strip("."):
        raise RecipeError(f"override {override!r} is not key=value, {EXAMPLE}")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise RecipeError(f"override {override!r}: {value!r} is not YAML, {EXAMPLE}") from None


def lay(values: dict[str, Any], key: str, value: Any, kind: type[RunRecipe]) -> None:
    """Set the value at a dotted key in place. Settings of settings are merged, free collections replaced."""
    if key == DATA and isinstance(value, str) and isinstance(values.get(DATA), dict):
        key = f"{DATA}.folder"  # next to its licence
    elif key.startswith(f"{DATA}.") and isinstance(values.get(DATA), str):
        values[DATA] = {"folder": values[DATA]}
    *way, last = key.split(".")
    place: Any = values
    for part in way:
        at = _key_in(place, part, key)
        place = place.setdefault(at, {}) if isinstance(place, dict) else place[at]
    at = _key_in(place, last, key)
    field = None if way else kind.model_fields.get(last)
    is_free = field is not None and get_origin(field.annotation) is dict
    if isinstance(value, Mapping) and isinstance(place, dict) and isinstance(place.get(at), dict) and not is_free:
        for name, entry in value.items():
            lay(values, f"{key}.{name}", entry, kind)
    else:
        place[at] = value


def _key_in(place: Any, part: str, key: str) -> str | int:
    """The key of a mapping or the index of a list that a part of a dotted key names."""
    if isinstance(place, dict):
        return part
    if not isinstance(place, list):
        raise RecipeError(f"override {key!r}: {place!r} has no {part!r}")
    if not part.isdigit() or int(part) >= len(place):
        raise RecipeError(f"override {key!r}: {part!r} is not one of 0 to {len(place) - 1}")
    return int(part)


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
    # Names before 0.5.
    "below": "base_weights", "every": "frame_stride", "lone": "single_point_prompts", "nothing": "background_value",
    "sure": "unambiguous_prompts",
}  # fmt: skip


class Setting(NamedTuple):
    name: str
    value: Any
    line: str  # what it says


def settings(recipe: RunRecipe) -> Iterator[Setting]:
    """All settings of a recipe, in the order of their classes; of phases only the first."""
    values = recipe.model_dump(mode="json")
    for name, line in lines_of(type(recipe)).items():
        value: Any = values
        for part in name.split("."):
            value = value and value[int(part) if part.isdigit() else part]
        yield Setting(name, value, line)


def lines_of(kind: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """What each setting of a class says, by dotted name; without a line of its own that of its class."""
    about = (inspect.getdoc(kind) or "").partition("\n")[0]
    bases = [each.model_fields for each in kind.__mro__ if issubclass(each, BaseModel)]
    lines: dict[str, str] = {}
    for name, field in kind.model_fields.items():
        container, inner = get_origin(field.annotation), _settings_in(field.annotation)
        if inner is None or container in (dict, tuple):
            described = (fields[name].description for fields in bases if name in fields)
            lines[prefix + name] = next(filter(None, described), about)  # a subclass may change only the default
        else:
            lines |= lines_of(inner, f"{prefix}{name}{'.0' if container is list else ''}.")
    return lines


def nearest(key: str, kind: type[BaseModel]) -> str | None:
    """The setting that a wrong dotted name means: one inside another, of another program, misspelt, or of its words."""
    names = list(lines_of(kind))
    for field in kind.model_fields.values():
        if get_origin(field.annotation) is dict and (inner := _settings_in(field.annotation)) is not None:
            names += lines_of(inner)
    parent, _, last = key.rpartition(".")
    by_last = {name.rpartition(".")[2]: name for name in reversed(names)}
    siblings = {name.rpartition(".")[2]: name for name in names if name.rpartition(".")[0] == parent}
    if last in by_last:
        return by_last[last]
    if ELSEWHERE.get(last.lower()) in names:
        return ELSEWHERE[last.lower()]
    for spellings, cutoff in ((siblings, 0.7), (by_last, 0.6)):
        if alike := get_close_matches(last, spellings, n=1, cutoff=cutoff):
            return spellings[alike[0]]
    return None


def _settings_in(annotation: Any) -> type[BaseModel] | None:
    """The class of settings in an annotation: itself, or in a list, a mapping or a union."""
    kinds = (each for each in (annotation, *get_args(annotation)) if isinstance(each, type))
    return next((each for each in kinds if issubclass(each, BaseModel)), None)
