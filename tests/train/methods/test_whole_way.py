"""Published methods from pairs and from masks to an answer: killed, resumed, on two processes, measured."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.towers import configuration
from lexiseg_train.data.indexed import read_dataset
from lexiseg_train.evaluation.run import evaluate
from lexiseg_train.training.recipes.prerequisites import finish
from lexiseg_train.training.recipes.read import read_recipe
from tests.processes import fork_server, run_as_by_torchrun
from tests.train.data.own.made import save
from tests.train.training.pairs_folder import write_pairs
from tests.train.training.toy import differences, finished

pytestmark = pytest.mark.slow

SECONDS = 240  # a hung process must not hang the tests
PHOTOGRAPHS, STEPS, KILLED_AT = 20, 3, 2  # kills at several steps are tests/train/training/test_resume.py's
SHORT = [
    f"steps={STEPS}", "warmup_steps=1", "checkpoint_steps=1", "log_steps=1", f"validate_steps={STEPS}", "device=cpu",
    "phases=[{after: 0.0, crop: 64, global_batch: 4}]",
]  # fmt: skip
RECIPES = {
    "tcl-smoke": ["held_out=4", "grounder_steps=2", "clip_recipe=null", "clip={data}/lexiseg-mini-16.safetensors"],
    "s-seg-smoke": ["held_out=4", "thresholds=[squares]", "photographs=2"],
    "unpair-seg-masks-smoke": [
        "sets=[squares]", "judged={{squares: 2}}", "clip_recipe=null",
        "clip=['{data}/lexiseg-mini-convnext.safetensors']",
    ],
}  # fmt: skip
WEIGHTS = {"unpair-seg-masks-smoke": "stage-one.safetensors", "tcl-smoke": "learned.safetensors"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of a square each, with captions and with masks; two CLIPs of random weights."""
    folder = tmp_path_factory.mktemp("data")
    images = write_pairs(folder / "captions", PHOTOGRAPHS) / "images"
    for index, path in enumerate(sorted(images.iterdir())):
        image = np.array(Image.open(path))
        mask = (image.max(2) - image.min(2) > 80).astype(np.uint8)
        save(folder / "squares" / ("val" if index < 2 else "train"), path.stem, image, mask)
    (folder / "squares" / "classes.json").write_text(json.dumps(["background", "square"]))
    torch.manual_seed(0)
    for name, quick in (("lexiseg-mini-16", True), ("lexiseg-mini-convnext", False)):
        towers = open_clip.CLIP(**configuration(name) | {"quick_gelu": quick})
        save_file(towers.state_dict(), folder / f"{name}.safetensors")
    return folder


def train(name: str, data: Path, out: Path, killed_at: int | None = None, published: bool = False) -> None:
    """Train, and perhaps publish, as `lexiseg train` does; the process kills itself in a step."""
    values = [f"data={data}", f"out={out}", *SHORT, *(value.format(data=data) for value in RECIPES[name])]
    planned = read_recipe(name, values)
    trainer = planned.training.trainer(planned.recipe)
    step = trainer._step

    def dying(*batches: Any) -> float:
        if trainer.step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*batches)

    trainer._step = dying  # type: ignore[assignment]
    weights = trainer.train()
    if published and weights is not None:
        finish(planned, weights)


def exit_code(*values: Any) -> int | None:
    process = fork_server().Process(target=train, args=values)
    process.start()
    process.join(SECONDS)
    process.kill()
    return process.exitcode


def measured(out: Path) -> dict[str, float]:
    """Loss and held-out figures of a run's end, from its journal."""
    lines = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    return {name: value for name, value in lines[-1].items() if name.startswith(("held_out", "loss"))}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the models that were trained without a stop, by the names of their recipes."""
    return tmp_path_factory.mktemp("models")


def trained(name: str, data: Path, models: Path) -> Path:
    """The folder of a model that is trained without a stop, once for all tests."""
    if not (models / name).exists():
        assert exit_code(name, data, models / name, None, True) == 0
    return models / name


@pytest.mark.parametrize("name", RECIPES)
def test_a_method_is_trained_killed_resumed_and_measured(name: str, data: Path, models: Path, tmp_path: Path) -> None:
    whole, killed = trained(name, data, models), tmp_path / "killed"

    ends = [exit_code(name, data, killed, step, step is None) for step in (KILLED_AT, None)]

    assert ends == [-signal.SIGKILL, 0]
    assert differences(finished(killed), finished(whole)) == []
    weights = WEIGHTS.get(name, "weights.safetensors")
    assert differences(load_file(killed / weights), load_file(whole / weights)) == []
    segmenter = catalogue.load("killed", models_dir=tmp_path)
    assert math.isfinite(evaluate(segmenter, read_dataset(data, "squares", "val")).scores.miou)


@pytest.mark.parametrize("name", RECIPES)
def test_a_method_is_trained_by_two_processes_as_by_one(name: str, data: Path, models: Path, tmp_path: Path) -> None:
    one, two = trained(name, data, models), tmp_path / "two"

    run_as_by_torchrun(2, train, name, data, two)

    assert finished(two)["step"] == STEPS
    assert measured(two) == pytest.approx(measured(one), rel=0.02)
