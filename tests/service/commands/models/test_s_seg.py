"""A training of S-Seg: imported, served by the worker, asked from the command line."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lexiseg_model.types import ClassEntry, Task, Vocabulary
from lexiseg_service.cli import app
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.worker import ModelWorker
from tests import coco, pictures
from tests.model.catalogue.test_models import change_card
from tests.model.methods.s_seg.small import CARD, small_network
from tests.service.commands.command_line import CommandLine

SOON = 120.0  # seconds; a loaded machine needs a tenth of it


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `mine`, of random weights, which sees photographs small."""
    folder = tmp_path_factory.mktemp("s_seg")
    torch.save({"model": small_network().state_dict()}, folder / "last.pt")
    command = [
        *("models", "import", "--method", "s-seg", "--checkpoint", str(folder / "last.pt")),
        *("--backbone", "test_resnet", "--models-dir", str(folder / "models"), "mine"),
    ]
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 0, outcome.stderr
    assert "s_seg" in outcome.stdout
    change_card(folder / "models" / "mine", input=CARD.input.model_dump(mode="json"))
    return folder / "models"


def test_the_command_line_segments_with_it(
    lexiseg: CommandLine, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEXISEG_MODELS_DIR", str(models_dir))
    (tmp_path / "china.png").write_bytes(pictures.encoded(pictures.small("china", 96)))

    outcome = lexiseg(
        *("segment", tmp_path / "china.png", "-c", "sky", "-c", "temple", "--no-background"),
        *("--model", "mine", "--runtime", "torch", "--out", tmp_path / "out"),
    )

    assert outcome.status == 0, outcome.err
    found = json.loads((tmp_path / "out" / "annotations.json").read_text())["annotations"]
    covered = sum(int(coco.decode(annotation["segmentation"]).sum()) for annotation in found)
    assert covered == math.prod(pictures.small("china", 96).size)


@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic"])
async def test_the_worker_answers_its_tasks_from_one_image_pass(models_dir: Path, task: Task) -> None:
    worker = ModelWorker(Settings(model="mine", models_dir=models_dir, runtime="torch"), Metrics())
    await worker.start()
    image = pictures.encoded(pictures.small("chelsea", 96))
    classes = (ClassEntry("cat"), ClassEntry("wall"))

    async def ask() -> WorkerAnswer:
        return await worker.segment(WorkerRequest(image, Vocabulary(classes, background=None), "mine", task=task))

    try:
        async with asyncio.timeout(SOON):
            while not worker.health().ready:
                await asyncio.sleep(0.02)
            first, second = await ask(), await ask()
    finally:
        await worker.close()

    assert first.segments
    assert [segment.mask for segment in first.segments] == [segment.mask for segment in second.segments]
    assert second.cache.features
