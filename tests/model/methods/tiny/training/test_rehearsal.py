"""A dry run of `tiny` samples few photographs and estimates the whole run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.methods.tiny.training import rehearsal as rehearsal_module
from lexiseg_model.methods.tiny.training.recipe import TinyRecipe
from lexiseg_model.methods.tiny.training.rehearsal import FEW, rehearse_words
from lexiseg_model.methods.tiny.training.trainer import TinyTrainer
from lexiseg_model.methods.tiny.words.text_tower import MiniLM
from lexiseg_model.training.recipe import LocalPhase
from lexiseg_model.training.recipes.read import read_as
from tests.model.methods.tiny.training.shapes import write_shapes
from tests.model.methods.tiny.training.weak import write_names
from tests.text_rows import RememberedRows

COUNT = 12


@pytest.fixture(scope="module", autouse=True)
def rows(tower: MiniLM) -> Iterator[RememberedRows]:
    remembered = RememberedRows(tower)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearsal_module, "load_text_tower", lambda: remembered)
        yield remembered


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_names(write_shapes(tmp_path_factory.mktemp("data"), count=COUNT))


def folders(data: Path, home: Path) -> list[str]:
    return [f"data={data}", f"out={home / 'out'}", f"packs={home / 'packs'}"]


def test_a_dry_run_samples_few_photographs_and_leaves_no_files(data: Path, tmp_path: Path) -> None:
    sets = "sets={shapes: 1.0, named: 1.0}"
    phases = "phases=[{after: 0.0, crop: 64, global_batch: 2}]"
    recipe = read_as(TinyRecipe, "tiny-smoke", [*folders(data, tmp_path / "home"), sets, phases])

    rehearsal = rehearse_words(recipe, tmp_path)

    assert isinstance(rehearsal.trainer, TinyTrainer)
    assert [len(source.pack) for source in rehearsal.trainer.sources] == [FEW, 2]
    assert rehearsal.before.startswith(f"2 of 2 sets are decoded, once, into {tmp_path / 'home/packs'} (")
    assert "texts are encoded: about " in rehearsal.before
    assert rehearsal.seconds > 0
    assert not (tmp_path / "home").exists()
    loss = rehearsal.trainer._loss(next(iter(rehearsal.trainer._batches(LocalPhase(64, 2)))))
    assert np.isfinite(loss.item())
