"""Import third-party checkpoints as model directories, a safetensors file and a card, by each method's `import_.py`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from lexiseg_model.cards import ModelCard, StrictModel
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.method import Method, methods
from lexiseg_model.catalogue.weights import WEIGHTS, file_digest, image_digest, read_weights, state_digest
from lexiseg_model.errors import OptionError, WeightsError

IMPORT = "import_"


class ImportOptions(StrictModel):
    """Options of a method's import, each with a description. A name has the same type in every method."""

    @property
    def archives(self) -> tuple[Path, ...]:
        """The files that may be TorchScript archives: reading one runs the code inside."""
        return ()

    @property
    def files(self) -> tuple[Path, ...]:
        values = [getattr(self, name) for name in type(self).model_fields]
        several = [value if isinstance(value, tuple) else (value,) for value in values]
        return tuple(each for value in several for each in value if isinstance(each, Path))


class Imported(NamedTuple):
    """The weights of a checkpoint, and a card that still has the method's name."""

    card: ModelCard
    state: dict[str, Tensor]


class Opened(NamedTuple):
    """Card and weights of a model, and the digest of its image pass."""

    card: ModelCard
    state: dict[str, Tensor]
    digest: str


def open_weights(folder: Path, card: ModelCard, fetch: Callable[[], Imported], fields: Iterable[str] = ()) -> Opened:
    """Read the weights of a model directory, or import the hub's if the card names no weights.

    Args:
        folder: the model directory.
        card: its card, or a bundled one.
        fetch: imports the hub's checkpoint.
        fields: fields of the imported card that replace the bundled card's; its settings are always added.

    Raises:
        WeightsError: the weights are missing or damaged.
    """
    if card.weights_sha256 is not None:
        state = read_weights(folder / WEIGHTS, card.weights_sha256)
        return Opened(card, state, image_digest(card, card.weights_sha256))
    imported = fetch()
    changes = {name: getattr(imported.card, name) for name in fields}
    settings = {**imported.card.settings, **card.settings}
    card = card.model_copy(update={**changes, "settings": settings})
    return Opened(card, imported.state, image_digest(card, state_digest(imported.state)))


def importable() -> dict[str, Method]:
    """Methods that can import checkpoints, by their names on the command line."""
    return {
        method.model_name: method
        for method in methods().values()
        if any((folder / f"{IMPORT}.py").is_file() for folder in method.folders)
    }


def options_of(method: Method) -> type[ImportOptions]:
    return cast(type[ImportOptions], method.module(IMPORT).Options)


def read_options(method: Method, values: Mapping[str, Any]) -> ImportOptions:
    """Validate the import options of a method, given by field name; errors name them as on the command line."""
    kind = options_of(method)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        option = f"--{field.replace('_', '-')}"
        if first["type"] in ("missing", "too_short"):
            described = kind.model_fields[field].description
            raise OptionError(f"--method {method.model_name} needs {option}, {described}") from None
        raise OptionError(f"{option}: {first['msg'].removeprefix('Value error, ')}") from None


def import_model(method: Method, name: str, options: ImportOptions, models_dir: Path, replace: bool = False) -> Path:
    """Read a checkpoint by the options of a method and write a model directory in `models_dir`."""
    if not name or name != Path(name).name or name.startswith(".") or "@" in name or "," in name:
        raise OptionError(f"model name {name!r}; expected a plain name without /, @ or a comma")
    bundled = catalogue.bundled().get(name)
    if bundled is not None and (owner := catalogue.read_card(bundled).method) != method.name:
        raise OptionError(f"{name} is the name of a bundled model of method {owner}; choose another name")
    folder = models_dir / name
    if folder.exists() and not replace:
        raise OptionError(f"{folder} exists; choose another name, or replace it with --replace")
    read = cast(Callable[[ImportOptions], Imported], method.module(IMPORT).read)
    card, state = read(options)
    return _write(folder, card.model_copy(update={"name": name}), state)


def imported_from(*files: Path | None) -> str:
    return f"Imported from {', '.join(path.name for path in files if path is not None)}."


def own_card(method: str) -> ModelCard:
    """The bundled card of a method: the template for cards of its imported models."""
    folder = methods()[method].bundled
    assert folder is not None, f"{method} has no bundled card"
    return catalogue.read_card(folder)


def terms_of_files(card: ModelCard) -> dict[str, Any]:
    """Changes of a card for weights from files, which anybody may have made: nobody promises commercial use."""
    if card.commercial_use != "yes":
        return {}
    return {
        "licence": f"That of the imported files. Of the authors' own: {card.licence}",
        "commercial_use": "ask",
        "training_data": ["That of the imported files. Of the authors' own:", *card.training_data],
    }


def from_own_card(
    method: str, state: dict[str, Tensor], files: Iterable[Path | None], settings: dict[str, Any], **changes: Any
) -> Imported:
    """An import with the method's bundled card: settings added, fields changed, and the files' names."""
    card = own_card(method).model_copy(update=changes)
    fields = {"settings": {**card.settings, **settings}, "lineage": imported_from(*files), **terms_of_files(card)}
    return Imported(card.model_copy(update=fields), state)


def _write(folder: Path, card: ModelCard, state: dict[str, Tensor]) -> Path:
    for key, value in state.items():
        if not value.isfinite().all():
            raise WeightsError(f"weights for {card.name}: {key} has values that are not finite; expected numbers")
    draft = folder.with_name(f".{folder.name}.importing")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        save_file({key: value.contiguous() for key, value in state.items()}, draft / WEIGHTS)
        card = card.model_copy(update={"weights_sha256": file_digest(draft / WEIGHTS), "quality": {}})
        catalogue.write_card(card, draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    except OSError as error:
        raise WeightsError(f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder
