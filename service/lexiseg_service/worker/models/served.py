"""The models that a worker serves: of LEXISEG_MODEL between commas; the first is the default."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import ModelError, UnknownModelError, WeightsError
from lexiseg_model.model_name import ModelName
from lexiseg_model.resources.device import choose_device
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings


@dataclass(frozen=True)
class Served:
    """One model. `weights_bytes` of its files, 0 where they are not in its folder."""

    name: str  # as the catalog knows it
    card: ModelCard
    weights_bytes: int = 0


def served_models(settings: Settings) -> tuple[Served, ...]:
    """The models that the settings name; nothing is loaded."""
    served: list[Served] = []
    failures: list[ModelError] = []
    names = settings.model_names
    if not all(names):
        raise InvalidValue.of("--model / LEXISEG_MODEL", settings.model, "a name, or names between commas")
    choose_device(settings.device)
    for name in names:
        try:
            new = served_as(name, settings)
        except ModelError as error:
            failures.append(error)
            continue
        card = new.card
        if any(ModelName.from_card(card) == ModelName.from_card(other.card) for other in served):
            raise InvalidValue.of("models", str(ModelName.from_card(card)), "each version of a model once")
        served.append(new)
    if failures:
        kind = WeightsError if any(isinstance(error, WeightsError) for error in failures) else UnknownModelError
        raise kind("\n".join(map(str, failures)))
    return tuple(served)


def preloaded(served: Sequence[Served]) -> list[Served]:
    """Models to load at the start: the default one, and the ones that are served in several versions."""
    # The first request for another version must not wait for a load.
    by_name = Counter(each.card.name for each in served)
    return [each for each in served if each is served[0] or by_name[each.card.name] > 1]


def served_as(name: str, settings: Settings) -> Served:
    """A model as it is in its directory now; nothing is loaded."""
    model = catalogue.require(name, settings.models_dir, settings.text_tower)
    nbytes = sum(path.stat().st_size for path in catalogue.weight_files(model))
    return Served(name, model.card, nbytes)


def load(name: str, settings: Settings) -> Segmenter:
    return catalogue.load(
        name,
        models_dir=settings.models_dir,
        device=settings.device,
        precision=settings.precision,
        runtime=settings.runtime,
        text_tower=settings.text_tower,
    )
