"""The worker over the real model and copies of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_service.errors import NotReady
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.worker import ModelWorker
from tests import pictures
from tests.model.catalogue.test_models import copy_of_tiny
from tests.waiting import soon


@asynccontextmanager
async def working(**settings: Any) -> AsyncIterator[ModelWorker]:
    # `auto` would first export each copy of the bundled model.
    worker = ModelWorker(Settings(runtime="torch", **settings), Metrics())
    await worker.start()
    try:
        await soon(lambda: worker.health().ready or not worker.health().alive)
        yield worker
    finally:
        await worker.close()


async def ask(worker: ModelWorker, model: str = "tiny") -> WorkerAnswer:
    image = pictures.encoded(pictures.small("chelsea", 64))
    return await worker.segment(WorkerRequest(image, Vocabulary((ClassEntry("cat"),)), model))


async def test_before_its_default_model_is_there_it_takes_nothing() -> None:
    worker = ModelWorker(Settings(), Metrics())

    assert worker.health().detail == "loading tiny"
    assert [card.name for card in worker.cards()] == ["tiny"]
    assert worker.digest("tiny") is None
    with pytest.raises(NotReady):
        await ask(worker)


async def test_another_version_is_awaited_until_it_is_warmed_up(tmp_path: Path) -> None:
    copy_of_tiny(tmp_path, "tiny@2")

    async with working(model="tiny@1,tiny@2", models_dir=tmp_path) as worker:
        at_first = worker.health().awaited
        await soon(lambda: worker.health().awaited == ())

        assert at_first in [("tiny@2",), ()]
        assert worker.digest("tiny@2") is not None


async def test_a_model_that_cannot_be_loaded_is_named_and_hurts_no_other(models_dir: Path, tmp_path: Path) -> None:
    weights = models_dir / "second" / "tiny.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])

    async with working(model="tiny,second", models_dir=models_dir) as worker:
        answer = await ask(worker)
        with pytest.raises(NotReady, match="model second cannot be loaded") as refused:
            await ask(worker, "second")

        assert worker.health().ready
        assert worker.health().degraded == ("model second",)
        assert answer.model == "tiny"
        assert str(models_dir) not in refused.value.detail


async def test_without_its_default_model_it_is_dead_and_says_why(models_dir: Path) -> None:
    weights = models_dir / "second" / "tiny.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])

    with capture_logs() as lines:
        async with working(model="second", models_dir=models_dir) as worker:
            assert not worker.health().alive
            assert "sha256" in worker.health().detail

    failed = [line for line in lines if line["log_level"] == "error"]
    assert len(failed) == 2
    for line in failed:  # a sentence, no traceback
        assert "copy the whole model directory again" in line["reason"]
        assert line["exc_info"] is None


async def test_a_budget_too_small_for_the_default_model_is_said() -> None:
    async with working(model_memory_bytes=1000) as worker:
        assert not worker.health().alive
        assert "LEXISEG_MODEL_MEMORY_BYTES allows 1,000" in worker.health().detail
