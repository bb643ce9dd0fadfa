"""The interface of a method's training: recipe class, start, network, trainer, publication.

A method's training is a package: `lexiseg_train.methods.NAME`, or `training` in the package of another distribution.

    recipes/NAME.yaml     values of a recipe; `recipe: OTHER` in it builds on another recipe
    trainings.py          TRAININGS: dict[str, Training], one for every NAME that builds on no other

A file is found only by its name. `trainings` is imported when its recipe is read, and torch when its training begins:
`Training.code` imports what needs it, by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from lexiseg_train.training.recipe import RunRecipe

if TYPE_CHECKING:
    from torch import nn

    from lexiseg_model.cards import ModelCard
    from lexiseg_train.data.labelling.model_labels import Teacher
    from lexiseg_train.training.run import Run

Recipe = TypeVar("Recipe", bound=RunRecipe)
AtAddress: TypeAlias = "Callable[[str], AbstractContextManager[Teacher]]"


class Prerequisite(NamedTuple):
    key: str  # setting of the recipe that names the file
    file: Path
    name: str  # recipe that writes it

    @classmethod
    def if_named(cls, key: str, file: Path | None, name: str | None) -> list[Prerequisite]:
        """The file in a list; empty where there is no file or no recipe that writes it."""
        return [] if file is None or name is None else [cls(key, file, name)]


class Code(NamedTuple):
    network: Callable[[Any], nn.Module]  # the untrained network
    trainer: Callable[[Any], Run[Any, Any, Any]]
    publish: Callable[[Any, Path], ModelCard | None]


def code_at(module: str, trainer: str, publish: str = "publish") -> tuple[str, str, str]:
    """`Training.at` of a module with `untrained`; `publish` may be MODULE:NAME of another."""
    return f"{module}:untrained", f"{module}:{trainer}", publish if ":" in publish else f"{module}:{publish}"


class Rehearsal(NamedTuple):
    """A trainer that runs a few batches, perhaps of other data, and in words what comes before the first step."""

    trainer: Run[Any, Any, Any]
    before: str = ""


class Training(ABC, Generic[Recipe]):
    recipe: type[Recipe]  # class of its values

    at: tuple[str, str, str]  # MODULE:NAME of the untrained network, the trainer and the publication

    def code(self) -> Code:
        return Code(*map(resolve_name, self.at))

    @abstractmethod
    def start(self, recipe: Recipe) -> str:
        """The initial weights in words, such as "the bundled weights of tiny"; loads nothing."""

    def lacks(self, recipe: Recipe) -> str | None:
        """Why training cannot begin, and what to do about it; None if it can. Loads nothing."""
        return None if recipe.data.exists() else f"there is no data at {recipe.data}"

    def prerequisites(self, recipe: Recipe) -> Sequence[Prerequisite]:
        """Files that other recipes train first, where they are missing."""
        return ()

    def prepare(self, recipe: Recipe, at_address: AtAddress) -> None:
        """Write what the trainer reads and another model makes; `at_address` asks a server. It can go on."""

    def network(self, recipe: Recipe) -> nn.Module:
        """The network in its final shape, without its weights; used to count parameters before data is read."""
        return self.code().network(recipe)

    def trainer(self, recipe: Recipe) -> Run[Recipe, Any, Any]:
        """Read the data and weights that the first step needs; files of `below` exist."""
        return self.code().trainer(recipe)

    def rehearsal(self, recipe: Recipe, folder: Path) -> Rehearsal:
        """A trainer for a dry run, ready within seconds, perhaps of other data; `folder` is deleted afterwards."""
        return Rehearsal(self.trainer(recipe.model_copy(update={"out": folder / "run"})))

    def publish(self, recipe: Recipe, weights: Path) -> ModelCard | None:
        """Make the folder of the weights a model directory: its card; None for weights that are only a start."""
        return self.code().publish(recipe, weights)
