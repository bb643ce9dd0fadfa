"""Models that the settings name, checked before anything is loaded."""

from pathlib import Path

import pytest

from lexiseg_model.errors import WeightsError
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings
from lexiseg_service.worker.models.served import preloaded, served_models
from tests.model.catalogue.test_models import copy_of_tiny


@pytest.fixture(autouse=True)
def _no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEXISEG_MODEL", "LEXISEG_MODELS_FILE", "LEXISEG_MODELS_DIR", "LEXISEG_DEVICE"):
        monkeypatch.delenv(name, raising=False)


def test_tiny_is_the_default_model() -> None:
    (served,) = served_models(Settings())

    assert (served.name, served.card.name) == ("tiny", "tiny")


def test_the_first_model_is_the_default_and_the_others_load_on_demand(models_dir: Path) -> None:
    served = served_models(Settings(model="second, tiny@1", models_dir=models_dir))

    assert [one.name for one in served] == ["second", "tiny@1"]
    assert [one.name for one in preloaded(served)] == ["second"]


def test_several_versions_are_loaded_at_the_start(models_dir: Path) -> None:
    copy_of_tiny(models_dir, "tiny@2")

    served = served_models(Settings(model="second,tiny@2,tiny@1", models_dir=models_dir))

    assert [one.name for one in preloaded(served)] == ["second", "tiny@2", "tiny@1"]


@pytest.mark.parametrize("model", ["tiny,", ",", "", "tiny,,tiny"])
def test_a_name_that_is_missing_is_refused(model: str) -> None:
    with pytest.raises(InvalidValue, match="--model"):
        served_models(Settings(model=model))


def test_all_missing_models_are_named(models_dir: Path) -> None:
    (models_dir / "second" / "tiny.safetensors").unlink()

    with pytest.raises(WeightsError) as refused:
        served_models(Settings(model="tiny,second,huge", models_dir=models_dir))

    first, second = str(refused.value).splitlines()
    assert "second" in first
    assert "no model 'huge'" in second
