"""acme, a third-party method as pip installs it: a package with an entry point, a card, an importer and recipes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from lexiseg_model.catalogue import method as catalogue_method
from tests.model.stand_in import card

PACKAGE = "acme_seg"
SEGMENTER = """
from tests.model.stand_in import ColourSegmenter


def load(folder, card, execution):
    segmenter = ColourSegmenter()
    segmenter.card = card
    return segmenter


def require_weights(card):
    pass
"""
IMPORT = """
from pathlib import Path

import torch
from pydantic import Field

from lexiseg_model.catalogue.importing import Imported, ImportOptions, own_card


class Options(ImportOptions):
    palette: Path = Field(description="a file of colours")


def read(options):
    colours = torch.tensor([float(value) for value in options.palette.read_text().split()])
    return Imported(own_card("acme").model_copy(update={"lineage": "Imported."}), {"colours": colours})
"""
TRAINING = """
from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from lexiseg_train.training.recipe import RunRecipe
from lexiseg_train.training.recipes.training import Code, Training


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

    def code(self):
        from torch import nn

        return Code(lambda recipe: nn.Linear(3, 2), refuse, refuse)


def refuse(*_):
    raise NotImplementedError


TRAININGS = {"acme": AcmeTraining()}
"""
RECIPES = {
    "acme": """# How acme is trained: on drawings. More
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
""",
    "acme-smoke": "# A short one.\nrecipe: acme\nsteps: 5\nloss.tv: 0.5\n",
    "acme-stray": "steps: 5\n",
}


@contextmanager
def installed(site: Path, method: str = "acme", package: str = PACKAGE) -> Iterator[None]:
    """Install acme in the folder `site` and put that on the path; the entry point `method` names `package`.

    Python keeps imported modules and their folders for the whole process. Both are forgotten before and after, or a
    later test in the same process would find the package of this one, whose folder is deleted.
    """
    _write(site, f"[lexiseg.methods]\n{method} = {package}\n")
    with pytest.MonkeyPatch.context() as patch:
        _forget()
        patch.setattr(catalogue_method, "_by_entry_point", catalogue_method._by_entry_point.__wrapped__)  # not cached
        patch.syspath_prepend(site)
        try:
            yield
        finally:
            _forget()


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[None]:
    """The third-party method acme is installed with its recipes."""
    with installed(tmp_path / "site"):
        yield


def _write(site: Path, entry_points: str) -> None:
    own = card(name="acme").model_copy(update={"method": "acme", "weights_sha256": None})
    files = {
        "__init__.py": "",
        "segmenter.py": SEGMENTER,
        "import_.py": IMPORT,
        "bundled/card.yaml": yaml.safe_dump(own.model_dump(mode="json")),
        "training/__init__.py": "",
        "training/trainings.py": TRAINING,
        **{f"training/recipes/{name}.yaml": text for name, text in RECIPES.items()},
    }
    info = f"{PACKAGE}-1.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1\n"
    for name, text in {
        **{f"{PACKAGE}/{name}": text for name, text in files.items()},
        f"{info}/METADATA": metadata,
        f"{info}/entry_points.txt": entry_points,
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
