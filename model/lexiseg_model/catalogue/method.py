"""Discover segmentation methods, by folder and by entry point.

A method is a folder of `lexiseg_model/methods/`, or a package that another distribution registers in the entry-point
group `lexiseg.methods` (`acme = "acme_seg"`). Functions of its modules raise WeightsError where weights are missing or
damaged:

    segmenter.py       load(folder, card, execution) -> Segmenter; require_weights(card) if a card may name no file;
                       require_text_tower(folder or None) if the text tower is not in the weights' folder;
                       WEIGHTS_FILE if the folder holds other safetensors files
    __init__.py        WEIGHTS_PUBLISHED = False if the authors released no weights
    bundled/card.yaml  the model that needs no import, under the method's name; optional
    import_.py         Options and read(options): a checkpoint -> a card and tensors (`importing`); optional
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from lexiseg_model.errors import ModelError, WeightsError

CLIP = ("huggingface_hub", "open_clip", "scipy", "timm", "torchvision")
INSTALL = "pip install huggingface-hub open-clip-torch scipy timm"
BUILT_IN = Path(__file__).parents[1] / "methods"
PACKAGE = "lexiseg_model.methods"
GROUP = "lexiseg.methods"
SEGMENTER = "segmenter"
BUNDLED = "bundled"
CARD = "card.yaml"
# Methods of earlier releases: what an error says where a card or a name still asks for one.
REMOVED = {"radseg": "RADSeg was removed in 0.4.0; lexiseg 0.3 runs it, `lexiseg models available` lists the others"}


@contextmanager
def names_missing_library(what: str, kind: type[ModelError]) -> Iterator[None]:
    """Raise `kind`, of which `what` is the first words, where the block imports a library that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in CLIP:
            raise
        raise kind(f"{what} needs {library}, which is not installed: {INSTALL}") from None


@dataclass(frozen=True)
class Method:
    """A segmentation method: its name on cards, and the package of its modules."""

    name: str
    package: str

    @property
    def model_name(self) -> str:
        """The name of its bundled model, and of the method on the command line: hyphens for underscores."""
        return self.name.replace("_", "-")

    @property
    def is_built_in(self) -> bool:
        return self.package == f"{PACKAGE}.{self.name}"

    @property
    def folders(self) -> list[Path]:
        return folders_of(self.package)

    @property
    def bundled(self) -> Path | None:
        """Its bundled model directory; None: it has none."""
        return next((folder / BUNDLED for folder in self.folders if (folder / BUNDLED / CARD).is_file()), None)

    @property
    def weights_published(self) -> bool:
        published: bool = getattr(import_module(self.package), "WEIGHTS_PUBLISHED", True)
        return published

    def module(self, name: str) -> ModuleType:
        """Import one of its modules. Raises WeightsError: it, its package or a library of an extra is missing."""
        path = f"{self.package}.{name}"
        try:
            with names_missing_library(f"method {self.name}", WeightsError):
                return import_module(path)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{path}.".startswith(f"{error.name}."):
                raise  # the module exists, and one that it imports does not
            raise WeightsError(f"method {self.name}: there is no module {path}") from None


def folders_of(package: str) -> list[Path]:
    """Folders of a package, which is not imported; none if it is not installed."""
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:  # the parent package is not installed
        return []
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


def methods() -> dict[str, Method]:
    """All methods by name, sorted; built-in methods take precedence over entry points."""
    built_in = {path.parent.name for path in BUILT_IN.glob(f"*/{SEGMENTER}.py")}
    by_name = {method.name: method for method in _by_entry_point()}
    by_name |= {name: Method(name, f"{PACKAGE}.{name}") for name in built_in}
    return dict(sorted(by_name.items()))


@cache
def _by_entry_point() -> tuple[Method, ...]:
    """Methods by entry point, read once in a process: it takes 10 to 30 ms."""
    return tuple(Method(point.name, point.value) for point in entry_points(group=GROUP))
