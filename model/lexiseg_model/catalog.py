"""Model name -> card -> Segmenter: the bundled cards of all methods, and the directories in LEXISEG_MODELS_DIR."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, cast

import yaml
from pydantic import ValidationError

from lexiseg_model.device import Execution, choose_device
from lexiseg_model.errors import UnknownModelError, WeightsError
from lexiseg_model.export.manifest import FOLDER as EXPORT
from lexiseg_model.export.manifest import cached
from lexiseg_model.method import CARD as CARD
from lexiseg_model.method import SEGMENTER, methods
from lexiseg_model.model_name import ModelName
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ModelCard, Precision, Runtime


class ModelFolder(NamedTuple):
    """A model directory and its card."""

    folder: Path
    card: ModelCard


Loader = Callable[[Path, ModelCard, Execution], Segmenter]


def bundled() -> dict[str, Path]:
    """Model directories that come with the methods, by name; first those that hold weights.

    Of all but tiny they hold a card alone: their weights come from the hub or from `lexiseg models import`.
    """
    there = {method.model_name: folder for method in methods().values() if (folder := method.bundled) is not None}
    return dict(sorted(there.items(), key=lambda entry: not any(entry[1].glob("*.safetensors"))))


def folders(models_dir: Path | None = None) -> dict[str, Path]:
    """Model directories by name: what is bundled, and every directory with a card in `models_dir`."""
    by_name = bundled()
    if models_dir is not None and models_dir.is_dir():
        by_name |= {path.parent.name: path.parent for path in sorted(models_dir.glob(f"*/{CARD}"))}
    return by_name


def read_card(folder: Path) -> ModelCard:
    """The card of a model directory.

    Raises:
        WeightsError: the directory has no card, or one that does not validate.
    """
    path = folder / CARD
    try:
        return ModelCard.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise WeightsError(f"{folder} is not a model directory: no {CARD}") from None
    except (ValidationError, yaml.YAMLError) as error:
        raise WeightsError(f"{path} is not a valid card: {error}") from None


def cards(models_dir: Path | None = None) -> list[ModelCard]:
    """The cards of every model there is; of some the weights must be provided first."""
    return [_named(name, folder) for name, folder in folders(models_dir).items()]


def find(name: str, models_dir: Path | None = None) -> ModelFolder:
    """The directory and card of a model, `NAME` or `NAME@VERSION`; nothing is loaded.

    Raises:
        UnknownModelError: there is no model of that name and version.
        WeightsError: its card is damaged.
    """
    by_name = folders(models_dir)
    wanted = ModelName.parse(name)
    if wanted.name not in by_name:
        raise UnknownModelError(f"no model {name!r}; there is: {', '.join(by_name)}")
    card = _named(wanted.name, by_name[wanted.name])
    if not wanted.fits(card):
        raise UnknownModelError(f"no model {name!r}; {wanted.name} is at version {card.version}")
    return ModelFolder(by_name[wanted.name], card)


def require(name: str, models_dir: Path | None = None, text_tower: Path | None = None) -> ModelFolder:
    """`find`, and its weights are here or can be had from the hub now; nothing is loaded.

    Raises:
        UnknownModelError: there is no model of that name and version.
        WeightsError: its card is damaged, or its weights or its text tower are missing; the message says how to provide
            them.
    """
    model = find(name, models_dir)
    method = _method(model.folder, model.card)
    if model.card.weights_sha256 is None:
        if not hasattr(method, "require_weights"):
            raise WeightsError(f"{model.folder}: the card names no weights (weights_sha256)")
        method.require_weights(model.card)
    elif not weight_files(model):
        raise WeightsError(f"{model.folder} has a card and no weights (*.safetensors)")
    if hasattr(method, "require_text_tower"):
        method.require_text_tower(text_tower)
    return model


def weight_files(model: ModelFolder) -> list[Path]:
    """The files of a model's weights in its folder: those of the method's own name for them, else all safetensors."""
    pattern: str = getattr(_method(model.folder, model.card), "WEIGHTS_FILE", "*.safetensors")
    return sorted(model.folder.glob(pattern))


def load(
    name: str,
    *,
    models_dir: Path | None = None,
    device: str = "auto",
    precision: Precision | None = None,
    runtime: Runtime = "torch",
    cache_dir: Path | None = None,
    text_tower: Path | None = None,
) -> Segmenter:
    """Loads a model, `NAME` or `NAME@VERSION`; `precision` None means its card's.

    Another `runtime` than torch does its image pass (docs/runtimes.md); exports of bundled models lie in `cache_dir`.
    `text_tower` is a folder of the user's, for methods whose text tower does not lie beside their weights.

    Raises:
        UnknownModelError: there is no model of that name and version.
        WeightsError: its directory is damaged, or its weights are missing.
        OptionError: the device does not exist.
        ExportError: the runtime was asked for and cannot be had.
    """
    folder, card = find(name, models_dir)
    segmenter = load_folder(folder, device, precision, card, text_tower)
    if runtime != "torch":
        from lexiseg_model.export.choose import use_runtime  # ONNX Runtime is optional

        execution = Execution(choose_device(device), precision or segmenter.card.precision)
        place = export_folder(folder, segmenter, cache_dir)
        use_runtime(
            segmenter, runtime, execution, place, lambda: load_folder(folder, "cpu", "exact", text_tower=text_tower)
        )
    return segmenter


def export_folder(folder: Path, segmenter: Segmenter, cache_dir: Path | None = None) -> Path:
    """Where the ONNX export of a model lies: beside its card, or in the cache if it is bundled."""
    if folder in bundled().values():
        return cached(cache_dir, segmenter.card.name, segmenter.digest)
    return folder / EXPORT


def load_folder(
    folder: Path,
    device: str = "auto",
    precision: Precision | None = None,
    card: ModelCard | None = None,
    text_tower: Path | None = None,
) -> Segmenter:
    """Loads the model of one directory, by its own card when none is given; errors as `load`."""
    card = card or read_card(folder)
    loader = cast(Loader, _method(folder, card).load)
    return loader(folder, card, Execution(choose_device(device), precision or card.precision, text_tower))


def _named(name: str, folder: Path) -> ModelCard:
    """A folder's card under the name that the folder has: a copy of a model directory is another model."""
    card = read_card(folder)
    return card if card.name == name else card.model_copy(update={"name": name})


def _method(folder: Path, card: ModelCard) -> ModuleType:
    """The module of the card's method: its `load`, and `require_weights` where they may come from the hub."""
    method = methods().get(card.method)
    if method is None:
        raise WeightsError(f"{folder}: the card's method {card.method!r} is not known here")
    return method.module(SEGMENTER)
