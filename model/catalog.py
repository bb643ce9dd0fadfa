"""Model name -> card -> Segmenter: the bundled model and the directories in LEXISEG_MODELS_DIR."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, cast

import torch
import yaml
from pydantic import ValidationError

from model.device import choose_device
from model.errors import UnknownModelError, WeightsError
from model.segmenter import Segmenter
from model.types import ModelCard

BUNDLED = Path(__file__).parent / "methods" / "tiny" / "bundled"
CARD = "card.yaml"


class ModelFolder(NamedTuple):
    """A model directory and its card."""

    folder: Path
    card: ModelCard


Loader = Callable[[Path, ModelCard, torch.device], Segmenter]


def folders(models_dir: Path | None = None) -> dict[str, Path]:
    """Model directories by name: what is bundled, and every directory with a card in `models_dir`."""
    found = {"tiny": BUNDLED}
    if models_dir is not None and models_dir.is_dir():
        found |= {path.parent.name: path.parent for path in sorted(models_dir.glob(f"*/{CARD}"))}
    return found


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
    """The cards of every model that can be loaded."""
    return [read_card(folder) for folder in folders(models_dir).values()]


def find(name: str, models_dir: Path | None = None) -> ModelFolder:
    """The directory and card of a model, `NAME` or `NAME@VERSION`; nothing is loaded.

    Raises:
        UnknownModelError: there is no model of that name and version.
        WeightsError: its card is damaged.
    """
    known = folders(models_dir)
    base, _, version = name.partition("@")
    if base not in known:
        raise UnknownModelError(f"no model {name!r}; there is: {', '.join(known)}")
    card = read_card(known[base])
    if version and version != card.version:
        raise UnknownModelError(f"no model {name!r}; {base} is at version {card.version}")
    return ModelFolder(known[base], card)


def load(name: str, *, models_dir: Path | None = None, device: str = "auto") -> Segmenter:
    """Loads a model, `NAME` or `NAME@VERSION`.

    Raises:
        UnknownModelError: there is no model of that name and version.
        WeightsError: its directory is damaged.
        OptionError: the device does not exist.
    """
    return load_folder(find(name, models_dir).folder, device)


def load_folder(folder: Path, device: str = "auto") -> Segmenter:
    """Loads the model of one directory; errors as `load`."""
    card = read_card(folder)
    try:
        loader = cast(Loader, import_module(f"model.methods.{card.method}.segmenter").load)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("model.methods."):
            raise  # the method is there, something that it needs is not
        raise WeightsError(f"{folder}: the card's method {card.method!r} is not known here") from None
    return loader(folder, card, choose_device(device))
