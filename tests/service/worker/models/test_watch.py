"""A changed model directory is reloaded while the worker runs; an invalid one is not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lexiseg_model.segmenter import Segmenter
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.models.pool import ModelPool
from lexiseg_service.worker.models.served import Served, served_models
from lexiseg_service.worker.models.watch import ModelWatch
from tests.model.catalogue.test_models import change_card, copy_of_tiny
from tests.model.stand_in import ColourSegmenter
from tests.waiting import SOON


class Kept:
    """A worker's pool over model directories whose loads take nothing, and its watch."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(models_dir=folder, model="cats")
        self.metrics = Metrics()
        self.warmed: list[Segmenter] = []
        self.pool = ModelPool(served_models(self.settings), self._open, self.metrics)
        self.watch = ModelWatch(self.pool, self.settings, self.warmed.append, self.metrics)

    def _open(self, served: Served) -> Segmenter:
        segmenter = ColourSegmenter()
        segmenter.card = served.card
        segmenter.digest = served.card.version
        return segmenter

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            for served in self.pool.served:
                self.watch.check(served)

    @property
    def versions(self) -> list[str]:
        return [card.version for card in self.pool.cards]


@pytest.fixture
def kept(folder: Path) -> Iterator[Kept]:
    made = Kept(folder)
    yield made
    made.pool.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for version in ("1", "2"):
        copy_of_tiny(tmp_path, f"cats@{version}")
    (tmp_path / "cats").symlink_to("cats@1")
    return tmp_path


def turn(folder: Path, to: str) -> None:
    (folder / "fresh").symlink_to(to)
    (folder / "fresh").rename(folder / "cats")


def test_a_new_version_replaces_the_old_one_which_its_holders_keep(folder: Path, kept: Kept) -> None:
    old = kept.pool.acquire("cats").result(SOON)
    turn(folder, "cats@2")

    kept.look(times=2)
    coming = kept.pool.acquire("cats")

    assert coming.done()
    new = coming.result()
    assert (old.segmenter.card.version, new.segmenter.card.version) == ("1", "2")
    assert (kept.versions, kept.pool.digest("cats")) == (["2"], "2")
    assert [segmenter.card.version for segmenter in kept.warmed] == ["2"]
    old.release()
    new.release()


def test_a_directory_that_is_being_written_is_not_loaded(folder: Path, kept: Kept) -> None:
    kept.pool.acquire("cats").result(SOON).release()

    for summary in ("one", "or two", "three"):  # each of another length: a clock may stand between two of them
        change_card(folder / "cats@1", summary=summary)
        kept.look()
    before = len(kept.warmed)
    kept.look()

    assert before == 0
    assert [segmenter.card.summary for segmenter in kept.warmed] == ["three"]


def test_a_model_that_cannot_be_loaded_changes_nothing_until_it_is_another(folder: Path, kept: Kept) -> None:
    kept.pool.acquire("cats").result(SOON).release()
    (folder / "cats@2/card.yaml").write_text("no card")
    turn(folder, "cats@2")

    kept.look(times=4)
    failures = kept.metrics.registry.get_sample_value("lexiseg_model_load_failures_total", {"model": "cats"})
    wrong = kept.versions
    shutil.copy(folder / "cats@1/card.yaml", folder / "cats@2/card.yaml")
    kept.look(times=2)

    assert wrong == ["1"]
    assert failures == 1
    assert kept.versions == ["2"]


def test_a_model_that_a_training_adds_is_served_under_its_name(folder: Path, kept: Kept) -> None:
    copy_of_tiny(folder, "garments")
    (folder / "broken").mkdir()
    (folder / "broken" / "card.yaml").write_text("no card")

    kept.watch.adopt()
    added = kept.pool.acquire("garments").result(SOON)

    assert added.segmenter.card.name == "garments"
    assert kept.pool.served[0].name == "cats"
    assert [card.name for card in kept.pool.cards if card.name == "broken"] == []
    added.release()


def test_a_new_model_that_was_looked_at_too_early_is_served_once_it_is_complete(folder: Path, kept: Kept) -> None:
    copy_of_tiny(folder, "garments")
    weights = folder / "garments" / "tiny.safetensors"
    weights.rename(folder / "aside")
    kept.watch.adopt()
    assert "garments" not in [card.name for card in kept.pool.cards]
    (folder / "aside").rename(weights)

    kept.watch.adopt()

    assert "garments" in [card.name for card in kept.pool.cards]
