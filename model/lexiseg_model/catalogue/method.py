"""Methods, found by folder and by entry point: to add one, add a folder.

A method is a package: a folder of `lexiseg_model/methods/`, or a package of another distribution that names it in the
entry-point group `lexiseg.methods` (`acme = "acme_seg"`). It holds

    segmenter.py       load(folder, card, execution) -> Segmenter; require_weights(card) where cards may name no file;
                       require_text_tower(folder or None) where the text tower does not lie beside the weights;
                       WEIGHTS_FILE where other safetensors lie beside them
    __init__.py        WEIGHTS_PUBLISHED = False where the authors released no weights
    bundled/card.yaml  the model that needs no import, under the method's name; optional
    import_.py         Options and read(options): foreign files -> a card and tensors (`importing`); optional
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from lexiseg_model.errors import WeightsError

OWN = Path(__file__).parents[1] / "methods"
GROUP = "lexiseg.methods"
SEGMENTER = "segmenter"
BUNDLED = "bundled"
CARD = "card.yaml"


@dataclass(frozen=True)
class Method:
    """One method. `name` is what cards call it, `package` where its modules are."""

    name: str
    package: str

    @property
    def model_name(self) -> str:
        """The name of its bundled model and of its import on the command line: hyphens for underscores."""
        return self.name.replace("_", "-")

    @property
    def bundled(self) -> Path | None:
        """The model directory that comes with it."""
        try:
            spec = find_spec(self.package)
        except ModuleNotFoundError:  # of the package around it
            return None
        places = [Path(place) / BUNDLED for place in (spec.submodule_search_locations or ())] if spec else []
        return next((place for place in places if (place / CARD).is_file()), None)

    @property
    def weights_published(self) -> bool:
        """Whether weights of its bundled model can be downloaded somewhere."""
        published: bool = getattr(import_module(self.package), "WEIGHTS_PUBLISHED", True)
        return published

    def module(self, name: str) -> ModuleType:
        """One of its modules.

        Raises:
            WeightsError: the method has none of that name, or its package is not installed.
        """
        path = f"{self.package}.{name}"
        try:
            return import_module(path)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{path}.".startswith(f"{error.name}."):
                raise  # the module is there, something that it needs is not
            raise WeightsError(f"method {self.name}: there is no module {path}") from None


def methods() -> dict[str, Method]:
    """All methods by name, sorted; built-in methods take precedence over entry points."""
    own = {path.parent.name for path in OWN.glob(f"*/{SEGMENTER}.py")}
    by_name = {method.name: method for method in _by_entry_point(tuple(map(_state, sys.path)))}
    by_name |= {name: Method(name, f"lexiseg_model.methods.{name}") for name in own}
    return dict(sorted(by_name.items()))


@lru_cache(maxsize=4)
def _by_entry_point(places: tuple[tuple[str, int], ...]) -> tuple[Method, ...]:
    """Methods by entry point, cached while the folders of the path do not change."""
    return tuple(Method(point.name, point.value) for point in entry_points(group=GROUP))


def _state(place: str) -> tuple[str, int]:
    """A folder of the path and when a distribution last came or went there."""
    folder = Path(place).absolute()  # "" is where we are
    try:
        return str(folder), folder.stat().st_mtime_ns
    except OSError:
        return str(folder), 0
