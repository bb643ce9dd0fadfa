"""The models of the settings: one, several, or those of a models file. The first is the default.

A models file is a YAML list:

    - name: tiny
    - {name: tcl, preload: true}
    - {name: dense-clip, device: "cuda:1"}
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lexiseg_model import catalogue
from lexiseg_model.device import choose_device
from lexiseg_model.errors import ModelError, UnknownModelError, WeightsError
from lexiseg_model.types import ModelCard, ModelName
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings

OPTIONS = "--models-file / LEXISEG_MODELS_FILE"


class Entry(BaseModel):
    """One entry of a models file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="NAME or NAME@VERSION")
    preload: bool = Field(False, description="loaded at the start, not on demand; the first always is")
    device: str | None = Field(None, description="another than LEXISEG_DEVICE")


@dataclass(frozen=True)
class Served:
    """One model. `weights_bytes` of its files, 0 where they are not in its folder."""

    name: str  # as the catalog knows it
    card: ModelCard
    device: str = "auto"
    preload: bool = True
    weights_bytes: int = 0


def served_models(settings: Settings) -> tuple[Served, ...]:
    """The models that the settings name; nothing is loaded.

    Raises:
        InvalidValue: the models file is not as expected, or one model is named twice.
        OptionError: a device does not exist.
        OSError: the models file cannot be read.
        UnknownModelError: there is no model of a name and version.
        WeightsError: weights are missing or damaged; the message says how to provide them.
    """
    served: list[Served] = []
    failures: list[ModelError] = []
    for number, entry in enumerate(_entries(settings)):
        try:
            new = served_as(entry.name, settings, entry.device or settings.device, entry.preload or number == 0)
        except ModelError as error:
            failures.append(error)
            continue
        choose_device(new.device)
        card = new.card
        if any(ModelName.of(card) == ModelName.of(other.card) for other in served):
            raise InvalidValue.of("models", str(ModelName.of(card)), "each version of a model once")
        served.append(new)
    by_name = Counter(each.card.name for each in served)
    # Several versions share a rollout: its first request must not wait for a load.
    served = [replace(each, preload=each.preload or by_name[each.card.name] > 1) for each in served]
    if failures:
        kind = WeightsError if any(isinstance(error, WeightsError) for error in failures) else UnknownModelError
        raise kind("\n".join(map(str, failures)))
    return tuple(served)


def served_as(name: str, settings: Settings, device: str, preload: bool) -> Served:
    """A model as it is in its directory now; nothing is loaded.

    Raises:
        UnknownModelError: there is no model of that name and version.
        WeightsError: weights are missing or damaged; the message says how to provide them.
    """
    model = catalogue.require(name, settings.models_dir, settings.text_tower)
    nbytes = sum(path.stat().st_size for path in catalogue.weight_files(model))
    return Served(name, model.card, device, preload, nbytes)


def _entries(settings: Settings) -> list[Entry]:
    if settings.models_file is None:
        names = [name.strip() for name in settings.model.split(",")]
        if not all(names):
            raise InvalidValue.of("--model / LEXISEG_MODEL", settings.model, "a name, or names between commas")
        return [Entry(name=name) for name in names]
    if "model" in settings.model_fields_set:
        raise InvalidValue.of(OPTIONS, str(settings.models_file), "either it or --model / LEXISEG_MODEL, not both")
    return _read(settings.models_file)


def _read(path: Path) -> list[Entry]:
    expected = "a YAML list of models: name, and if wanted preload and device"
    try:
        entries = TypeAdapter(list[Entry]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InvalidValue.of(OPTIONS, str(path), expected) from None
    except OSError as error:
        raise InvalidValue.of(OPTIONS, str(path), f"a file that can be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidValue.of(OPTIONS, str(path), f"{expected}; {where or 'it'}: {first['msg']}") from None
    if not entries:
        raise InvalidValue.of(OPTIONS, str(path), "at least one model")
    return entries
