"""Scores and instances against transformers' forward pass and post-processing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.released import hugging_face
from lexiseg_model import tasks
from lexiseg_model.catalogue import importing, transformers_model
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.method import methods
from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.sam3.import_ import Options
from lexiseg_model.methods.sam3.segmenter import Sam3Segmenter
from lexiseg_model.testing.suite import bank_of, blocks
from lexiseg_model.types import ClassEntry, Vocabulary
from tests.model.methods.sam3 import small

WORDS = ("red", "an old rowing boat", "blue")
CLASSES = tuple(map(ClassEntry, WORDS))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    small.save(folder)
    return folder


@pytest.fixture(scope="module")
def ours(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Sam3Segmenter:
    models = tmp_path_factory.mktemp("models")
    importing.import_model(methods()["sam3"], "mine", Options(checkpoint=hub), models)
    loaded = catalogue.load("mine", models_dir=models, device="cpu", precision="exact")
    assert isinstance(loaded, Sam3Segmenter)
    return loaded


@pytest.mark.parametrize(("seed", "light"), [(0, False), (0, True), (1, True)])
def test_each_word_is_seen_as_by_the_models_own_forward_pass(seed: int, light: bool) -> None:
    assert hugging_face.sam3(seed, (60, 100), light) <= 5e-5


def test_a_word_alone_has_the_pixels_where_semantics_or_an_instance_reach_the_threshold(ours: Sam3Segmenter) -> None:
    features, classes = ours.encode(blocks()), CLASSES[:1]
    (answer,) = ours._detect(features, bank_of(ours, classes))
    probability = torch.maximum(
        answer.presence[0] * answer.semantic[0].sigmoid(),
        (answer.score[0, :, None, None] * answer.masks[0].sigmoid()).amax(0),
    )

    scores = ours.class_scores(features, bank_of(ours, classes))[0]

    torch.testing.assert_close(scores.sigmoid(), probability, atol=1e-5, rtol=1e-5)
    threshold = float(probability.median())
    background = ours.background_score(scores[None], threshold, "none")
    assert torch.equal(scores > background + 1e-4, probability > torch.sigmoid(background + 1e-4))


def test_one_image_pass_serves_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    model, passes = small.segmenter(), 0
    forward = model.network.model.vision_encoder.forward

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal passes
        passes += 1
        return forward(*arguments, **named)

    monkeypatch.setattr(model.network.model.vision_encoder, "forward", counted)
    features = model.encode(blocks())
    for classes in (CLASSES, CLASSES[:1]):
        model.class_scores(features, bank_of(model, classes))

    assert passes == 1


def test_without_transformers_the_error_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_model, "find_spec", lambda name: None)

    with pytest.raises(WeightsError, match=r"pip install 'transformers>=5\.23,<6'$"):
        importing.import_model(methods()["sam3"], "mine", Options(checkpoint=tmp_path), tmp_path)


@pytest.mark.parametrize("config", [None, "{", "[]", "{}", '{"model_type": "sam3"}'])
def test_a_folder_without_sam3_is_refused(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)

    with pytest.raises(WeightsError, match=str(tmp_path)):
        importing.import_model(methods()["sam3"], "mine", Options(checkpoint=tmp_path), tmp_path / "models")


def test_the_hubs_video_layout_adds_a_tracker_to_the_same_detector(tmp_path: Path) -> None:
    small.save_video(tmp_path / "video")
    small.save(tmp_path / "image")

    video, image = (
        importing.import_model(methods()["sam3"], name, Options(checkpoint=tmp_path / name), tmp_path / "models")
        for name in ("video", "image")
    )

    assert json.loads((tmp_path / "video" / "config.json").read_text())["model_type"] == "sam3_video"
    whole, detector = load_file(video / WEIGHTS), load_file(image / WEIGHTS)
    assert all(torch.equal(whole[name], weights) for name, weights in detector.items())
    assert {name.split(".")[0] for name in whole.keys() - detector.keys()} == {"tracker_model", "tracker_neck"}
    with_tracker, without = catalogue.read_card(video), catalogue.read_card(image)
    assert with_tracker.settings | {"tracker": None} == without.settings
    assert set(with_tracker.tasks) - set(without.tasks) == {"prompt"}


@pytest.mark.parametrize(
    ("file", "says"), [("sam3.pt", "in the layout of Meta's own code"), ("sam3.1_multiplex.pt", "SAM 3.1 has no")]
)
@pytest.mark.parametrize("as_folder", [False, True])
def test_a_file_of_metas_own_code_names_what_to_fetch(tmp_path: Path, file: str, says: str, as_folder: bool) -> None:
    (tmp_path / file).touch()
    given = tmp_path if as_folder else tmp_path / file

    with pytest.raises(WeightsError, match=rf"{file}.*{says}.*hf download facebook/sam3 .* import FOLDER"):
        importing.import_model(methods()["sam3"], "mine", Options(checkpoint=given), tmp_path / "models")


def test_an_answer_ends_at_the_word_at_which_its_question_is_given_up(ours: Sam3Segmenter) -> None:
    features, asked, passes = ours.encode(blocks()), [], []
    hook = ours.network.model.register_forward_hook(lambda *_: passes.append(1))

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        tasks.segment("semantic", ours, features, Vocabulary(CLASSES), tasks.Options(check=check))
    hook.remove()
    assert len(passes) == 2
