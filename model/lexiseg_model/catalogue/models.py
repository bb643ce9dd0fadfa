"""Find and load models by name: bundled with methods, and the directories in LEXISEG_MODELS_DIR."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import yaml

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.available import LOADER, available
from lexiseg_model.catalogue.method import BUNDLED, REMOVED, SEGMENTER, methods
from lexiseg_model.catalogue.method import CARD as CARD
from lexiseg_model.errors import UnknownModelError, WeightsError
from lexiseg_model.model_name import ModelName
from lexiseg_model.runtimes import Runtime
from lexiseg_model.types import Precision

if TYPE_CHECKING:  # torch takes seconds to import: cards are read without it
    from lexiseg_model.resources.device import Execution
    from lexiseg_model.segmenter import Segmenter

MAX_CARD_DEPTH = 20
MAX_CARD_BYTES = 1 << 20
READABLE = 0o444
Loader: TypeAlias = "Callable[[Path, ModelCard, Execution], Segmenter]"


class ModelFolder(NamedTuple):
    folder: Path
    card: ModelCard


def _parse_yaml(text: str) -> Any:
    """Safe YAML with bounded cost: no aliases (exponential) and limited depth (quadratic)."""
    depth = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("a card must not have aliases (*name)")
        if isinstance(event, yaml.NodeEvent) and depth >= MAX_CARD_DEPTH:
            raise yaml.YAMLError(f"values are nested more than {MAX_CARD_DEPTH} deep")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
    return yaml.load(text, LOADER)


def bundled() -> dict[str, Path]:
    """Bundled model directories by name, the ones with weights first.

    Models of one method share its folder; `available.yaml` names them and says how their cards differ.
    """
    by_name = {
        name: folder
        for method in methods().values()
        if (folder := method.bundled) is not None
        for name in [each.name for each in available().values() if each.method == method.name] or [method.model_name]
    }
    return dict(sorted(by_name.items(), key=lambda entry: not any(entry[1].glob("*.safetensors"))))


def folders(models_dir: Path | None = None) -> dict[str, Path]:
    """Model directories by name: bundled ones, and those in `models_dir`, where NAME may be a link to NAME@VERSION."""
    by_name = bundled()
    if models_dir is not None and models_dir.is_dir():
        by_name |= {
            path.parent.name: path.parent
            for path in sorted(models_dir.glob(f"*/{CARD}"))
            if not path.parent.name.startswith(".")  # a pull or an import in progress
        }
    return by_name


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model directory. Raises WeightsError: the directory has no card, or an invalid one."""
    path = folder / CARD
    try:
        status = path.stat()
        if status.st_size > MAX_CARD_BYTES:
            raise WeightsError(f"{path} is not a valid card: it has more than {MAX_CARD_BYTES:,} bytes")
        return _parse_card(path, status.st_ino, status.st_mtime_ns, status.st_size)
    except FileNotFoundError:
        raise WeightsError(f"{folder} is not a model directory: no {CARD}") from None
    # ValueError: an invalid card, bytes that are not UTF-8, or an invalid date or number.
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise WeightsError(f"{path} is not a valid card: {' '.join(str(error).split())}") from None


@lru_cache(64)
def _parse_card(path: Path, file: int, changed_at: int, size: int) -> ModelCard:
    """Parse a card, cached by file identity: a starting server reads its model's card several times."""
    return ModelCard.model_validate(_parse_yaml(path.read_text(encoding="utf-8")))


def write_card(card: ModelCard, folder: Path) -> None:
    """Write the card of a model directory, and let all users read its files: a worker may be another user."""
    text = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, width=120, allow_unicode=True)
    (folder / CARD).write_text(text, encoding="utf-8")
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(path.stat().st_mode | READABLE)


def cards(models_dir: Path | None = None) -> list[ModelCard]:
    """The cards of all models, whether or not their weights are present."""
    listed = [_card_as(name, folder) for name, folder in folders(models_dir).items()]
    # NAME that is a link to NAME@VERSION is the same model.
    return list({ModelName.from_card(card): card for card in listed}.values())


def find(name: str, models_dir: Path | None = None) -> ModelFolder:
    """Find the directory and card of a model, `NAME` or `NAME@VERSION`; no weights are loaded."""
    by_name = folders(models_dir)
    model_name = ModelName.parse(name)
    # Exactly this name first, then NAME without a version, then the newest NAME@VERSION.
    versions = [other for other in by_name if other.startswith(f"{model_name.name}@")]
    versions.sort(key=_version_key, reverse=True)
    for directory in (name, model_name.name, *versions):
        if directory in by_name and model_name.fits(card := _card_as(directory, by_name[directory])):
            return ModelFolder(by_name[directory], card)
    if model_name.name in by_name:
        present = ", ".join(
            _card_as(directory, by_name[directory]).version for directory in (model_name.name, *versions)
        )
        raise UnknownModelError(f"no model {name!r}; {model_name.name} is at version {present}")
    if model_name.name in available():
        entry = available()[model_name.name]
        source = f" from the files of {entry.hub} on the hub ({entry.download})" if entry.hub else ""
        raise UnknownModelError(f"no model {name!r} here yet: `{entry.command}` imports its weights{source}")
    if (removed := REMOVED.get(model_name.name.partition("-")[0])) is not None:
        raise UnknownModelError(f"no model {name!r}: {removed}")
    raise UnknownModelError(f"no model {name!r}; there is: {', '.join(by_name)}")


def require(name: str, models_dir: Path | None = None, text_tower: Path | None = None) -> ModelFolder:
    """Find a model and check that its weights are present or can be downloaded now; no weights are loaded."""
    model = find(name, models_dir)
    method = _segmenter_module(model.folder, model.card)
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
    """The weight files of a model: files that match the method's WEIGHTS_FILE, else all safetensors files."""
    pattern: str = getattr(_segmenter_module(model.folder, model.card), "WEIGHTS_FILE", "*.safetensors")
    return sorted(model.folder.glob(pattern))


def weight_bytes(model: ModelFolder) -> int:
    """Bytes of the weights in memory: from `available.yaml`, else the size of the files."""
    entry = available().get(model.card.name)
    if entry is not None and model.folder.name == BUNDLED:
        return entry.memory_mb * 1_000_000
    return sum(path.stat().st_size for path in weight_files(model))


def load(
    name: str,
    *,
    models_dir: Path | None = None,
    device: str = "auto",
    precision: Precision | None = None,
    runtime: Runtime = "torch",
    text_tower: Path | None = None,
) -> Segmenter:
    """Load a model.

    Args:
        name: `NAME` or `NAME@VERSION`.
        models_dir: folder of the user's own models.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: of the image pass; None: the card's.
        runtime: of the image pass (docs/performance.md).
        text_tower: folder of the text tower, for methods that do not keep it in the weights' folder.

    Raises:
        UnknownModelError: there is no model of that name and version.
        WeightsError: its directory is damaged, its weights are missing, or memory is too small.
        OptionError: the device does not exist.
        ExportError: the runtime is not available.
    """
    from lexiseg_model.resources.device import choose_device, require_memory

    model = find(name, models_dir)
    folder, card = model
    require_memory(card.name, weight_bytes(model), choose_device(device))
    return load_folder(folder, device, precision, card, text_tower, runtime)


def export_folder(folder: Path, segmenter: Segmenter) -> Path:
    """Where `lexiseg export` writes a model's export: in its folder, or to the cache if it is bundled."""
    from lexiseg_model.export.manifest import FOLDER, default_cache_dir

    if folder in bundled().values():
        return default_cache_dir() / FOLDER / f"{segmenter.card.name}-{segmenter.digest[:16]}"
    return folder / FOLDER


def load_folder(
    folder: Path,
    device: str = "auto",
    precision: Precision | None = None,
    card: ModelCard | None = None,
    text_tower: Path | None = None,
    runtime: Runtime = "torch",
) -> Segmenter:
    """Load the model of one directory; `card` overrides the directory's. Other arguments and errors as `load`."""
    from lexiseg_model.resources.device import Execution, choose_device, forbid_tf32

    card = card or read_card(folder)
    loader = cast(Loader, _segmenter_module(folder, card).load)
    execution = Execution(choose_device(device), precision or card.precision, text_tower)
    if execution.precision == "exact":
        forbid_tf32(execution.device)
    segmenter = loader(folder, card, execution)
    if runtime != "torch":
        from lexiseg_model.export.choose import use_runtime
        from lexiseg_model.export.manifest import FOLDER, RANGES

        use_runtime(
            segmenter,
            runtime,
            execution,
            [folder / FOLDER, export_folder(folder, segmenter)],
            lambda: load_folder(folder, "cpu", "exact", text_tower=text_tower),
            folder / RANGES,
        )
    return segmenter


def _card_as(directory: str, folder: Path) -> ModelCard:
    """The card of a folder with the folder's name, and the version that its name or its link's target has."""
    card = read_card(folder)
    name, _, version = directory.partition("@")
    version = version or folder.resolve().name.partition("@")[2] or card.version
    if (card.name, card.version) == (name, version):
        return card
    entry = available().get(name)
    changes = entry.card if entry is not None and folder.name == BUNDLED else {}
    settings = {**card.settings, **changes.get("settings", {})}
    changes = {**changes, "settings": settings, "name": name, "version": version}
    return ModelCard.model_validate({**card.model_dump(), **changes})


def _version_key(directory: str) -> list[tuple[int, int, str]]:
    """Sort key of NAME@VERSION in which version 10 follows 9."""
    parts = re.findall(r"\d+|\D+", directory.partition("@")[2])
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def _segmenter_module(folder: Path, card: ModelCard) -> ModuleType:
    """The segmenter module of the card's method. Raises WeightsError: the method is unknown, or was removed."""
    method = methods().get(card.method)
    if method is None:
        reason = REMOVED.get(card.method, f"the card's method {card.method!r} is unknown")
        raise WeightsError(f"{folder}: {reason}")
    return method.module(SEGMENTER)
