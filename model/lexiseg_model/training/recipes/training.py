"""What a method contributes for a recipe of its own: the class of its values, its trainer, what becomes of its weights.

A method's package holds

    training/recipes/NAME.yaml     values of a recipe; `recipe: OTHER` in it lays them over those of another
    training/__init__.py           TRAININGS: dict[str, Training], one for every NAME that is laid over no other

A file is found by its name alone; the module is imported when its recipe is asked for, and torch comes when its
training begins: `network`, `trainer` and `publish` import what they need themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from lexiseg_model.training.recipe import RunRecipe

if TYPE_CHECKING:
    from torch import nn

    from lexiseg_model.training.run import Run
    from lexiseg_model.types import ModelCard

Recipe = TypeVar("Recipe", bound=RunRecipe)


class Below(NamedTuple):
    """A file that a recipe stands on, and that another recipe trains where it is not there."""

    key: str  # of the recipe above: which of its values names the file
    file: Path
    name: str  # of the recipe that writes it


class Rehearsal(NamedTuple):
    """A run of which a few batches are measured, perhaps over little of its data, and what all of the data adds."""

    trainer: Run[Any, Any, Any]
    before: str = ""  # what is made ready before the first step, in words
    seconds: float = 0.0  # that this takes
    more_bytes: int = 0  # of memory


class Training(ABC, Generic[Recipe]):
    """How one recipe is trained."""

    recipe: type[Recipe]

    @abstractmethod
    def start(self, recipe: Recipe) -> str:
        """What the weights are when training begins, in words: "the bundled weights of tiny"; loads nothing."""

    def lacks(self, recipe: Recipe) -> str | None:
        """Why it cannot begin, and what to do about it; None where it can. Loads nothing."""
        return None if recipe.data.exists() else f"there is no data at {recipe.data}"

    def below(self, recipe: Recipe) -> Sequence[Below]:
        """What other recipes train before it, where it is not there."""
        return ()

    @abstractmethod
    def network(self, recipe: Recipe) -> nn.Module:
        """What is trained, in its form and not with its values: counted before data is read."""

    @abstractmethod
    def trainer(self, recipe: Recipe) -> Run[Recipe, Any, Any]:
        """Reads data and weights, as far as the first step needs them; what lies below is there."""

    def rehearsal(self, recipe: Recipe, folder: Path) -> Rehearsal:
        """A trainer for a dry run, which is to answer within seconds; what it makes lies below `folder`, and goes.

        Where data takes minutes to be made ready, a method makes little of it ready and estimates the rest.
        """
        return Rehearsal(self.trainer(recipe.model_copy(update={"out": folder / "run"})))

    @abstractmethod
    def publish(self, recipe: Recipe, weights: Path) -> ModelCard | None:
        """Makes a model directory that serves of the folder in which the weights lie.

        None where they are for other recipes to begin with, and serve nothing by themselves.
        """
