"""A fixture that installs acme, a third-party method with recipes, as pip leaves it behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The method acme with its recipes is installed."""
    install_with_recipes(tmp_path / "site")
    forget()  # another test's package of that name
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith("acme_seg")]:
        del sys.modules[name]


RECIPES = """
from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from lexiseg_model.training.recipe import RunRecipe
from lexiseg_model.training.recipes.training import Training


class Loss(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    area: float = Field(ge=0)
    tv: float = Field(ge=0)


class AcmeRecipe(RunRecipe):
    loss: Loss
    sets: dict[str, float]
    rest: Loss | None = None


class AcmeTraining(Training[AcmeRecipe]):
    recipe = AcmeRecipe

    def start(self, recipe):
        return "random weights"

    def network(self, recipe):
        from torch import nn

        return nn.Linear(3, 2)

    def trainer(self, recipe):
        raise NotImplementedError

    def publish(self, recipe, weights):
        raise NotImplementedError


TRAININGS = {"acme": AcmeTraining()}
"""
ACME = """
# How acme is trained: on drawings. More
# is in its paper.
out: runs/acme
steps: 100
phases: [{after: 0, crop: 64, global_batch: 4}, {after: 0.5, crop: 96, global_batch: 2}]
learning_rate: 0.001
warmup_steps: 10
weight_decay: 0.0
average_decay: 0.9
checkpoint_minutes: 1
loss: {area: 0.4, tv: 1.0}
sets: {ours: 1.0, theirs: 2.0}
"""
SMOKE = """
# A short one.
recipe: acme
steps: 5
loss.tv: 0.5
"""
STRAY = """
steps: 5
"""


def install_with_recipes(site: Path) -> None:
    folder = site / "acme_seg" / "training" / "recipes"
    folder.mkdir(parents=True)
    (site / "acme_seg" / "__init__.py").touch()
    (site / "acme_seg" / "training" / "__init__.py").write_text(RECIPES)
    for name, text in {"acme": ACME, "acme-smoke": SMOKE, "acme-stray": STRAY}.items():
        (folder / f"{name}.yaml").write_text(text.lstrip())
    info = site / "acme_seg-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme_seg\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lexiseg.methods]\nacme = acme_seg\n")
